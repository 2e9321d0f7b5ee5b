"""``dbbridge check --for cutover``: what a switch of each group will need of both servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from bridge.cli.context import Context
    from bridge.cutover.gates.base import Problem


def check_cutover(context: Context) -> None:
    """Prints who could go around the fences, what the way back lacks, and the exact statements.

    Exits with 1 if there are errors.
    """
    from bridge.cli.cutover import groups_of

    found = [each for group in groups_of(context, None) for each in _problems(context, group)]
    out = context.out
    out.json({"ok": not _errors(found), "findings": found})
    columns = ("severity", "code", "group", "side", "message")
    if found:
        headers = ("severity", "code", "group", "side", "finding")
        out.table(headers, [tuple(each[name] for name in columns) for each in found])
        out.line()
    for side in ("source", "target"):
        lines = dict.fromkeys(
            line for each in found if each["side"] == side for line in each["statements"]
        )
        if lines:
            out.line(f"run on the {side}, as an administrator:")
            for line in lines:
                out.line(f"  {line}")
    errors = len(_errors(found))
    out.line(f"{errors} errors, {len(found) - errors} warnings")
    if errors:
        out.next(context.command("check --for cutover"))
        raise typer.Exit(1)
    out.next(context.command("cutover plan"))


def _problems(context: Context, group: str) -> list[dict[str, Any]]:
    from bridge.cutover.gates.looking import Looker, fence_problems
    from bridge.cutover.opening import Opener

    opener = Opener(context.settings, group)
    with opener.look() as work:
        found = [
            {"group": group, "side": side, **each.document()} for side, each in fence_problems(work)
        ]
        ways = Looker(opener, "switch").reverse_problems(work, list(work.plans))
        found += [_of_way_back(group, problem) for problem in ways]
    return found


def _of_way_back(group: str, problem: Problem) -> dict[str, Any]:
    return {
        "group": group,
        "side": "way back",
        "code": "way-back",
        "severity": "error",
        "message": f"{problem.text}: {problem.command}",
        "statements": [],
    }


def _errors(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in found if each["severity"] == "error"]
