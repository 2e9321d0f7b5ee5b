"""A switch or a reverse on the command line: its plan, the agreement to it, the moment, the act."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from datetime import time as clocktime
from typing import TYPE_CHECKING, Any, Literal

import typer

from bridge.cli.agree import Agreement
from bridge.cli.context import Context
from bridge.errors import BridgeError, ConfigError
from bridge.names import group_option

if TYPE_CHECKING:
    from bridge.cutover.gates.base import Gate
    from bridge.cutover.opening import Opener
    from bridge.cutover.operator import Operator
    from bridge.cutover.plan import Planned
    from bridge.cutover.transitions import State
    from bridge.cutover.work import Work

Direction = Literal["switch", "reverse"]
WAIT_SECONDS = 0.5


def opener(context: Context, group: str | None) -> Opener:
    """Of the named group, or of the only one; raises ConfigError."""
    from bridge.cli.cutover import groups_of
    from bridge.cutover.opening import Opener

    names = groups_of(context, group)
    if len(names) != 1:
        raise ConfigError(
            f"there are {len(names)} groups, and each is switched by itself",
            f"say which: {group_option(names[0])} (known: {', '.join(names)})",
        )
    return Opener(context.settings, names[0])


class Move:
    """A switch or a reverse of one group."""

    def __init__(self, context: Context, group: str | None, direction: Direction) -> None:
        from bridge.cutover.gates.looking import Looker

        self.context = context
        self.direction = direction
        self.opener = opener(context, group)
        self.group = self.opener.group
        self.looker = Looker(self.opener, direction)
        self.seen: tuple[Gate, ...] = ()

    # -- looking -----------------------------------------------------------------------------

    def show_plan(self) -> None:
        """Prints gates, steps and the plan's hash; exits with 1 where a gate is closed."""
        from bridge.cutover.gates.looking import Looker
        from bridge.cutover.sampling import sample_log
        from bridge.databases import mysql

        source = self.context.source_endpoint
        sample = sample_log(lambda: mysql.connect(source))
        self.looker = Looker(self.opener, self.direction, sample)
        with self.opener.look() as work:
            document, closed = self._looked(work)
            proposed = self.looker.proposed(work)
        if proposed is not None:
            document["proposed_group"] = proposed.document()
            names = ", ".join(map(str, proposed.tables))
            self.context.out.line(f"written or tied together: {names}; they could be one group")
        self.context.out.json(document)
        if closed:
            raise typer.Exit(1)
        self.context.out.next(self._command(f"{self.direction} --plan {document['plan']}"))

    def _looked(self, work: Work) -> tuple[dict[str, Any], tuple[Gate, ...]]:
        """The plan and the gates, printed for people; as a document, and what refuses."""
        from bridge.cutover.plan import PLANS, plan_hash
        from bridge.cutover.predict import predict
        from bridge.cutover.transitions import TABLE

        out, state = self.context.out, work.attempt.state
        steps = PLANS[self.direction](work)
        number = plan_hash(work, steps)
        predicted = predict(work, self.direction)  # first: it brings the proofs up to now
        gates, waived = self.looker.gates(work)
        closed = self.looker.closed(gates, waived)
        out.line(f"group {self.group}: {state}, {TABLE[state].sentence}")
        out.table(("gate", "", "what is missing", "what to do"), [_row(g, waived) for g in gates])
        out.line()
        for step in steps:
            out.line(f"{step.state}: {step.what}")
            for statement in step.statements:
                out.line(f"    {statement};")
        out.line()
        out.line(f"writers are expected to wait for about {predicted:.2f} s")
        out.line(f"plan {number}" + (f", refused by {_names(closed)}" if closed else ""))
        document = {
            "group": self.group,
            "state": state,
            "plan": number,
            "steps": [step.document() for step in steps],
            "gates": [{**g.document(), "waived": g.name in waived} for g in gates],
            "refused_by": [gate.name for gate in closed],
            "predicted_pause_seconds": round(predicted, 3),
        }
        return document, closed

    # -- doing -------------------------------------------------------------------------------

    def carry_out(
        self, wanted: str | None, timeout: float | None, at: str | None, *, dry_run: bool
    ) -> None:
        """Moves authority at `at`, once somebody agrees to the plan (`wanted`: its hash)."""
        from bridge.cutover.plan import PLANS, plan_hash
        from bridge.cutover.transitions import TABLE, advance

        if dry_run:
            self.show_plan()
            return
        with self.opener.look() as work:
            if TABLE[work.attempt.state].resting:
                advance(work.attempt.state, self.direction)
            steps = PLANS[self.direction](work)
            number = plan_hash(work, steps)
            command = self._command(self.direction)
            Agreement(
                hash=number,
                plan=self._command("plan" + " --reverse" * (self.direction == "reverse")),
                apply=command,
                nobody=f"authority over {self.group} may move",
                question=f"{self.direction} {self.group} now?",
                show=lambda: show(self.context, steps),
            ).need(self.context.out, wanted)
        if at is not None:
            self._wait(_moment(at), number)
        self._go(number, timeout)

    def _go(self, number: str, timeout: float | None) -> None:
        from bridge.cli.signals import interrupting
        from bridge.cutover.operator import Operator, carry_out
        from bridge.cutover.plan import PLANS, plan_hash

        until: State = "target-primary" if self.direction == "switch" else "armed"
        done: list[Operator] = []

        def look(work: Work) -> tuple[Gate, ...]:
            self._same(plan_hash(work, PLANS[self.direction](work)), number)
            return self.looker.refusing(work)

        def operator(work: Work) -> Operator:
            seconds = timeout or work.settings.timeout_seconds
            return Operator(work, look, seconds, number, told=self._tell)

        def act(work: Work) -> None:
            mine = operator(work)
            done.append(mine)
            mine.go(self.direction, until)

        with interrupting():
            carry_out(self.opener, act, lambda work: operator(work).settle())
        self._report(done[0])

    def _same(self, found: str, wanted: str) -> None:
        if found != wanted:
            raise BridgeError(
                f"the plan is {found} now, not {wanted}",
                f"look at it again: {self._command('plan')}",
            )

    def _tell(self, state: State) -> None:
        self.context.out.line(f"{self.group}: {state}")

    def _report(self, done: Operator) -> None:
        work, out = done.work, self.context.out
        pause = done.pause_seconds
        document = {
            "group": self.group,
            "state": work.attempt.state,
            "plan": done.plan,
            "pause_seconds": None if pause is None else round(pause, 3),
            "steps": {state: dict(detail) for state, detail in done.details.items()},
            "hooks": [result.document() for result in work.hooks],
        }
        out.json(document)
        if pause is not None:
            out.line(f"writers waited for {pause:.2f} s")
        for result in work.hooks:
            out.line(result.said)
        after = "reverse" if self.direction == "switch" else "switch"
        out.next(self._command("status") + f"; the way back: {self._command(after)}")

    def _wait(self, moment: datetime, number: str) -> None:
        """Until then, if nobody calls it off."""
        from bridge.cutover.journal import Journal

        conn = self.context.target(autocommit=True)
        journal = Journal(conn, self.context.pipeline)
        journal.schedule(self.group, moment, number)
        self.context.out.line(
            f"{self.group} will be switched at {moment.isoformat(timespec='seconds')};"
            f" {self._command('cancel')} calls it off"
        )
        while datetime.now().astimezone() < moment:
            time.sleep(WAIT_SECONDS)
            announced = journal.read(self.group).schedule
            if announced is None or announced.at != moment:
                raise BridgeError("somebody called the switch off", self._command("status"))
        journal.unschedule(self.group)

    def _command(self, words: str) -> str:
        return self.context.command(f"cutover {words} {group_option(self.group)}")


def show(context: Context, steps: list[Planned]) -> None:
    """What will be done, for people."""
    for step in steps:
        context.out.line(f"{step.state}: {step.what}")


def _row(gate: Gate, waived: Any) -> tuple[str, str, str, str]:
    word = {True: "open", False: "closed", None: "unknown"}[gate.passed]
    if gate.passed is not True and gate.name in waived:
        word = "waived"
    return gate.name, word, gate.missing, gate.command


def _names(gates: tuple[Gate, ...]) -> str:
    return ", ".join(gate.name for gate in gates)


def _moment(text: str) -> datetime:
    """A time with or without a date, in the local zone unless it names one."""
    now = datetime.now().astimezone()
    try:
        if len(text) <= len("22:30:00") and ":" in text:
            clock = clocktime.fromisoformat(text)
            moment = datetime.combine(now.date(), clock).astimezone()
            return moment if moment > now else moment + timedelta(days=1)
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"“{text}” is no time", "write 2026-05-04T22:30, or 22:30") from error
    moment = moment if moment.tzinfo else moment.astimezone()
    if moment <= now:
        raise ConfigError(f"{moment.isoformat(timespec='seconds')} is over", "leave --at out")
    return moment
