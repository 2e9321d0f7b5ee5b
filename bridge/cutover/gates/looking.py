"""The gates of one group's switch or reverse, with what the settings say and what was waived."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.capture.plans import read_plans
from bridge.cutover.fences.base import FenceProblem
from bridge.cutover.fences.target_check import check_target
from bridge.cutover.gates.base import ORDER, Gate, Problem, of_problems
from bridge.cutover.gates.facts import Facts, Limits
from bridge.cutover.gates.gather import Inspector, discarded, quarantined
from bridge.cutover.gates.judge import judge, refusing
from bridge.cutover.gates.proven import kept_up
from bridge.cutover.gates.reverse import lag_told, lost_ways, reverse_problems, slot_problems
from bridge.cutover.gates.stream import kept_out, lag_back
from bridge.cutover.opening import Opener, account_of
from bridge.cutover.proposals import Proposal, propose
from bridge.cutover.sampling import Sample, spans
from bridge.cutover.waivers import Waivers
from bridge.databases import mysql
from bridge.dualwrite.groups import group_of
from bridge.mapping.model import TableMapping
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.report.groups import FOR_GOOD
from bridge.reverse.representable import count_unheld
from bridge.reverse.slots import slot_name
from bridge.verify.ledger import Ledger

if TYPE_CHECKING:
    from bridge.cutover.work import Work

OF_REVERSE = ("capture", "daemon", "in-doubt", "long-transactions", "instances")
"""Gates of a switch that a reverse has as well; the others of its own are below."""


@dataclass(frozen=True)
class Looker:
    """Looks at the gates of `direction`, switch or reverse.

    `sample`: of the source's log, whose transactions over several groups are told.
    """

    opener: Opener
    direction: str
    sample: Sample | None = None

    def gates(self, work: Work) -> tuple[tuple[Gate, ...], dict[str, str]]:
        """All of them, and the evidence hashes of those that are waived."""
        inspector = self._inspector(work)
        names = ORDER if self.direction == "switch" else OF_REVERSE
        facts = inspector.look(work.source, work.target, names)
        gates = judge(facts, inspector.limits, names)
        if self.direction == "reverse":
            gates = (*gates, *_of_reverse(work, facts, inspector.limits))
        found = {gate.name: gate.evidence_hash() for gate in gates if gate.waivable}
        waived = Waivers(work.target, work.pipeline).still(work.group, found)
        return gates, {name: waiver.evidence for name, waiver in waived.items()}

    def closed(self, gates: tuple[Gate, ...], waived: Mapping[str, str]) -> tuple[Gate, ...]:
        """Those that refuse."""
        return refusing(gates, waived)

    def refusing(self, work: Work) -> tuple[Gate, ...]:
        """Both in one."""
        return self.closed(*self.gates(work))

    def _inspector(self, work: Work) -> Inspector:
        settings, chosen = self.opener.settings, work.settings
        subject = work.fence.subject
        known = {str(account) for account in subject.accounts or ()}
        return Inspector(
            pipeline=work.pipeline,
            group=work.group,
            mappings=self.opener.mappings(),
            capture=settings.pipeline.capture.kind,
            limits=Limits(
                lag=chosen.max_lag_seconds,
                pause=chosen.timeout_seconds,
                transaction=chosen.max_transaction_seconds,
            ),
            account=str(account_of(work.source)),
            known_writers=frozenset({*known, *(work.target_fence.roles or ())}),
            own_accounts=frozenset(str(account) for account in subject.exempt),
            sampled=() if self.sample is None else spans(self.sample, self._groups()),
            slot=slot_name(work.target.info.dbname, work.pipeline, work.group),
            reverse=lambda plans: self.reverse_problems(work, plans),
            representable=lambda plans: _unheld(work, plans),
            fence=lambda _: _fence_errors(work),
        )

    def _groups(self) -> dict[TableName, str]:
        mappings = self.opener.mappings().values()
        return {m.source: group_of(m.source, m.group) for m in mappings if m.target is not None}

    def proposed(self, work: Work) -> Proposal | None:
        """Tables that belong together with this group's by keys and by the sample of the log.

        None if these are just the group's, or nobody has looked.
        """
        if self.sample is None:
            return None
        plans = read_plans(work.source, self._left(work))
        proposals = propose([plan.table for plan in plans.values()], self.sample.together)
        mine = set(work.tables)
        for each in proposals:
            if mine & set(each.tables) and mine != set(each.tables):
                return each
        return None

    def _left(self, work: Work) -> dict[TableName, TableMapping]:
        """Mappings but those of groups that ended: their tables may have other names by now."""
        states = work.attempt.journal.states()
        return {
            name: mapping
            for name, mapping in self.opener.mappings().items()
            if states.get(group_of(mapping.source, mapping.group)) not in FOR_GOOD
        }

    def reverse_problems(self, work: Work, plans: list[TablePlan]) -> list[Problem]:
        """By the rights of the account that applies backwards, which is the pipeline's."""
        own = self.opener.settings.endpoint(self.opener.settings.pipeline.source)
        name, slot = work.way_back.slot()
        armed = slot_problems(work.attempt.state, work.group, name, slot)
        with closing(mysql.connect(own)) as source:
            return [*armed, *reverse_problems(source, work.target, plans, name)]


def _unheld(work: Work, plans: list[TablePlan]) -> list[Problem]:
    """Rows of the target that the source could not hold: they could not come back."""
    found = [(plan, count_unheld(work.target, plan)) for plan in plans]
    return [
        Problem(
            f"{scan.rows} rows of {plan.target} do not fit into {plan.source}:"
            f" {', '.join(f'{column} ({code})' for column, code in sorted(scan.by))}",
            "mend them in the source, or leave the column out of the mapping",
        )
        for plan, scan in found
        if scan.rows
    ]


def fence_problems(work: Work) -> list[tuple[str, FenceProblem]]:
    """What would keep the fences from holding, and whom they do not stop; each with its side."""
    here, there = work.fence.check(work.source), check_target(work.target, work.target_fence)
    return [*(("source", each) for each in here), *(("target", each) for each in there)]


def _fence_errors(work: Work) -> list[Problem]:
    found = [each for _, each in fence_problems(work) if each.severity == "error"]
    return [Problem(each.message, "; ".join(each.statements)) for each in found]


def quarantine_waived(work: Work) -> bool:
    """Whether just those rows that are in quarantine now may stay there; also if there are none."""
    about = work.target, work.pipeline, work.tables
    gate = kept_out(quarantined(*about), discarded(*about))
    found = {gate.name: gate.evidence_hash()}
    waived = Waivers(work.target, work.pipeline).still(work.group, found)
    return gate.passed is True or gate.name in waived


def _of_reverse(work: Work, facts: Facts, limits: Limits) -> tuple[Gate, ...]:
    """What only a reverse asks: the stream back is there, near, and brought everything."""
    told, state = work.way_back.told(), work.attempt.state
    status: Mapping[str, Any] = told or {}
    lost = int(status.get("unrepresentable", 0))
    errors = (
        [Problem(str(status["error"]), "dbbridge cutover status")] if status.get("error") else []
    )
    found = list(_around_the_fence(work))
    held = [Problem(f"{lost} rows of the target cannot be held by the source",
                    "mend or delete them in the target")] if lost else []  # fmt: skip
    return (
        of_problems("stream-errors", [*errors, *found], {"violations": len(found)}),
        lag_back(facts, limits, lag_told(status)),
        kept_up(facts),
        of_problems("reverse", [
            *slot_problems(state, work.group, *work.way_back.slot()),
            *lost_ways(work.target, work.way_back.slot()[0], work.plans),
        ], {}),
        of_problems("representable", held, {"rows": lost}),
    )  # fmt: skip


def _around_the_fence(work: Work) -> Iterator[Problem]:
    """Tables that somebody changed on the source since, and that are not proven equal again.

    The proofs were brought up to now before; the final check brings them to the fence.
    """
    proofs = Ledger(work.target, work.pipeline).proofs()
    for state in work.states():
        proof = proofs.get(state.source)
        if state.violations and (proof is None or proof.differences or proof.obstacle):
            rows = proof.differences if proof else 0
            yield Problem(
                f"{state.violations} changes of {state.source} on the source went around the"
                f" fence, and {rows or 'unknown'} rows differ",
                "make the source's rows as the target has them: update each to itself there,"
                " or delete in the source what the target has not",
            )
