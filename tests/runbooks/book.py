"""A runbook's blocks: carried out one after the other, and compared with what they show.

A block is fenced as ``console``; its commands stand behind ``$``, what they print below them. It is
run by a shell in which `dbbridge` works in the project, `mysql` and `psql` as administrators on
its servers. Numbers, times, ids and names of machines are not compared, nor how much space there is
between words. With DBBRIDGE_RUNBOOKS=write what is printed goes into the file instead.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.endtoend.dual import app_name, fence_name
from tests.endtoend.project import CHECKOUT, Project

BASH = "/bin/bash"
FOLDER = CHECKOUT / "runbooks"
WRITE = os.environ.get("DBBRIDGE_RUNBOOKS") == "write"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HASH = re.compile(r"(?<=--plan )[0-9a-f]{12}\b")
_PLAN = re.compile(r"\bplan ([0-9a-f]{12})\b")
_MASKS = (
    (re.compile(r"\b(binlog|mariadb-bin|mysql-bin)\.\d+(:\d+)?"), "LOG"),
    (re.compile(r"@(localhost|127\.0\.0\.1):\d+"), "@HOST"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T][\d:.]+( ?UTC|\+00:00|Z)?"), "TIME"),
    (re.compile(r"\d\d:\d\d:\d\d( UTC)?"), "TIME"),
    (re.compile(r"\b\d+-\d+-\d+(,\d+-\d+-\d+)*\b"), "GTID"),
    (re.compile(r"(?<![A-Za-z])(?=[0-9a-f]*\d)[0-9a-f]{8,}(?![A-Za-z])"), "ID"),
    (re.compile(r"\b\d[\d.,:/-]*( ?[kMGT]?B\b)?"), "N"),
    (re.compile(r", lag N s|(N \w+ )+ago|^(position|sync:|comparing) .*$", re.MULTILINE), ""),
    (re.compile(r"[ \t]+"), " "),
)

_OTHERS = re.compile(r"^(writers) .*")
"""Who else writes on the tests' servers, which others use as well."""


def masked(text: str) -> list[str]:
    """The lines without what differs from run to run, and from server to server."""
    for pattern, word in _MASKS:
        text = pattern.sub(word, text)
    lines = [_OTHERS.sub(r"\1", line).strip() for line in text.splitlines()]
    return [line for line in lines if line and "writes-everywhere" not in line]


@dataclass
class Book:
    """One runbook, carried out in a project from its first block to its last.

    `waits` are called behind the commands that have these words in them, for what becomes of them
    later: whoever reads takes more time than the next command of a block.
    """

    project: Project
    name: str
    waits: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    done: int = 0
    text: str = field(init=False)

    def __post_init__(self) -> None:
        self.text = self.path.read_text()

    @property
    def path(self) -> Path:
        """The file."""
        return FOLDER / f"{self.name}.md"

    def block(self) -> None:
        """The next block; fails where it prints something else than it shows."""
        found = list(_BLOCK.finditer(self.text))
        assert self.done < len(found), f"{self.path.name} has {len(found)} blocks only"
        match = found[self.done]
        self.done += 1
        shown, printed = match[1], "".join(map(self._run, _commands(match[1])))
        if WRITE:
            self.text = self.text[: match.start(1)] + printed + self.text[match.end(1) :]
            self.path.write_text(self.text)
            return
        assert masked(printed) == masked(shown), f"{self.path.name}:\n{printed}"

    def end(self) -> None:
        """Fails if there are blocks that were not carried out."""
        assert self.done == len(_BLOCK.findall(self.text)), self.path.name

    def _run(self, command: str) -> str:
        """The command and what it prints, with the names that the runbooks use."""
        plan = _PLAN.findall(self._last)
        if plan:
            command = _HASH.sub(plan[-1], command)
        done = subprocess.run(
            [BASH, "-c", self._ours(command)],
            cwd=self.project.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        printed = self._theirs(done.stdout)
        self._last = done.stdout or self._last
        for words, wait in self.waits.items():
            if words in command:
                wait()
        end = "" if not printed or printed.endswith("\n") else "\n"
        return f"$ {command}\n{printed}{end}"

    _last: str = ""

    def _ours(self, command: str) -> str:
        # A busy machine may need more than that until it comes to who is in the way.
        command = re.sub(r"--timeout 3\b", "--timeout 10", command)
        return re.sub(r"\bshop\b", self.project.source.name, command)

    def _theirs(self, text: str) -> str:
        me = f"{getpass.getuser()}@{platform.node()}"
        names = {
            app_name(self.project): "app",
            fence_name(self.project): "fence",
            self.project.accounts.name: "bridge",
            self.project.source.name: "shop",
            self.project.target.name: "shop",
            me: "ada@ops1",
        }
        name = self.project.source.name
        pad = " " * (len(name) - len("shop"))  # so that columns stand below each other
        text = re.sub(rf"{name}(\.\w+)(?=  )", rf"shop\1{pad}", text)
        for ours, theirs in names.items():
            text = text.replace(ours, theirs)
        return "\n".join(line.rstrip() for line in text.split("\n"))

    def _environment(self) -> dict[str, str]:
        folder = self.project.folder / "bin"
        if not folder.exists():
            folder.mkdir()
            python = f'PYTHONPATH="{CHECKOUT}" exec "{sys.executable}" -m'
            client = f"{python} tests.runbooks.client"
            for name, line in {
                "dbbridge": f"{python} bridge.cli.start",
                "mysql": f"{client} mysql '{self.project.source.url}'",
                "psql": f"{client} psql '{self.project.target.url}'",
            }.items():
                (folder / name).write_text(f'#!/bin/sh\n{line} "$@"\n')
                (folder / name).chmod(0o755)
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("BRIDGE_")}
        return {**kept, **self.project.accounts.environment, "PATH": path, "TZ": "UTC"}


def _commands(block: str) -> list[str]:
    """Behind ``$``, with the lines that a backslash carries on."""
    joined = block.replace("\\\n", "\\\0")
    return [
        line.removeprefix("$ ").replace("\\\0", "\\\n")
        for line in joined.splitlines()
        if line.startswith("$ ")
    ]
