"""Gates about what is proven: definitions, certificate, how long the final check takes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bridge.cutover.gates.base import Gate, Problem, of_problems
from bridge.cutover.gates.facts import Facts, Limits, Unproven
from bridge.names import TableName
from bridge.verify.certificate import VERIFY, refusals

_LEAST_KEYS = 100
"""A rate is taken from rounds that judged at least so many keys."""


def schema(facts: Facts, _: Limits) -> Gate:
    """Both sides' definitions are those that the pipeline works with."""
    found = facts.definitions
    prints = {str(table): text for table, text in sorted(found.fingerprints.items())}
    return of_problems("schema", found.problems, {"fingerprints": prints})


def certificate(facts: Facts, _: Limits) -> Gate:
    """Every row of the group is proven equal, and stays so as the log says.

    Rows in quarantine are another gate's matter: with them no certificate is issued, and the
    tables' proofs must say all that it would.
    """
    proofs = {e.table: e.proof for e in facts.evidence}
    newest = _covering(facts)
    evidence = {
        "certificates": sorted({int(one["id"]) for one in newest.values()}),
        "tables": [
            {
                "table": str(table),
                "rows": proof.rows,
                "level": proof.level,
                "proven_position": str(proof.position),
                "equivalences": list(proof.equivalences),
            }
            for table, proof in sorted(proofs.items())
            if proof is not None
        ],
    }
    return of_problems("certificate", _unproven(facts, newest), evidence)


def _covering(facts: Facts) -> dict[TableName, Mapping[str, Any]]:
    """The newest certificate that is about each table."""
    found: dict[TableName, Mapping[str, Any]] = {}
    for one in sorted(facts.certificates, key=lambda c: int(c["id"])):
        names = {entry["table"] for entry in one["tables"]}
        found |= {table: one for table in facts.tables if str(table) in names}
    return found


def _unproven(facts: Facts, newest: Mapping[TableName, Mapping[str, Any]]) -> Iterator[Problem]:
    refused = [one for one in refusals(facts.evidence) if one.code != "quarantine"]
    for one in refused:
        yield Problem(f"{one.table}: {one.reason}", one.hint)
    judged = {each.table for each in facts.evidence}
    for table in facts.tables:
        if table not in judged:
            yield Problem(f"{table}: it was never verified", VERIFY)
    if facts.quarantined or refused:
        return
    for each in facts.evidence:
        certified = newest.get(each.table)
        if certified is None:
            yield Problem(f"no certificate is about {each.table}", VERIFY)
            continue
        (entry,) = [entry for entry in certified["tables"] if entry["table"] == str(each.table)]
        assert each.proof is not None
        if (entry["mapping"], entry["schema"]) != (each.proof.version, each.proof.fingerprint):
            yield Problem(f"the certificate is about another form of {each.table}", VERIFY)


def kept_up(facts: Facts) -> Gate:
    """The same before a reverse: nothing of it is wrong that its final check could not mend.

    What differs or could not be judged may be on its way to the source: that is for the check.
    Rows in quarantine are in the source, and only there; going back to it, they are missed by none.
    """
    proofs = {str(e.table): e.proof for e in facts.evidence}
    tables = [
        {"table": table, "proven_position": str(proof.position) if proof else None}
        for table, proof in sorted(proofs.items())
    ]
    problems = [
        Problem(f"{one.table}: {one.reason}", _MENDS.get(one.code, one.hint))
        for one in refusals(facts.evidence)
        if one.code not in _SETTLED_BY_THE_CHECK
    ]
    return of_problems("certificate", problems, {"tables": tables})


_SETTLED_BY_THE_CHECK = frozenset({"not-streaming", "quarantine", "differences", "in-flight"})
_NO_PROOF = "no proof is made anew while the target has authority: dbbridge cutover complete"
_MENDS: Mapping[str, str] = {
    "not-followed": "give it another group in its mapping file",
    "mapping": "change its mapping file back",
    "schema": "change the source's table back",
} | dict.fromkeys(("partial", "copied-again", "counts", "one-digest", "unchecked"), _NO_PROOF)


def final_check(facts: Facts, limits: Limits) -> Gate:
    """Under the fence only what changed since the proofs is looked at; that must not take long."""
    rate = recheck_rate(facts.unproven, limits)
    keys = sum(each.changes + each.open for each in facts.unproven)
    seconds = predicted_seconds(facts.unproven, limits)
    evidence = {
        "keys_at_position": keys,
        "predicted_seconds": round(seconds, 2),
        "most": limits.pause,
        "keys_per_second": round(rate),
        "tables": [str(each.table) for each in facts.unproven],
    }
    known = {each.table for each in facts.unproven}
    if not set(facts.tables) <= known:
        missing = "not every table is proven, so nobody knows how much is to be looked at"
        return Gate("final-check", None, evidence, missing, VERIFY)
    if seconds > limits.pause:
        missing = (
            f"{keys} keys changed since they were proven; at {rate:.0f} a second the final check"
            f" takes {seconds:.1f} s, and {limits.pause:g} s are allowed"
        )
        return Gate("final-check", False, evidence, missing, "dbbridge verify --certify")
    return Gate("final-check", True, evidence)


def recheck_rate(tables: tuple[Unproven, ...], limits: Limits) -> float:
    """Keys a second, as last measured over all tables; else what is expected."""
    measured = [t for t in tables if t.round_keys >= _LEAST_KEYS and t.round_seconds > 0]
    if not measured:
        return limits.recheck_keys
    return sum(t.round_keys for t in measured) / sum(t.round_seconds for t in measured)


def predicted_seconds(tables: tuple[Unproven, ...], limits: Limits) -> float:
    """How long the final check takes, if it began now."""
    keys = sum(each.changes + each.open for each in tables)
    return limits.recheck_start + keys / recheck_rate(tables, limits)
