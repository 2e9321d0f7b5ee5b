"""An operator at a group: takes it, goes from state to state, and undoes what fails.

Whatever happens to him, the journal says what was begun: whoever comes next goes on from there, or
undoes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import psycopg
import pymysql

from bridge.cutover import backward, forward
from bridge.cutover.gates.base import Gate
from bridge.cutover.journal import Busy, Superseded
from bridge.cutover.points import passing
from bridge.cutover.transitions import TABLE, Event, State, advance
from bridge.cutover.wayback import Detail
from bridge.cutover.work import Work
from bridge.errors import BridgeError
from bridge.replicate.servers import meaning

STEPS: Mapping[State, Callable[[Work], Detail]] = {
    "arming": forward.arm,
    "disarming": forward.disarm,
    "fencing": forward.fence,
    "draining": forward.drain,
    "checking": forward.check,
    "sequencing": forward.sequence,
    "aborting": forward.undo,
    "flipping": forward.open_target,
    "reverse-fencing": backward.fence,
    "reverse-draining": backward.drain,
    "reverse-checking": backward.check,
    "reverse-sequencing": backward.sequence,
    "reverse-flipping": backward.open_source,
    "reverse-aborting": backward.undo,
    "completing": backward.complete,
}
"""What is done in each state that is not one of rest."""
TIMED = frozenset({"fencing", "draining", "checking", "sequencing"})
"""States in which the application waits, and that can be undone; those of a reverse alike."""
_OF_ONE_ATTEMPT = ("epoch", "mode", "reads")
_DRIVERS = (psycopg.Error, pymysql.Error, OSError)


class Refused(BridgeError):
    """Gates are closed; nothing was changed."""

    def __init__(self, gates: tuple[Gate, ...]) -> None:
        names = ", ".join(gate.name for gate in gates)
        first = gates[0]
        super().__init__(
            f"refused by {names}: {first.missing}", first.command or "dbbridge cutover plan"
        )
        self.gates = gates


@dataclass
class Operator:
    """Takes `work`'s group from state to state.

    `look` gives the gates that are closed; it is asked before writers are kept out. `told` hears of
    each state that is entered. `timeout`: seconds that writers may be kept out.
    """

    work: Work
    look: Callable[[Work], tuple[Gate, ...]]
    timeout: float
    plan: str = ""
    told: Callable[[State], None] = lambda _: None
    details: dict[str, Detail] = field(default_factory=dict)

    @property
    def pause_seconds(self) -> float | None:
        """How long writers were kept out; None if they were not, or by somebody else."""
        closed, opened = self.work.closed_at, self.work.opened_at
        return None if closed is None or opened is None else opened - closed

    def go(self, event: Event, until: State) -> None:
        """To where `event` leads: `until`, a state of rest. Goes on with what others began.

        Raises what stops it, and leaves that to `carry_out`.
        """
        attempt = self.work.attempt
        while attempt.state != until:
            if TABLE[attempt.state].resting:
                self._begin(event)
            else:
                self._do()

    def cancel(self) -> None:
        """Undoes what was begun, or what was made ready; raises IllegalTransition."""
        self.work.attempt.advance("cancel")
        self.settle()

    def _begin(self, event: Event) -> None:
        attempt = self.work.attempt
        after = advance(attempt.state, event)
        if after in ("fencing", "reverse-fencing"):
            self.work.checker.approach(back=after == "reverse-fencing")
        if after == "reverse-fencing":
            self.work.carry_answers()
        if after not in ("disarming", "completing"):
            closed = self.look(self.work)
            if closed:
                raise Refused(closed)
        fenced = after in ("fencing", "reverse-fencing")
        if fenced:
            self.work.checker.make_ready()
        if after == "reverse-fencing":
            self.work.carry_answers()  # those of meanwhile: the gates take their time
        attempt.advance(event, plan=self.plan, timeout=self.timeout if fenced else None)
        if fenced:
            self.work.with_deadline(self.timeout)
        self.told(attempt.state)
        passing(f"{attempt.state}.entered")

    def _do(self) -> None:
        """The step of the state, and into the next one."""
        work, state = self.work, self.work.attempt.state
        timed = state.removeprefix("reverse-") in TIMED
        if not timed:
            work.deadline = float("inf")
        elif work.deadline == float("inf"):  # somebody else began it
            work.with_deadline(self.timeout)
        detail = STEPS[state](work)
        passing(f"{state}.done")
        self._leave(detail)

    def _leave(self, detail: Detail) -> None:
        work, attempt = self.work, self.work.attempt
        before, after = attempt.state, advance(attempt.state, "done")
        self.details[before] = detail
        if after == "flipping":
            self.details[before] = forward.flip(work, detail)
        else:
            with work.target.transaction():
                if TABLE[after].resting:
                    attempt.forget(*_OF_ONE_ATTEMPT)
                if after == "armed":
                    attempt.forget("constraints")
                attempt.advance("done", detail)
        self.told(attempt.state)
        passing(f"{attempt.state}.entered")

    def settle(self) -> None:
        """To rest: what was begun is undone where that is possible, else brought to its end."""
        attempt = self.work.attempt
        while not TABLE[attempt.state].resting:
            if TABLE[attempt.state].undo is not None:
                attempt.advance("cancel")
            self.told(attempt.state)
            self._do()


SETTLE_SECONDS = 60.0
"""How long an operator tries to undo what he could not bring to its end."""
RETRY_SECONDS = 0.5


def carry_out(
    open_work: Callable[[], AbstractContextManager[Work]],
    act: Callable[[Work], None],
    settle: Callable[[Work], None],
) -> None:
    """Lets `act` have a group's work; what it leaves unfinished is undone, over new sessions.

    Raises what stopped it; if that could not be undone, its hint says so.
    """
    try:
        with open_work() as work:
            act(work)
    except (Busy, Superseded):
        raise
    except BaseException as error:
        known = meaning(error) if isinstance(error, Exception) else error
        left = _settled(open_work, settle, known)
        if left and isinstance(known, BridgeError):
            known.hint = f"{left}; {known.hint}" if known.hint else left
        raise known from error


def _settled(
    open_work: Callable[[], AbstractContextManager[Work]],
    settle: Callable[[Work], None],
    cause: BaseException,
) -> str:
    """Undoes what is under way; '' if that was done, else what remains to be done."""
    deadline = time.monotonic() + SETTLE_SECONDS
    text = cause.message if isinstance(cause, BridgeError) else str(cause) or repr(cause)
    while True:
        try:
            with open_work() as work:
                if not TABLE[work.attempt.state].resting:
                    work.attempt.record = work.attempt.journal.fail(work.attempt.record, text)
                    settle(work)
        except (Busy, Superseded) as error:
            return error.message
        except (BridgeError, *_DRIVERS) as error:
            if time.monotonic() > deadline:
                return f"it could not be undone ({error}): dbbridge cutover cancel"
            time.sleep(RETRY_SECONDS)
        else:
            return ""
