"""The verdict on a run whose parts are all swept, and the certificates of its groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bridge.change.position import Position
from bridge.names import TableName
from bridge.report.verification import TableVerdict, Verdict, Verification
from bridge.verify.certificate import Evidence, Refusal, certificate, refusals
from bridge.verify.follow import oldest
from bridge.verify.found import digest_text
from bridge.verify.gather import gathered
from bridge.verify.ledger import Ledger
from bridge.verify.records import Proof, Run
from bridge.verify.tables import Followed, Unfit


def conclude(
    ledger: Ledger,
    run: Run,
    tables: Sequence[Followed | Unfit],
    carried: Mapping[TableName, Followed | Unfit],
) -> Verification:
    """What is known of `tables`; with `run.certify` also the certificates of their groups.

    `carried`: all tables of the pipeline.
    """
    proofs = ledger.proofs()
    verdicts = [
        table.verdict
        if isinstance(table, Unfit)
        else _verdict(ledger, run, table, proofs.get(table.name))
        for table in tables
    ]
    result = Verification(ledger.pipeline, run.level, tuple(verdicts), _position(verdicts))
    if not run.certify:
        return result
    issued, refused = _certify(ledger, tables, carried, proofs)
    return replace(
        result,
        certificates=tuple(issued),
        refusals=tuple(refusal.document() for refusal in refused),
    )


def _verdict(ledger: Ledger, run: Run, table: Followed, proof: Proof | None) -> TableVerdict:
    """The sweep's verdict, brought up to date by what was judged again since."""
    found = gathered(ledger, run, table)
    seconds = sum(part.seconds for part in ledger.parts(run) if part.table == table.name)
    mine = proof if proof and proof.verification == run.id else None
    swept = found.verdict(str(mine.position) if mine else "", seconds)
    if found.partial:
        return swept
    reason, hint = _doubt(table, mine, swept)
    if mine is None or _another(table, mine):
        doubted = swept.verdict == "match" and reason
        return _worded(swept, "inconclusive", reason, hint) if doubted else swept
    known = tuple(difference for _, difference in ledger.differences(table.name))
    others = tuple(d for d in swept.differences if d.kind == "quarantined")
    verdict: Verdict = "inconclusive" if reason else "match"
    if mine.differences:
        verdict, hint = "mismatch", found.mending
    return replace(
        _worded(swept, verdict, reason, hint),
        differing=mine.differences,
        in_flight=len(mine.open),
        differences=(*known, *others),
        rechecked=mine.rechecked,
    )


def _worded(swept: TableVerdict, verdict: Verdict, reason: str, hint: str) -> TableVerdict:
    return replace(swept, verdict=verdict, reason=reason, hint=hint)


def _another(table: Followed, proof: Proof) -> bool:
    """Whether the table is another one by now than the proof is about."""
    state = table.state
    return (proof.generation, proof.version) != (state.generation, state.version)


def _doubt(table: Followed, proof: Proof | None, swept: TableVerdict) -> tuple[str, str]:
    """Why the table as it is now is not known to be equal, and what helps; '' if it is."""
    anew = f"dbbridge verify {table.name.word}"
    if proof is not None and _another(table, proof):
        return "it was copied again, or has another mapping, since it was looked at", anew
    if table.state.quarantined:
        return f"{table.state.quarantined} rows are in quarantine", "dbbridge quarantine list"
    if proof is not None and proof.obstacle:
        return proof.obstacle, anew
    if proof is not None and proof.open:
        reason = swept.reason or f"{len(proof.open)} rows could not be judged"
        return reason, swept.hint or anew
    return (swept.reason, swept.hint) if swept.quarantined else ("", "")


def _position(verdicts: Sequence[TableVerdict]) -> str:
    """The position that all verdicts cover; '' where a table has none."""
    positions = [Position.parse(v.position) for v in verdicts if v.position]
    return str(oldest(positions)) if positions and len(positions) == len(verdicts) else ""


def _certify(
    ledger: Ledger,
    tables: Sequence[Followed | Unfit],
    carried: Mapping[TableName, Followed | Unfit],
    proofs: Mapping[TableName, Proof],
) -> tuple[list[dict[str, object]], list[Refusal]]:
    """One certificate a group of which a table was verified, or why there is none."""
    groups: dict[str, list[TableName]] = {}
    for name, table in carried.items():
        groups.setdefault(_group(table), []).append(name)
    issued, refused = [], []
    for group in sorted({_group(table) for table in tables}):
        evidence = [evidence_of(carried[name], proofs.get(name)) for name in groups[group]]
        found = refusals(evidence)
        if found:
            refused += found
            continue
        position = oldest(each.proof.position for each in evidence if each.proof)
        digests = {e.table: digest_text(e.proof.total) for e in evidence if e.proof}
        document = certificate(group, evidence, position, digests)
        number = ledger.add_certificate(group, str(position), document)
        issued.append({"id": number, **document})
    return issued, refused


def _group(table: Followed | Unfit) -> str:
    if isinstance(table, Followed):
        return table.plan.group
    return str(table.state.mapping.get("group", "")) if table.state else ""


def evidence_of(table: Followed | Unfit, proof: Proof | None) -> Evidence:
    """What is known of a table, for `certificate.refusals`."""
    if isinstance(table, Followed):
        fingerprint = table.plan.table.fingerprint
        return Evidence(table.name, table.state, proof, fingerprint, table.mapping)
    return Evidence(table.name, table.state, proof, "", "")
