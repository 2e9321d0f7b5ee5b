"""Gates about what others do on both servers: transactions, instances, writers. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from bridge.cutover.gates.base import Gate, Problem, of_problems
from bridge.cutover.gates.facts import Census, Epochs, Facts, Instance, Limits, Writer
from bridge.names import group_option

_DAY = 86_400.0
OWN_PROGRAMS = "dbbridge"
"""How the bridge's own sessions call themselves, at the beginning."""


def in_doubt(facts: Facts, limits: Limits) -> Gate:
    """Nothing is prepared and undecided, and every early write was confirmed by the stream."""
    doubt = facts.doubt
    evidence = {
        "unconfirmed": doubt.unconfirmed,
        "oldest_seconds": round(doubt.age, 1),
        "source": doubt.source,
        "target": list(doubt.target),
    }
    problems = [
        Problem(f"XA transaction {xid} is prepared in the source", f"XA ROLLBACK {xid}")
        for xid in doubt.source or ()
    ]
    problems += [
        Problem(f"transaction {gid} is prepared in the target", f"ROLLBACK PREPARED {gid}")
        for gid in doubt.target
    ]
    if doubt.unconfirmed and doubt.age > limits.unconfirmed:
        text = (
            f"{doubt.unconfirmed} operations were written early, the oldest {doubt.age:.0f} s ago,"
            " and the stream has not brought them"
        )
        problems.append(Problem(text, "dbbridge status"))
    if problems or doubt.source is not None:
        return of_problems("in-doubt", problems, evidence)
    missing = f"the source does not tell its prepared transactions: {doubt.refused}"
    return Gate("in-doubt", None, evidence, missing, "GRANT XA_RECOVER_ADMIN ON *.* TO the bridge")


def long_transactions(facts: Facts, limits: Limits) -> Gate:
    """No transaction of others has been open for long, so that locks are had at once."""
    found = [one for one in facts.transactions.open if one.seconds > limits.transaction]
    found.sort(key=lambda one: -one.seconds)
    evidence = {"sessions": [one.document() for one in found], "most": limits.transaction}
    problems = [
        Problem(
            f"session {one.session} of {one.user}@{one.host or 'local'} in the {one.side} has had a"
            f" transaction open for {one.seconds:.0f} s",
            _end(one.side, one.session),
        )
        for one in found
    ]
    if problems or not facts.transactions.unseen:
        return of_problems("long-transactions", problems, evidence)
    first = facts.transactions.unseen[0]
    return Gate("long-transactions", None, evidence, first.text, first.command)


def _end(side: str, session: int) -> str:
    return f"KILL {session}" if side == "source" else f"SELECT pg_terminate_backend({session})"


def instances(facts: Facts, limits: Limits) -> Gate:
    """Every instance that writes through the bridge knows the current epoch.

    Without an epoch nothing holds its writes. Where nobody writes so, arming makes one.
    """
    counted = [one for one in facts.instances if one.silent <= limits.gone]
    epoch = _current(facts.epochs)
    evidence = {
        "epoch": epoch,
        "instances": [
            {
                "instance": one.name,
                "kind": one.kind,
                "host": one.host,
                "pid": one.pid,
                "epoch": one.epoch,
                "silent_seconds": round(one.silent, 1),
            }
            for one in counted
        ],
        "gone": sum(one.silent > limits.gone for one in facts.instances),
    }
    return of_problems("instances", _behind(facts, counted, epoch, limits), evidence)


def _current(epochs: Epochs) -> int | None:
    known = [side[1] for side in (epochs.source, epochs.target) if side is not None]
    return max(known, default=None)


def _behind(
    facts: Facts, counted: list[Instance], epoch: int | None, limits: Limits
) -> Iterator[Problem]:
    here, there = facts.epochs.source, facts.epochs.target
    if here != there:
        yield Problem(
            f"the sides do not agree on {facts.group}: {_said(here)} in the source,"
            f" {_said(there)} in the target",
            f"dbbridge cutover mode cdc {group_option(facts.group)}",
        )
    elif epoch is None and counted:
        yield Problem(
            f"{facts.group} was never set up, so that nothing holds what is written through the"
            " bridge",
            f"dbbridge cutover mode cdc {group_option(facts.group)}",
        )
    for one in counted:
        who = f"{one.kind} {one.host}:{one.pid}"
        if one.silent > limits.silent:
            yield Problem(
                f"{who} has said nothing for {one.silent:.0f} s",
                f"look at it; it is not counted any more after {limits.gone:g} s",
            )
        elif one.epoch != epoch:
            yield Problem(
                f"{who} knows epoch {one.epoch} of {facts.group}, the current one is {epoch}",
                "wait a moment, or restart it",
            )


def _said(side: tuple[str, int] | None) -> str:
    return f"{side[0]}, epoch {side[1]}" if side else "nothing"


def writers(facts: Facts, limits: Limits) -> Gate:
    """Everybody who was seen to write is known."""
    sides = {census.side: census for census in facts.census}
    unknown = [w for census in facts.census for w in census.writers if not _known(w, facts)]
    evidence = {
        "unknown": [
            {"side": w.side, "account": w.account, "host": w.host, "program": w.program,
             "statements": w.statements}
            for w in unknown
        ],
        "unseen": {side: list(census.unseen) for side, census in sides.items()},
        "watched_seconds": {side: census.began for side, census in sides.items()},
    }  # fmt: skip
    problems = [
        Problem(
            f"{_who(one)} writes in the {one.side}",
            "move it, or have it fenced: cutover.accounts in bridge.yaml",
        )
        for one in unknown
    ]
    if problems:
        return of_problems("writers", problems, evidence)
    unseen = [text for census in facts.census for text in census.unseen]
    watched = _watched(sides.get("source"))
    if watched is None or watched < limits.census:
        missing = f"writers have been looked for during {_length(watched)} only"
        return Gate("writers", None, evidence, missing, "let dbbridge sync run on")
    if unseen:
        return Gate("writers", None, evidence, "; ".join(unseen), _help(unseen))
    short = f"writers have been looked for during {_length(watched)} only"
    return Gate("writers", True, evidence, short if watched < _DAY else "")


def _watched(census: Census | None) -> float | None:
    return None if census is None else census.began


def _length(seconds: float | None) -> str:
    if seconds is None:
        return "no time"
    return f"{seconds:.0f} s" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _known(writer: Writer, facts: Facts) -> bool:
    if writer.program.startswith(OWN_PROGRAMS):
        return True
    if _named(writer, facts.own_accounts):
        return not writer.program
    return _named(writer, facts.known_writers)


def _named(writer: Writer, accounts: Collection[str]) -> bool:
    """Whether it is one of the accounts: ``app``, or ``app@10.0.%`` as the source writes it."""
    for each in accounts:
        user, at, host = each.replace("'", "").rpartition("@")
        if (user if at else host) != writer.account:
            continue
        # What counts by users (MariaDB), or for roles, tells no host.
        if not at or not writer.host or like(host, writer.host):
            return True
    return False


def like(pattern: str, text: str) -> bool:
    """LIKE, as hosts of accounts are compared: without regard to case."""
    words = {"%": ".*", "_": "."}
    regex = "".join(words.get(letter) or re.escape(letter) for letter in pattern)
    return re.fullmatch(regex, text, re.IGNORECASE | re.DOTALL) is not None


def _who(writer: Writer) -> str:
    program = f" ({writer.program})" if writer.program else ""
    return f"{writer.account}@{writer.host or 'local'}{program}"


def _help(unseen: list[str]) -> str:
    if any("userstat" in text for text in unseen):
        return "SET GLOBAL userstat = 1"
    if any("PROCESS" in text for text in unseen):
        return "GRANT PROCESS ON *.* TO the bridge"
    return "GRANT SELECT ON performance_schema.* TO the bridge"
