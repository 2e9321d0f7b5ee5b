"""M: what the mapping files say."""

from __future__ import annotations

from bridge.findings.base import Code

MAPPING = (
    Code(
        "M001",
        "mapping-wrong",
        "error",
        "The mapping file and the source's definition do not fit together, so nothing can be done"
        " with the table until one of them is changed.",
        "correct the line, or run `dbbridge init` again",
    ),
    Code(
        "M002",
        "not-mapped",
        "error",
        "The source has a table that no mapping file is about: its rows would stay behind.",
        "run `dbbridge init` again, or leave the table out: table: shop.log -> nothing",
    ),
    Code(
        "M003",
        "table-gone",
        "error",
        "A mapping file is about a table that the source does not have, or that the account may"
        " not see.",
        "remove the file if the table is gone; SELECT on the table otherwise",
    ),
    Code(
        "M004",
        "lossy-unique",
        "error",
        "A policy of this column can make two different values equal, and the column is in a unique"
        " index: building the index in the target, or applying a row, would fail.",
        "choose the policy quarantine, or list the index under not_carried",
    ),
    Code(
        "M005",
        "index-not-mentioned",
        "warning",
        "The source has an index that the mapping file names neither under `indexes` nor under"
        " `not_carried`: the target will not have it.",
        "run `dbbridge init` again",
    ),
)
