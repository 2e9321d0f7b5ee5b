"""Projects for tests: a folder and accounts of the test's own between two fresh databases."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.endtoend.accounts import accounts
from tests.endtoend.grants import granted
from tests.endtoend.project import Project
from tests.fix_servers import SourceDatabase, TargetDatabase

NewProject = Callable[[SourceDatabase, TargetDatabase], Project]


@pytest.fixture
def new_project(tmp_path: Path) -> Iterator[NewProject]:
    """Makes projects, whose daemons and accounts end with the test."""
    made: list[Project] = []

    def make(source: SourceDatabase, target: TargetDatabase) -> Project:
        mine = accounts(source, target)
        folder = tmp_path / f"project-{len(made)}"
        folder.mkdir()
        mine.create()
        project = Project(folder, source, target, mine)
        made.append(project)
        granted(mine)
        return project

    try:
        yield make
    finally:
        for project in made:
            project.close()
            project.accounts.drop()


@pytest.fixture
def project(
    source_db: SourceDatabase, target_db: TargetDatabase, new_project: NewProject
) -> Project:
    """A project on each kind of source in turn."""
    return new_project(source_db, target_db)


@pytest.fixture
def seed() -> int:
    """Where randomness begins; printed, and taken from DBBRIDGE_SOAK_SEED if that is set."""
    number = int(os.environ.get("DBBRIDGE_SOAK_SEED") or secrets.randbelow(10**6))
    print(f"\nDBBRIDGE_SOAK_SEED={number}")
    return number
