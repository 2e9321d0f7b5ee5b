"""What all parts of one table have found, together."""

from __future__ import annotations

from bridge.verify.found import Found
from bridge.verify.ledger import Ledger
from bridge.verify.records import Run
from bridge.verify.subject import Subject
from bridge.verify.tables import Followed

CHANGED = "its definition or its mapping is another one than when the run began"


def gathered(ledger: Ledger, run: Run, table: Followed) -> Found:
    """What all parts of a table have found.

    What was found by another definition or mapping than the table has now is not about it.
    """
    ordered = Subject.of(table.plan, table.relation, run.level).keys.ordered
    found = Found(table.plan, keyed=ordered)
    parts = [part for part in ledger.parts(run) if part.table == table.name]
    anew = f"dbbridge verify {table.name.word}"
    if not parts:
        found.end("it was not looked at in this run", anew)
    for part in parts:
        if part.version != table.plan.version:
            found.end(CHANGED, anew)
            continue
        found.tally.match(part.rows, part.total)
        if part.found:
            found.restore(part.found, ledger.differences_of(run, part, found.room))
        if not part.done:
            found.end("not all of it was looked at", "dbbridge verify --resume")
    return found
