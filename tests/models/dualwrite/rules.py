"""What is done when a dual write reaches the target. The defaults are the rules as built."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """How claims, images and pruning work; the rest breaks them, one at a time."""

    claims: str = "before the rows"
    """Or "never", "with row events only" (an operation without any is not claimed), or "apart":
    in commits of another worker."""
    claims_again: bool = True
    """Whether a batch that was rolled back for a refused row claims anew."""
    authority: str = "under the lock"
    """Or "before the lock", or "never": when epoch and mode are looked at. "nobody" has none: the
    stream is alone."""
    watermark: bool = True
    """Whether a write that is older than what was pruned is refused."""
    leap_raises: bool = True
    """Whether a stream that begins anew raises the watermark over what it will not read."""
    joins_first: bool = True
    """Whether tables that were copied again join the stream before they are written to."""
    images: str = "committed"
    """Or "the session's own": what the operation's transaction had read, and its parameters."""
    op_seen: bool = True
    """Whether the server of which the images are read must have the operation's row too."""
    looked_up: str = "first"
    """Or "last": whether the operations are looked for before the images are read, or after."""
    written: str = "claimed"
    """Or "all": of which operations of a transaction the rows are written, if one is claimed."""
    missed: bool = False
    """Whether keys are written that a statement looked for and did not find, nor lock."""
    evicts: bool = True
    """Whether a row ahead of the stream makes place; otherwise the change goes to quarantine."""
    key_evicts: bool = True
    """Whether that holds for the primary key too, if a row came between delete and insert."""
    owned: str = "until written"
    """Or "until claimed": how long a row that came early counts as ahead of the stream."""
    leaves_same: bool = True
    """Whether a write leaves rows alone that the target has already, and so does not own them."""
    marked: bool = True
    """Whether pruning waits until the stream has passed what was the end at the time."""
    full_images: bool = True
    """Whether the log holds whole rows; otherwise updates hold the changed columns only."""
    versions: str = ""
    """Or ">" or ">=": no claims, but a position for each row, and only columns that changed."""
    exact: bool = True
    """Whether the quarantine is looked at with each commit, or only at the end."""
    coarse: bool = False
    """Whether the target takes values for equal that the source tells apart."""


BUILT = Rules()
