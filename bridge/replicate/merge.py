"""Row images, before and after, into what is pending of a table."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.change.batch import BadRow, Image, TableOps
from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan


def merge(
    plan: TablePlan, ops: TableOps, pairs: Iterable[tuple[Image | None, Image | None]]
) -> None:
    """Takes the changes in. Raises TableStopped('bad-row-without-key')."""
    if not plan.key:
        for pair in pairs:
            for image, change in zip(pair, (-1, 1), strict=True):
                if isinstance(image, BadRow):
                    raise TableStopped(
                        f"{plan.source}: a row cannot be represented ({image.code} in"
                        f" {image.column}: {image.text}), and no key is there to set it aside by",
                        "give the column a policy in the mapping, then resync the table",
                        "bad-row-without-key",
                    )
                if image is not None:
                    ops.counts[image] = ops.counts.get(image, 0) + change
        return
    keep = plan.keep
    for before, after in pairs:
        if before is not None:
            ops.rows[key_of(before, plan.key)] = None
        if after is not None:
            kept = keep is None or isinstance(after, BadRow) or keep(after.split(b"\t"))
            ops.rows[key_of(after, plan.key)] = after if kept else None


def key_of(image: Image, columns: int) -> bytes:
    """COPY text of the key: the first `columns` fields."""
    if isinstance(image, BadRow):
        return image.key
    return b"\t".join(image.split(b"\t", columns)[:columns])
