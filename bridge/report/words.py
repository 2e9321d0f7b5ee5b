"""What every page about a verification says in the same words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bridge.report.verification import Difference, TableVerdict, Verdict, Verification

WORST_FIRST: Sequence[Verdict] = ("mismatch", "inconclusive", "match")
MOST_CHARACTERS = 400
"""So much of one value is shown: a page stays one that can be opened."""


def visible(text: str) -> str:
    """The text with what cannot be seen (controls, marks that turn the line round) as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def exact(text: str) -> str:
    """The same so that two texts never look alike: backslashes are doubled."""
    return visible(shortened(text).replace("\\", "\\\\"))


def value(text: str | None) -> str:
    """A value: NULL, or the text in quotes, so that spaces at its ends are seen."""
    return "NULL" if text is None else f"'{exact(text)}'"


def shortened(text: str) -> str:
    """Its beginning, and how long it is, where it is long."""
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}… ({len(text):,} characters)"


def key(difference: Difference) -> str:
    """The row: its key, or how many equal ones."""
    named = (f"{visible(n)}={exact(v)}" for n, v in difference.key.items())
    return ", ".join(named) or counted(difference.rows, "equal row")


def line_of(difference: Difference) -> str:
    """The difference in one line, whatever its texts hold."""
    columns = "; ".join(
        f"{visible(c.name)}: {value(c.source)} → {value(c.target)}" for c in difference.columns
    )
    return f"{difference.kind} {key(difference)}{': ' if columns else ''}{columns}"


def counted(number: int, noun: str) -> str:
    """Such as `1 row`, `12,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def seconds(duration: float) -> str:
    """Such as `0.4 s`, `3 min 20 s`."""
    if duration < 60:
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def lag(result: Verification) -> str:
    """How far the stream was behind."""
    return "unknown" if result.lag_seconds is None else seconds(result.lag_seconds)


def sorted_tables(result: Verification) -> list[TableVerdict]:
    """Those first that somebody has to look at."""
    return sorted(result.tables, key=lambda table: WORST_FIRST.index(table.verdict))


def headline(result: Verification) -> str:
    """The run in one sentence."""
    differing = sum(table.differing for table in result.tables)
    rows = counted(sum(table.source_rows for table in result.tables), "row")
    parts = [f"{counted(len(result.tables), 'table')}, {rows} compared"]
    if differing:
        parts.append(f"{counted(differing, 'row')} differ" + "s" * (differing == 1))
    undecided = sum(table.verdict == "inconclusive" for table in result.tables)
    if undecided:
        parts.append(f"{counted(undecided, 'table')} inconclusive")
    return "; ".join(parts)


def facts(table: TableVerdict) -> Iterator[str]:
    """Why the table does not match, and what else is to be known about it."""
    if table.differing:
        yield f"{counted(table.differing, 'row')} differ" + "s" * (table.differing == 1)
    for column in table.columns:
        if column.whole:
            yield f"column {visible(column.name)} differs in every row that was compared"
    if table.reason:
        yield visible(table.reason)
    if table.in_flight:
        yield f"{counted(table.in_flight, 'row')} in flight"
    if table.quarantined:
        yield f"{counted(table.quarantined, 'row')} in quarantine"


def summary(table: TableVerdict) -> str:
    """All facts in one line."""
    return "; ".join(facts(table))


def more(result: Verification, number: int) -> str:
    """What is said in place of differences that a page has no room for."""
    where = visible(result.output) if result.output else "verify --output FILE.ndjson"
    return f"… and {number:,} more ({where} has all)"


def left_out(table: TableVerdict, shown: int) -> int:
    """How many differences there are beside the first `shown` ones."""
    return table.left_out + max(0, len(table.differences) - shown)
