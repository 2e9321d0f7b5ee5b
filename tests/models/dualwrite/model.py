"""The model as the tests run it: random logs, random orders, and who else is about."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.models.check import Model, Story
from tests.models.dualwrite import operators
from tests.models.dualwrite.chance import Dice, Steps
from tests.models.dualwrite.rules import Rules
from tests.models.dualwrite.run import run
from tests.models.dualwrite.source import Workload, random_log
from tests.models.dualwrite.world import World

Company = tuple[tuple[str, Callable[[World], Steps], float], ...]
"""Others, and how probable each is in a history."""

COMPANY: Company = (
    ("crash", operators.crash, 0.4),
    ("crash", operators.crash, 0.2),
    ("pruning", operators.prune, 0.5),
    ("mode", operators.change_mode, 0.25),
    ("halt", operators.halt, 0.15),
    ("switch", operators.switch, 0.15),
    ("forced switch", operators.force, 0.05),
)


def dual_writes(rules: Rules, workload: Workload, company: Company = COMPANY) -> Model:
    """What is committed in the end is what the source holds, whatever came between."""

    def model(rng: Random, story: Story) -> None:
        log = random_log(rng, workload)
        others = [(name, comes) for name, comes, chance in company if rng.random() < chance]
        run(World(log, rules, Dice(rng)), others, story)

    return model
