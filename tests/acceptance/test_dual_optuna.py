"""Optuna's storage through the layer: a study of several workers, on both sides of the move."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import BaseModel
from optuna.trial import Trial, TrialState
from sqlalchemy import Enum
from sqlalchemy.orm import scoped_session

from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.session import dual_sessionmaker
from tests.endtoend.compare import assert_same
from tests.endtoend.dual import (
    drop_application,
    dual_write,
    grant_dual_writes,
    grant_on_target,
    move_to_target,
    source_url,
)
from tests.endtoend.project import Project

pytestmark = pytest.mark.parametrize("source", ["mysql"], indirect=True)
TRIALS, WORKERS = 24, 3


def objective(trial: Trial) -> float:
    x = trial.suggest_float("x", -5, 5)
    kind = trial.suggest_categorical("kind", ["plain", "Öl"])
    trial.set_user_attr("thread", threading.current_thread().name)
    trial.set_user_attr("kind", kind)
    for number in range(3):
        trial.report(x * x + 3 - number, number)
        if x > 0 and trial.should_prune():
            raise optuna.TrialPruned
    return x * x + (kind == "Öl")


def work(storage: RDBStorage, trials: int, seed: int) -> None:
    """What one worker of the study does."""
    study = optuna.load_study(
        study_name="study",
        storage=storage,
        sampler=optuna.samplers.RandomSampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2),
    )
    study.optimize(objective, n_trials=trials)


@pytest.fixture
def dual(project: Project) -> Iterator[DualWrite]:
    """Optuna's own schema, followed in provisional mode."""
    address = project.source.url.partition("://")[2]
    RDBStorage(f"mysql+pymysql://{address}").engine.dispose()
    project.begin()
    project.catch_up()
    grant_dual_writes(project)
    project.run("cutover", "mode", "provisional")
    made = dual_write(project)
    yield made
    made.close()
    made.source.dispose()
    made.target.dispose()
    drop_application(project)


@pytest.fixture
def text_enums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna's enums are texts in PostgreSQL, not types of its own."""
    for table in BaseModel.metadata.tables.values():
        for column in table.columns:
            if isinstance(column.type, Enum):
                monkeypatch.setattr(column.type, "native_enum", False)


@pytest.fixture
def storage(project: Project, dual: DualWrite, text_enums: None) -> Iterator[RDBStorage]:
    """Optuna's, with another maker of sessions."""
    url = source_url(project).render_as_string(hide_password=False)
    made = RDBStorage(url, skip_table_creation=True)
    make: Any = dual_sessionmaker(dual)
    made.scoped_session = scoped_session(make)
    own = made.engine
    yield made
    made.remove_session()
    own.dispose()


def seen(storage: RDBStorage) -> list[tuple[Any, ...]]:
    """All that Optuna reads of its trials."""
    trials = optuna.load_study(study_name="study", storage=storage).trials
    return [
        (t.number, t.state, t.values, t.params, t.user_attrs, t.intermediate_values) for t in trials
    ]


def test_a_study_goes_on_while_its_storage_moves(
    project: Project, dual: DualWrite, storage: RDBStorage
) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    daemon = project.sync()
    optuna.create_study(study_name="study", storage=storage)
    with ThreadPoolExecutor(WORKERS) as pool:
        for one in [pool.submit(work, storage, TRIALS // WORKERS, n) for n in range(WORKERS)]:
            one.result()
    counts = dict(dual.early.counts.by)
    assert counts.keys() <= {"applied", "applied-before", "not-carried", "busy", "unreachable"}
    assert counts["applied"] > TRIALS
    assert counts["not-carried"] == 2 * TRIALS  # ON DUPLICATE KEY UPDATE: attributes of users
    daemon.stop()
    project.catch_up()
    assert assert_same(project.source, project.target, tables=tables()) > 5 * TRIALS
    before = seen(storage)
    best = optuna.load_study(study_name="study", storage=storage).best_trial
    assert len(before) == TRIALS
    assert {TrialState.COMPLETE, TrialState.PRUNED} == {state for _, state, *_ in before}

    move_to_target(project)
    grant_on_target(project)
    dual.lookout.forget()
    storage.engine = dual.engine()  # by whose name it chooses its SQL
    assert storage.engine is dual.target
    again = RDBStorage.get_best_trial(storage, 1)
    assert (again.number, again.value) == (best.number, best.value)
    assert seen(storage) == before
    work(storage, 5, seed=5)
    after = seen(storage)
    assert after[:TRIALS] == before and len(after) == TRIALS + 5
    assert all(attributes.keys() == {"thread", "kind"} for *_, attributes, _ in after)
    assert dict(dual.early.counts.by) == counts
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        assert cursor.execute("SELECT * FROM trials") == TRIALS


def tables() -> list[str]:
    """Those of Optuna's models, and what it writes its version into."""
    return [*BaseModel.metadata.tables, "alembic_version"]
