"""Who wrote between two looks at a server, out of its counters and its sessions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Who:
    """Somebody who writes. `program`: as the session calls itself, '' where that is not known."""

    account: str
    host: str
    program: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a server told.

    `accounts`: writing statements since the server began to count, by account and host; None where
    it does not count, or does not tell.
    `sessions`: the same of those that are connected, by the session's number. `met`: who was in a
    transaction that had written at that moment. `unseen`: what the server did not tell.
    """

    accounts: Mapping[Who, int] | None = None
    sessions: Mapping[int, tuple[Who, int]] = field(default_factory=dict)
    met: tuple[Who, ...] = ()
    unseen: tuple[str, ...] = ()


def between(before: Look | None, now: Look) -> dict[Who, int]:
    """Who wrote since the look before, and how many statements (or 1, where they are only met).

    What was counted before the first look that told of counters is not told: nobody knows how long
    ago that was. Counters that have become smaller began anew.
    """
    found: dict[Who, int] = {}
    if before is not None and before.accounts is not None and now.accounts is not None:
        counted = _grown(before.accounts, now.accounts)
        for who, count in _of_sessions(before, now).items():
            account = Who(who.account, who.host)
            taken = min(count, counted.get(account, 0))
            if taken:
                found[who] = found.get(who, 0) + taken
                counted[account] -= taken
        for account, left in counted.items():
            if left:
                found[account] = found.get(account, 0) + left
    for who in now.met:
        if not any((w.account, w.host, w.program) == _of(who) for w in found):
            found[who] = 1
    return found


def latest(before: Look | None, now: Look) -> Look | None:
    """What the next look is compared with.

    One that told of no counters is passed over, so that what is written meanwhile is told later.
    """
    return before if now.accounts is None else now


def _of(who: Who) -> tuple[str, str, str]:
    return who.account, who.host, who.program


def _of_sessions(before: Look, now: Look) -> dict[Who, int]:
    found: dict[Who, int] = {}
    for number, (who, count) in now.sessions.items():
        earlier = before.sessions.get(number)
        known = earlier[1] if earlier is not None and earlier[0] == who else 0
        grown = count - known if count >= known else count
        if grown and who.program:
            found[who] = found.get(who, 0) + grown
    return found


def _grown(before: Mapping[Who, int], now: Mapping[Who, int]) -> dict[Who, int]:
    pairs: Iterable[tuple[Who, int, int]] = ((w, n, before.get(w, 0)) for w, n in now.items())
    return {who: count - old if count >= old else count for who, count, old in pairs}
