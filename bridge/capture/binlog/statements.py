"""What a statement in the log does to tables, found without parsing all of it (pure).

Everything that is not known to leave rows alone counts as touching them: a statement is on a list,
or it is 'unknown'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bridge.capture.binlog.altering import only_indexes, renamed
from bridge.capture.binlog.sqltokens import Token, Unreadable, tokenize
from bridge.names import TableName

Kind = Literal[
    "begin",
    "commit",
    "rollback",
    "savepoint",
    "rollback-to",
    "xa-start",
    "xa-end",
    "xa-prepare",
    "xa-commit",
    "xa-rollback",
    "harmless",
    "create-if-absent",
    "index",
    "truncate",
    "ddl",
    "dml",
    "drop-database",
    "alter-database",
    "unknown",
]

_NO_TEXT = "\N{REPLACEMENT CHARACTER}"
"""Stands where a statement could not be decoded, perhaps in a table's name."""

_SEVERITY: tuple[Kind, ...] = (
    "harmless", "create-if-absent", "index", "truncate", "dml", "ddl",
    "alter-database", "drop-database", "unknown",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Statement:
    """What a statement does.

    `tables` are those that it touches, the default database filled in. `database` is the one all of
    whose tables are touched ('drop-database', 'alter-database', 'unknown'); an 'unknown' statement
    without default database ('') may touch any table.

    'savepoint' sets or releases one; 'rollback-to' undoes rows that stand before it in the log.
    'create-if-absent' and 'index' do not change rows of an existing table. 'truncate' empties
    `tables`. 'ddl' may change rows and definition. 'dml' changes rows that are not logged as rows.
    """

    kind: Kind
    tables: tuple[TableName, ...] = ()
    database: str = ""


def classify(
    statement: str, default_database: str, sql_mode: int, *, lower_case_names: bool = False
) -> Statement:
    """Reads a query event's statement. Never fails: what cannot be read is 'unknown'.

    `lower_case_names` is for servers with lower_case_table_names=1, which keep all names in lower
    case while the statement stands in the log as it was written.
    """
    try:
        if _NO_TEXT in statement:
            raise _Unknown
        code = tokenize(statement, sql_mode, conditional_is_code=True)
        found = _classify(code.tokens, default_database)
        if code.conditional:
            # Whether it was executed is the server's version's secret: the worse reading counts.
            plain = tokenize(statement, sql_mode, conditional_is_code=False)
            found = _worse(found, _classify(plain.tokens, default_database))
    except (Unreadable, _Unknown):
        found = Statement("unknown", (), default_database)
    if lower_case_names:
        tables = tuple(TableName(each.schema.lower(), each.table.lower()) for each in found.tables)
        return Statement(found.kind, tables, found.database.lower())
    return found


class _Unknown(Exception):
    """The statement is not one of those that are known."""


def _worse(one: Statement, other: Statement) -> Statement:
    if one == other:
        return one
    if one.kind not in _SEVERITY or other.kind not in _SEVERITY:
        raise _Unknown
    worse = max(one, other, key=lambda each: _SEVERITY.index(each.kind))
    tables = tuple(dict.fromkeys(one.tables + other.tables))
    # Only one of two different tables was emptied, and which one is not known.
    kind: Kind = "ddl" if worse.kind == "truncate" else worse.kind
    return Statement(kind, tables, worse.database)


class _Reader:
    """A place in the tokens of a statement."""

    def __init__(self, tokens: Sequence[Token], database: str) -> None:
        self.tokens = tokens
        self.database = database
        self.at = 0

    @property
    def word(self) -> str:
        """The word here in capitals; '' for anything else."""
        return self.tokens[self.at].upper if self.at < len(self.tokens) else ""

    @property
    def symbol(self) -> str:
        """The symbol here; '' for anything else."""
        if self.at < len(self.tokens) and self.tokens[self.at].kind == "symbol":
            return self.tokens[self.at].text
        return ""

    def take(self, *words: str) -> bool:
        """Passes over these words if they are what comes next."""
        here = self.tokens[self.at : self.at + len(words)]
        if tuple(token.upper for token in here) != words:
            return False
        self.at += len(words)
        return True

    def skip(self, *words: str) -> None:
        """Passes over any of these words."""
        while self.word in words and self.word:
            self.at += 1

    def rest(self) -> Sequence[Token]:
        """The tokens from here on, without a semicolon at the end."""
        end = len(self.tokens)
        while end > self.at and self.tokens[end - 1] == Token("symbol", ";"):
            end -= 1
        return self.tokens[self.at : end]

    def name(self) -> str:
        """An identifier."""
        if self.at >= len(self.tokens) or not self.tokens[self.at].is_name:
            raise _Unknown
        self.at += 1
        return self.tokens[self.at - 1].text

    def table(self) -> TableName:
        """A table's name, qualified or not."""
        if self.symbol == ".":
            self.at += 1
            return TableName(self.database, self.name())
        first = self.name()
        if self.symbol == ".":
            self.at += 1
            return TableName(first, self.name())
        return TableName(self.database, first)

    def list(self) -> tuple[TableName, ...]:
        """One or more table names with commas between."""
        found = [self.table()]
        while self.symbol == ",":
            self.at += 1
            found.append(self.table())
        return tuple(found)


def _classify(tokens: Sequence[Token], database: str) -> Statement:
    reader = _Reader(tokens, database)
    if not reader.rest():
        return Statement("harmless")
    if reader.take("SET", "STATEMENT"):
        _pass_settings(reader)
    verb = reader.word
    if verb in _HARMLESS:
        return Statement("harmless")
    read = _VERBS.get(verb)
    if read is None:
        raise _Unknown
    reader.at += 1
    return read(reader)


def _pass_settings(reader: _Reader) -> None:
    """MariaDB's SET STATEMENT name = value, … FOR statement."""
    depth = 0
    while reader.at < len(reader.tokens):
        if reader.word == "SQL_MODE":
            # The names behind it may be quoted otherwise.
            raise _Unknown
        depth += {"(": 1, ")": -1}.get(reader.symbol, 0)
        if depth == 0 and reader.take("FOR"):
            return
        reader.at += 1
    raise _Unknown


_HARMLESS = frozenset(
    """
    GRANT REVOKE FLUSH OPTIMIZE CHECKSUM CHECK SET INSTALL UNINSTALL KILL LOCK UNLOCK SHOW USE
    DESC DESCRIBE PURGE RESET CHANGE STOP HELP CACHE BINLOG SHUTDOWN RESTART BACKUP
    """.split()  # noqa: SIM905 - a screen of single words otherwise
)
"""Verbs of statements that change no rows of tables (BINLOG's rows are logged as rows)."""

_OBJECTS = frozenset(
    """
    TABLE TABLES VIEW TRIGGER PROCEDURE FUNCTION EVENT INDEX DATABASE SCHEMA USER ROLE SERVER
    SEQUENCE PACKAGE TABLESPACE LOGFILE INSTANCE RESOURCE REFERENCE LIBRARY PREPARE
    """.split()  # noqa: SIM905 - a screen of single words otherwise
)
_ROWLESS = _OBJECTS - {"TABLE", "TABLES", "INDEX", "DATABASE", "SCHEMA", "SEQUENCE"}


def _object(reader: _Reader) -> tuple[str, set[str]]:
    """The kind of object that CREATE, ALTER or DROP is about, and the words before it."""
    before: set[str] = set()
    while reader.at < len(reader.tokens):
        word = reader.word
        reader.at += 1
        if word in _OBJECTS:
            return word, before
        before.add(word)
    raise _Unknown


def _create(reader: _Reader) -> Statement:
    what, before = _object(reader)
    if what in _ROWLESS or (what == "TABLE" and "TEMPORARY" in before):
        return Statement("harmless")
    absent = reader.take("IF", "NOT", "EXISTS")
    if what in ("DATABASE", "SCHEMA"):
        # MariaDB's CREATE OR REPLACE DATABASE drops the old one.
        return Statement("drop-database", (), reader.name()) if before else Statement("harmless")
    if what == "INDEX":
        return _on_table(reader)
    if what in ("TABLE", "SEQUENCE"):
        return Statement("create-if-absent" if absent else "ddl", (reader.table(),))
    raise _Unknown


def _on_table(reader: _Reader) -> Statement:
    """What follows INDEX: name [USING type] ON table …."""
    primary = reader.name().upper() == "PRIMARY"
    while not reader.take("ON"):
        if reader.at >= len(reader.tokens):
            raise _Unknown
        reader.at += 1
    return Statement("ddl" if primary else "index", (reader.table(),))


def _drop(reader: _Reader) -> Statement:
    what, before = _object(reader)
    if what in _ROWLESS or (what in ("TABLE", "TABLES") and "TEMPORARY" in before):
        return Statement("harmless")
    reader.take("IF", "EXISTS")
    if what in ("DATABASE", "SCHEMA"):
        return Statement("drop-database", (), reader.name())
    if what == "INDEX":
        return _on_table(reader)
    return Statement("ddl", reader.list())


def _alter(reader: _Reader) -> Statement:
    what, before = _object(reader)
    if what in _ROWLESS:
        return Statement("harmless")
    if what in ("DATABASE", "SCHEMA"):
        # Without a name it is the default one, and an option follows at once.
        named = reader.word not in _DATABASE_OPTIONS
        return Statement("alter-database", (), reader.name() if named else reader.database)
    reader.take("IF", "EXISTS")
    table = reader.table()
    if what == "SEQUENCE":
        return Statement("ddl", (table,))
    if what != "TABLE":
        raise _Unknown
    reader.skip("NOWAIT")
    if reader.take("WAIT"):
        reader.at += 1
    clauses = reader.rest()
    if "IGNORE" not in before and only_indexes(clauses):
        return Statement("index", (table,))
    others = []
    for place in renamed(clauses):
        other = _Reader(clauses, reader.database)
        other.at = place
        others.append(other.table())
    return Statement("ddl", (table, *others))


_DATABASE_OPTIONS = frozenset(
    ("DEFAULT", "CHARACTER", "CHARSET", "COLLATE", "ENCRYPTION", "READ", "COMMENT")
)


def _rename(reader: _Reader) -> Statement:
    if reader.word == "USER":
        return Statement("harmless")
    if not (reader.take("TABLE") or reader.take("TABLES")):
        raise _Unknown
    reader.take("IF", "EXISTS")
    found = []
    while True:
        found.append(reader.table())
        reader.skip("NOWAIT")
        if reader.take("WAIT"):
            reader.at += 1
        if not reader.take("TO"):
            raise _Unknown
        found.append(reader.table())
        if reader.symbol != ",":
            break
        reader.at += 1
    return _whole(reader, Statement("ddl", tuple(found)))


def _truncate(reader: _Reader) -> Statement:
    reader.take("TABLE")
    table = reader.table()
    reader.skip("NOWAIT")
    if reader.take("WAIT"):
        reader.at += 1
    return _whole(reader, Statement("truncate", (table,)))


def _whole(reader: _Reader, statement: Statement) -> Statement:
    """The statement, if nothing follows that was not read."""
    if reader.rest():
        raise _Unknown
    return statement


def _insert(reader: _Reader) -> Statement:
    reader.skip("LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO")
    return Statement("dml", (reader.table(),))


def _update(reader: _Reader) -> Statement:
    return Statement("dml", tuple(_all_names(reader, "SET")))


def _delete(reader: _Reader) -> Statement:
    return Statement("dml", tuple(_all_names(reader, "WHERE")))


def _all_names(reader: _Reader, end: str) -> Iterator[TableName]:
    """Every name up to the word `end`, tables or not: too many are better than too few."""
    while reader.at < len(reader.tokens) and reader.word != end:
        if not reader.tokens[reader.at].is_name:
            reader.at += 1
            continue
        first = reader.name()
        yield TableName(reader.database, first)
        if reader.symbol == ".":
            reader.at += 1
            if reader.at < len(reader.tokens) and reader.tokens[reader.at].is_name:
                yield TableName(first, reader.name())


def _repair(reader: _Reader) -> Statement:
    """A damaged MyISAM table may lose rows."""
    reader.skip("LOCAL", "NO_WRITE_TO_BINLOG")
    if not (reader.take("TABLE") or reader.take("TABLES")):
        raise _Unknown
    return Statement("ddl", reader.list())


def _load(reader: _Reader) -> Statement:
    if reader.word == "INDEX":
        return Statement("harmless")
    while not reader.take("INTO", "TABLE"):
        if reader.at >= len(reader.tokens):
            raise _Unknown
        reader.at += 1
    return Statement("dml", (reader.table(),))


def _rollback(reader: _Reader) -> Statement:
    reader.take("WORK")
    if reader.word == "TO":
        return Statement("rollback-to")
    return Statement("rollback")


def _xa(reader: _Reader) -> Statement:
    kinds: Mapping[str, Kind] = {
        "START": "xa-start",
        "BEGIN": "xa-start",
        "END": "xa-end",
        "PREPARE": "xa-prepare",
        "COMMIT": "xa-commit",
        "ROLLBACK": "xa-rollback",
    }
    kind = kinds.get(reader.word)
    if kind is None:
        raise _Unknown
    return Statement(kind)


def _analyze(reader: _Reader) -> Statement:
    reader.skip("LOCAL", "NO_WRITE_TO_BINLOG")
    # MariaDB's ANALYZE of a statement executes it.
    if reader.word not in ("TABLE", "TABLES"):
        raise _Unknown
    return Statement("harmless")


def _begin(reader: _Reader) -> Statement:
    reader.take("WORK")
    return _whole(reader, Statement("begin"))


def _start(reader: _Reader) -> Statement:
    return Statement("begin" if reader.word == "TRANSACTION" else "harmless")


def _simple(kind: Kind) -> Callable[[_Reader], Statement]:
    return lambda _reader: Statement(kind)


_VERBS: Mapping[str, Callable[[_Reader], Statement]] = {
    "BEGIN": _begin,
    "START": _start,
    "COMMIT": _simple("commit"),
    "ROLLBACK": _rollback,
    "SAVEPOINT": _simple("savepoint"),
    "RELEASE": _simple("savepoint"),
    "XA": _xa,
    "ANALYZE": _analyze,
    "CREATE": _create,
    "DROP": _drop,
    "ALTER": _alter,
    "RENAME": _rename,
    "TRUNCATE": _truncate,
    "INSERT": _insert,
    "REPLACE": _insert,
    "UPDATE": _update,
    "DELETE": _delete,
    "LOAD": _load,
    "REPAIR": _repair,
}
