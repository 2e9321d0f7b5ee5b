"""What all parts of one table have found, together."""

from __future__ import annotations

from bridge.verify.found import Found
from bridge.verify.ledger import Ledger, Run
from bridge.verify.subject import Subject
from bridge.verify.tables import Followed


def gathered(ledger: Ledger, run: Run, table: Followed) -> Found:
    """What all parts of a table have found."""
    ordered = Subject.of(table.plan, table.relation, run.level).keys.ordered
    found = Found(table.plan, keyed=ordered)
    parts = [part for part in ledger.parts(run) if part.table == table.name]
    if not parts:
        found.hold("it was not looked at in this run", f"dbbridge verify {table.name.word}")
    for part in parts:
        found.tally.match(part.rows, part.total)
        if part.found:
            found.restore(part.found, ledger.differences_of(run, part))
        if not part.done:
            found.hold("not all of it was looked at", "dbbridge verify --resume")
    return found
