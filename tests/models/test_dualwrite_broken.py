"""Dual writes with one rule broken, over random histories: each goes wrong in some of them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.models.check import assert_goes_wrong
from tests.models.dualwrite import operators
from tests.models.dualwrite.model import COMPANY, Company, dual_writes
from tests.models.dualwrite.rules import Rules
from tests.models.dualwrite.source import Workload

CLAIMING: Company = (*COMPANY, ("claims", operators.claim_apart, 1.0))
PRUNING: Company = (("pruning", operators.prune, 1.0),) * 2
MOVING: Company = (("mode", operators.change_mode, 1.0),) * 2
SWITCHING: Company = (("switch", operators.switch, 0.3), ("forced switch", operators.force, 0.7))

UNIQUE = Workload(bad=0.05, lost=0, operations=0.7, unchanged=0.3, handovers=0.5)
ANY = Workload()
PLAIN = Workload(bad=0, lost=0)
UNCHANGED = Workload(unchanged=0.5, handovers=0.15)
UNCHANGED_LONG = Workload(commits=12, bad=0, operations=0.5, lost=0, unchanged=0.5, handovers=0.1)
LOSSY = Workload(lost=0.4)
GATHERED = Workload(lost=0.4, operations=0.9)


@dataclass(frozen=True)
class Variant:
    """A rule that is broken, and where that shows."""

    rules: Rules
    workload: Workload = ANY
    company: Company = COMPANY
    histories: int = 1_000


VARIANTS = {
    "no claim": Variant(Rules(claims="never", exact=False)),
    "claimed with row events only": Variant(
        Rules(claims="with row events only", exact=False), UNCHANGED
    ),
    "claimed in another worker's commits": Variant(
        Rules(claims="apart", exact=False), company=CLAIMING
    ),
    "not claimed again after a rollback": Variant(Rules(claims_again=False, exact=False), UNIQUE),
    "pruned, watermark not looked at": Variant(
        Rules(watermark=False, exact=False), company=PRUNING
    ),
    "stream begins anew, watermark stays": Variant(
        Rules(leap_raises=False, exact=False), company=MOVING
    ),
    "written before copied tables have joined": Variant(
        Rules(joins_first=False, exact=False), company=MOVING, histories=3_000
    ),
    "epoch and mode not looked at": Variant(Rules(authority="never"), company=SWITCHING),
    "epoch and mode looked at before the lock": Variant(
        Rules(authority="before the lock"), company=SWITCHING
    ),
    "images of the operation's own transaction": Variant(
        Rules(images="the session's own", exact=False), UNCHANGED, histories=3_000
    ),
    "images of a source without the operation": Variant(
        Rules(op_seen=False, exact=False), LOSSY, PRUNING
    ),
    "operations looked up after the rows": Variant(
        Rules(looked_up="last", exact=False), UNCHANGED_LONG, (), 12_000
    ),
    "rows of refused operations written with those of others": Variant(
        Rules(written="all", exact=False), GATHERED, (), 3_000
    ),
    "keys that were not found are written": Variant(
        Rules(missed=True, exact=False), histories=3_000
    ),
    "no eviction, to quarantine": Variant(Rules(evicts=False), UNIQUE),
    "no eviction of a key's own row": Variant(Rules(key_evicts=False), UNIQUE),
    "rows give way until claimed only": Variant(Rules(owned="until claimed"), UNIQUE),
    "rows that were the same give way too, coarser unique index": Variant(
        Rules(leaves_same=False, coarse=True, exact=False), UNIQUE
    ),
    "updates hold changed columns only": Variant(Rules(full_images=False, exact=False), PLAIN),
    "no claim, version >, changed columns": Variant(
        Rules(claims="never", versions=">", exact=False), PLAIN
    ),
    "no claim, version >=, changed columns": Variant(
        Rules(claims="never", versions=">=", exact=False), PLAIN
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_broken(name: str) -> None:
    """Rows differ, or good ones are in quarantine."""
    variant = VARIANTS[name]
    model = dual_writes(variant.rules, variant.workload, variant.company)
    assert_goes_wrong("dual writes", name, model, variant.histories)
