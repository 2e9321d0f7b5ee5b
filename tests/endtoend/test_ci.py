"""The example for CI does what it says: docs/ci/verify.sh against real servers, and its jobs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.endtoend.project import CHECKOUT, Project, Result

EXAMPLES = CHECKOUT / "docs" / "ci"
REPORTS = ("differences.ndjson", "verify.html", "verify.md", "verify.xml")
SECRET = "4111-1111-1111-1111"
OTHER = "4222-2222-2222-2222"


def verify_sh(project: Project, *words: str, **environment: str) -> Result:
    """The script as a build runs it, with `dbbridge` on the PATH."""
    folder = project.folder / "bin"
    folder.mkdir(exist_ok=True)
    command = folder / "dbbridge"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bridge.cli.start "$@"\n')
    command.chmod(0o755)
    ours = {**project._environment(), "GITHUB_STEP_SUMMARY": str(project.folder / "summary.md")}
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", str(EXAMPLES / "verify.sh"), *words],
        cwd=project.folder,
        env={**ours, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def reports(project: Project) -> dict[str, str]:
    """What the script kept, by name."""
    folder = project.folder / "verify-reports"
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("source", ["mysql"], indirect=True)
def test_the_script_fails_a_build_for_good_reasons_only(project: Project) -> None:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE orders (id int PRIMARY KEY, note text, card varchar(30))")
        cursor.execute(f"INSERT INTO orders VALUES (1, 'one', '{SECRET}'), (2, 'two', NULL)")
        cursor.execute("CREATE TABLE carts (id int PRIMARY KEY)")
    project.init()
    path = project.mapping("orders")
    masked = r"\1{type: \2, mask: true}"
    path.write_text(re.sub(r"(?m)^(  card: +)([^#\n]+?)\s*(#.*)?$", masked, path.read_text()))
    project.apply_schema()
    daemon = project.sync()
    project.wait_streaming(daemon)

    done = verify_sh(project)
    assert done.code == 0, done
    assert tuple(reports(project)) == REPORTS
    assert reports(project)["differences.ndjson"] == ""
    assert (project.folder / "summary.md").read_text() == reports(project)["verify.md"]

    orders = f'"{project.source.name}".orders'
    project.ask(f"UPDATE {orders} SET note = 'uno', card = '{OTHER}' WHERE id = 1 RETURNING 1")
    done = verify_sh(project, "--level", "values", "--", "orders", "carts")
    assert done.code == 1, done
    assert "::error title=dbbridge verify::mismatch" in done.out
    _names_the_row(reports(project))
    _hides_the_card(project, done)

    # Nothing is known of a table that stands still, and nobody is told that it matches.
    project.run("tables", "pause", "carts")
    done = verify_sh(project, "carts")
    assert (done.code, "::error title=dbbridge verify::inconclusive" in done.out) == (3, True), done
    (case,) = ET.fromstring(reports(project)["verify.xml"]).iter("testcase")  # noqa: S314 (ours)
    assert [child.tag for child in case] == ["error"]
    done = verify_sh(project, "carts", INCONCLUSIVE="warn")
    assert (done.code, "::warning title=" in done.out) == (0, True), done

    # Where it does not run to its end, no older report is left to be taken for this one's.
    done = verify_sh(project, TARGET_PW="wrong")
    assert (done.code, "nothing is known" in done.out) == (4, True), done
    assert reports(project) == {}
    assert verify_sh(project, INCONCLUSIVE="ignore").code == 2
    daemon.stop()


def _names_the_row(found: dict[str, str]) -> None:
    """The mismatch is planted in one row of one table."""
    root = ET.fromstring(found["verify.xml"])  # noqa: S314 (our own output)
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert [child.tag for child in cases["carts"]] == []
    (failure,) = cases["orders"]
    assert failure.tag == "failure" and "1 row differs" in failure.get("message", "")
    assert "differs id=1: note: 'one' → 'uno'" in (failure.text or "")
    assert "! differs id=1\n- note: 'one'\n+ note: 'uno'\n" in found["verify.md"]
    assert "orders" in found["verify.md"] and "<mark>" in found["verify.html"]
    assert found["differences.ndjson"].count("\n") == 1


def _hides_the_card(project: Project, done: Result) -> None:
    """Whoever reads a report learns that the cards differ, and no more."""
    shown = project.run("verify", "--format", "json", code=1).out
    stored = str(project.ask("SELECT document FROM dbbridge.differences"))
    for text in (*reports(project).values(), done.out, done.err, stored, shown):
        assert SECRET not in text and OTHER not in text
    for text in (*reports(project).values(), done.out, stored, shown):
        assert "card" in text and "•••" in text


# -- the jobs --------------------------------------------------------------------------------


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text())


def test_the_workflow_calls_the_script_and_keeps_its_reports() -> None:
    workflow = read(EXAMPLES / "verify.yml")
    assert set(workflow) == {"name", "on", "permissions", "concurrency", "jobs"}
    (job,) = workflow["jobs"].values()
    assert workflow["permissions"] == {"contents": "read"}
    assert set(workflow["on"]) == {"schedule", "workflow_dispatch"}
    steps = {step.get("name", step.get("uses")): step for step in job["steps"]}
    verify, keep = steps["Verify"], steps["Keep the reports"]
    assert re.search(r"\bci/verify\.sh\b", verify["run"])
    assert keep["if"] == "always()"
    assert keep["with"]["path"].rstrip("/") == verify["env"]["REPORTS"]
    assert "continue-on-error" not in verify
    # What somebody types into a form reaches the shell as a variable, never as its text.
    assert not any("${{" in step.get("run", "") for step in job["steps"])
    named = set(re.findall(r"\$\{?([A-Z]+)", verify["run"]))
    assert named <= set(verify["env"])
    assert all(
        "secrets." in value for name, value in verify["env"].items() if name.endswith("_PASSWORD")
    )


def test_the_job_for_gitlab_calls_the_script_and_keeps_its_reports() -> None:
    (job,) = read(EXAMPLES / "gitlab.yml").values()
    assert "sh ci/verify.sh" in job["script"]
    assert job["allow_failure"] == {"exit_codes": 3}
    script = (EXAMPLES / "verify.sh").read_text()
    folder = re.search(r"reports=\$\{REPORTS:-(.+)\}", script)
    assert folder is not None
    assert job["artifacts"]["paths"] == [f"{folder[1]}/"]
    assert job["artifacts"]["reports"]["junit"] == f"{folder[1]}/verify.xml"
