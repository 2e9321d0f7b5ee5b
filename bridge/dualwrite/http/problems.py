"""What goes wrong, as callers are told it: problem+json (RFC 9457) with a hint.

A problem says whether anything was written: only a commit without a clear answer leaves that open.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pymysql
from pymysql.constants import ER
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bridge.databases.mysql import source_error
from bridge.dualwrite.authority import Closed, StaleEpoch
from bridge.errors import BridgeError, ServerUnreachable

MEDIA_TYPE = "application/problem+json"
_FOREIGN = frozenset(
    {
        ER.NO_REFERENCED_ROW,
        ER.ROW_IS_REFERENCED,
        ER.ROW_IS_REFERENCED_2,
        ER.NO_REFERENCED_ROW_2,
        1557,  # ER_FOREIGN_DUPLICATE_KEY_OLD_UNUSED
        1761,  # ER_FOREIGN_DUPLICATE_KEY_WITH_CHILD_INFO
        1762,  # ER_FOREIGN_DUPLICATE_KEY_WITHOUT_CHILD_INFO
    }
)
_DEADLOCK = (ER.LOCK_DEADLOCK, ER.SP_DOES_NOT_EXIST)
"""A deadlock ends the transaction and its savepoints, so that going back to one fails instead."""
_BUSY = frozenset({ER.LOCK_WAIT_TIMEOUT, *_DEADLOCK, 3024})
_MISSET = frozenset(
    {
        ER.DBACCESS_DENIED_ERROR,
        ER.TABLEACCESS_DENIED_ERROR,
        ER.COLUMNACCESS_DENIED_ERROR,
        ER.SPECIFIC_ACCESS_DENIED_ERROR,
        ER.NO_SUCH_TABLE,
        ER.OPTION_PREVENTS_STATEMENT,
    }
)


_LAYER: tuple[tuple[type[BridgeError], str, int], ...] = (
    (Closed, "closed", 1),
    (StaleEpoch, "stale-epoch", 1),
    (ServerUnreachable, "server-away", 5),
)


class Problem(Exception):
    """An answer other than what was asked for. `code` is stable; `again`: seconds until a retry."""

    def __init__(
        self, status: int, code: str, detail: str, hint: str = "", *, again: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.hint = hint
        self.again = again

    def body(self, request_id: str) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "type": f"urn:dbbridge:problem:{self.code}",
            "title": self.code.replace("-", " "),
            "status": self.status,
            "detail": self.detail,
            "hint": self.hint,
            "request_id": request_id,
        }

    @property
    def headers(self) -> dict[str, str]:
        """Those that go with it."""
        found = {} if self.again is None else {"Retry-After": str(self.again)}
        return found | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


@contextmanager
def numbered(number: int) -> Iterator[None]:
    """A problem in here tells which operation of several it is about; the first is 0."""
    try:
        yield
    except Problem as problem:
        if number:
            problem.detail = f"operation {number}: {problem.detail}"
        raise


def source_away() -> Problem:
    """The source cannot be reached."""
    return Problem(503, "source-away", "the source cannot be reached", "try again", again=5)


def commit_unknown() -> Problem:
    """The connection broke before the answer to a commit, or the answer leaves it open."""
    return Problem(
        503,
        "commit-unknown",
        "the commit has no clear answer: it may have been written or not",
        "read the rows before sending it again; with an Idempotency-Key it could be at once",
    )


def busy() -> Problem:
    """Others are before it; nothing was written."""
    return Problem(503, "busy", "other transactions were faster", "try again", again=1)


def transient(error: Exception) -> bool:
    """Whether the same transaction may well succeed at once, nothing of it having been written."""
    if isinstance(error, StaleEpoch):
        return True
    if not isinstance(error, DBAPIError):
        return False
    original = error.orig
    if error.connection_invalidated:
        return True
    if isinstance(original, psycopg.Error):
        return original.sqlstate in ("40P01", "40001")
    return isinstance(original, pymysql.Error) and original.args[0] in _DEADLOCK


def problem_of(error: Exception) -> Problem | None:
    """What an error of the layer or of a server means to a caller; None for a defect of ours."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, PoolTimeout):
        return Problem(503, "busy", "all sessions are in use", "try again in a moment", again=1)
    if isinstance(error, BridgeError):
        return _of_layer(error)
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, psycopg.Error):
        return _of_target(original)
    return _of_source(original) if isinstance(original, pymysql.Error) else None


def _of_layer(error: BridgeError) -> Problem:
    for kind, code, again in _LAYER:
        if isinstance(error, kind):
            return Problem(503, code, error.message, error.hint, again=again)
    return Problem(503, "refused", error.message, error.hint)


def _of_source(error: pymysql.Error) -> Problem:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    if code == ER.DUP_ENTRY:
        return _conflict(text)
    if code in _FOREIGN:
        return _foreign()
    if code in _BUSY:
        return _locked()
    if code in _MISSET:
        return _misset("source")
    if isinstance(source_error(error), ServerUnreachable):
        return source_away()
    return _unfit(text)


def _of_target(error: psycopg.Error) -> Problem:
    state = error.sqlstate or ""
    text = error.diag.message_primary or "the target refused it"
    if state == "23505":
        return _conflict(text)
    if state == "23503":
        return _foreign()
    if state.startswith(("40", "55P", "57014")):
        return _locked()
    if state.startswith(("42501", "42P01", "25006")):
        return _misset("target")
    if not state or state.startswith(("08", "57P", "53")):
        return Problem(503, "target-away", "the target cannot be reached", "try again", again=5)
    return _unfit(text)


def _conflict(text: str) -> Problem:
    return Problem(409, "unique-conflict", text, "another row has this value: read it, or upsert")


def _foreign() -> Problem:
    return Problem(
        409,
        "foreign-key-conflict",
        "a foreign key does not allow it",
        "write the row that is referred to first, or remove what refers to this one",
    )


def _locked() -> Problem:
    return Problem(
        503, "busy", "another transaction holds these rows", "try again in a moment", again=1
    )


def _misset(side: str) -> Problem:
    return Problem(
        503,
        f"{side}-refused",
        f"the {side} does not let the proxy's account do this",
        "an operator finds the server's words in the proxy's log, and the grants in docs/proxy.md",
    )


def _unfit(text: str) -> Problem:
    return Problem(422, "value-refused", text, "correct the value; nothing was written")
