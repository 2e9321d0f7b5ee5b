"""The operator's commands: what they are told, how long they may take, and what is left of them."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from bridge.config.models import HookSettings
from bridge.cutover.fences.hooks import TAIL, HookFailed, run_hook
from bridge.errors import ConfigError


def script(folder: Path, text: str) -> str:
    path = folder / "a hook.py"
    path.write_text(text)
    return f"{sys.executable} '{path}' one 'two three'"


def test_it_knows_what_it_is_about(tmp_path: Path) -> None:
    command = script(
        tmp_path,
        "import os, sys\n"
        "print(sys.argv[1:], *(os.environ['DBBRIDGE_' + n] for n in ('EVENT','GROUP','PIPELINE')))",
    )
    result = run_hook(HookSettings(after_flip=command), "after_flip", "orders", "shop")
    assert result is not None and result.ok
    assert result.output == "['one', 'two three'] after_flip orders shop\n"
    assert run_hook(HookSettings(after_flip=command), "on_abort", "orders", "shop") is None


def test_its_failure_calls_off_only_what_has_not_begun(tmp_path: Path) -> None:
    command = script(tmp_path, f"print('x' * {TAIL * 2}); print('no'); raise SystemExit(3)")
    hooks = HookSettings(before_fence=command, after_flip=command, on_abort="/no/such/program")
    with pytest.raises(HookFailed, match="ended with 3"):
        run_hook(hooks, "before_fence", "g", "p")
    told = run_hook(hooks, "after_flip", "g", "p")
    assert told is not None and (told.ok, told.code) == (False, 3)
    assert told.output.endswith("xx\nno\n") and len(told.output) == TAIL
    missing = run_hook(hooks, "on_abort", "g", "p")
    assert missing is not None and not missing.ok and "/no/such/program" in missing.output
    with pytest.raises(ConfigError, match="before_fence"):
        run_hook(HookSettings(before_fence="echo 'x"), "before_fence", "g", "p")


def test_when_its_time_is_over_it_is_ended_with_its_children(tmp_path: Path) -> None:
    command = script(
        tmp_path,
        "import subprocess, sys, time, signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)",
    )
    began = time.monotonic()
    result = run_hook(HookSettings(on_abort=command, seconds=5), "on_abort", "g", "p")
    assert time.monotonic() - began < 40
    assert result is not None and not result.ok and "in time" in result.said
    child = int(result.output)
    deadline = time.monotonic() + 60
    while _lives(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
