"""An image without an engine: the Dockerfile's own steps, carried out in a private root.

What the base image would have comes from this machine: its /usr, and the Python that runs the tests
as /usr/local, both under an overlay, so that steps may write there. Needs root, for mounts and for
the image's user.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
DOCKERFILE = CHECKOUT / "compose" / "Dockerfile"
PREFIX = Path(sys.base_prefix)
STEP_SECONDS = 240.0
_FOLDERS = ("dev", "etc/ssl", "opt", "proc", "project", "root", "run/secrets", "tmp", "usr", "var")
_FILES = ("etc/ld.so.cache", "etc/nsswitch.conf", "etc/resolv.conf", "etc/pip.conf", "etc/hosts")
_DEVICES = ("null", "zero", "urandom", "random")
Done = subprocess.CompletedProcess[str]
_CACHE = re.compile(r"--mount=type=cache,target=(\S+)\s+")


@dataclass(frozen=True)
class Step:
    """One instruction: its name in capitals, and what follows as one line."""

    name: str
    value: str


@dataclass
class Stage:
    """One FROM and what follows; `environment`, `folder` and `user` are as after the last step."""

    name: str
    base: str
    steps: list[Step] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"


def parse(text: str) -> tuple[list[Step], list[Stage]]:
    """What stands before the first FROM, and the stages."""
    before: list[Step] = []
    stages: list[Stage] = []
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, value = line.split(maxsplit=1)
        if name == "FROM":
            base, _, stage = value.partition(" AS ")
            stages.append(Stage(stage, base))
        else:
            (stages[-1].steps if stages else before).append(Step(name, value))
    return before, stages


def lacking() -> str:
    """Why no image can be made here; '' if one can."""
    if os.geteuid() != 0:
        return "only root may mount, and become the image's user"
    if not (PREFIX / "bin" / "python").exists() or Path("/usr") == PREFIX:
        return f"{PREFIX} is not laid out as /usr/local of the image"
    missing = [
        name for name in ("unshare", "mount", "chroot", "setpriv", "cc") if not shutil.which(name)
    ]
    if missing:
        return f"there is no {' and no '.join(missing)}"
    tried = subprocess.run(_unshared(["true"]), capture_output=True, check=False)
    return "" if tried.returncode == 0 else "this kernel, or container, lets nobody unshare"


class Image:
    """What the steps of the Dockerfile made, below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stages: dict[str, Stage] = {}
        self.last = Stage("", "")
        for number, stage in enumerate(parse(DOCKERFILE.read_text())[1]):
            stage.name = stage.name or str(number)
            self._stages[stage.name] = self.last = stage
            self._begin(stage)
            for step in stage.steps:
                self._step(stage, step)

    @property
    def root(self) -> Path:
        """Of the last stage, without /usr."""
        return self._root(self.last)

    def command(
        self,
        words: Sequence[str],
        project: Path,
        secrets: Path,
        *,
        writable: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> list[str]:
        """What runs `words` as compose.yaml has it: root read-only, no rights, process 1."""
        root, uid, gid = self.root, *self.last.user.split(":")
        script = [
            f"mount --bind {root} {root}",
            *self._mounts(self.last, writable=False),
            f"mount --bind {'' if writable else '-o ro'} {project} {root}/project",
            f"mount --bind -o ro {secrets} {root}/run/secrets",
            f"mount -o remount,bind,ro {root}",
        ]
        rights = ("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
        as_user = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *rights]
        variables = {**self.last.environment, **(environment or {})}
        inside = ["env", "-i", *_pairs(variables), *as_user, "env", "-C", self.last.folder, *words]
        return _unshared([*script, f"exec chroot {root} {shlex.join(inside)}"])

    def run(
        self, words: Sequence[str], *where: Path, **how: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs `command` to its end."""
        return subprocess.run(
            self.command(words, *where, **how),
            capture_output=True,
            text=True,
            check=False,
            timeout=STEP_SECONDS,
        )

    def _root(self, stage: Stage) -> Path:
        return self._folder / stage.name / "root"

    def _begin(self, stage: Stage) -> None:
        """A root that has as much as a base image: folders, root's account, the name of nobody."""
        root = self._root(stage)
        for name in _FOLDERS:
            (root / name).mkdir(parents=True)
        for name in ("bin", "lib", "lib64", "sbin"):
            (root / name).symlink_to(f"usr/{name}")
        for name in _FILES:
            if Path("/", name).exists():
                shutil.copy(Path("/", name), root / name)
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\n")
        for name in _DEVICES:
            (root / "dev" / name).touch()
        (root / "dev/shm").mkdir()
        root.joinpath(*PREFIX.parts[1:]).mkdir(parents=True)
        for part in ("usr", "usr.work", "local", "local.work"):
            (root.parent / part).mkdir()
        stage.environment["PATH"] = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

    def _mounts(self, stage: Stage, *, writable: bool = True) -> Iterator[str]:
        """Shell commands that complete the stage's root; a finished one has all its layers below.

        A mount with an upper layer empties the work folder beside it, so of two that are begun at
        once one may find it gone: ENOENT, which mount tells as "special device overlay does not
        exist" (ovl_workdir_create in the kernel's fs/overlayfs/super.c).
        """
        root, layers = self._root(stage), self._root(stage).parent
        for lower, upper, at in (("/usr", "usr", "usr"), (PREFIX, "local", "usr/local")):
            own = f"{layers}/{upper}"
            folders = f"ro,lowerdir={own}:{lower}"
            if writable:
                folders = f"lowerdir={lower},upperdir={own},workdir={own}.work"
            yield f"mount -t overlay -o {folders} overlay {root}/{at}"
        # Python looks for its library where it was built.
        yield f"mount --bind -o ro {PREFIX} {root}{PREFIX}"
        yield f"mount --rbind -o ro /etc/ssl {root}/etc/ssl"
        yield f"mount -t proc proc {root}/proc"
        for name in _DEVICES:
            yield f"mount --bind /dev/{name} {root}/dev/{name}"
        for name in ("dev/shm", "tmp"):
            yield f"mount -t tmpfs -o mode=1777 tmpfs {root}/{name}"

    def _step(self, stage: Stage, step: Step) -> None:
        value = _filled(step.value, stage.environment)
        match step.name:
            case "RUN":
                self._run_step(stage, step.value)
            case "COPY":
                self._copy(stage, value.split())
            case "ENV":
                stage.environment |= dict(word.split("=", 1) for word in shlex.split(value))
            case "WORKDIR":
                stage.folder = value
                (self._root(stage) / value.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "USER":
                stage.user = value
            case "ARG" | "LABEL" | "STOPSIGNAL" | "ENTRYPOINT" | "CMD":
                pass
            case _:
                raise AssertionError(f"{step.name} is not known here")

    def _run_step(self, stage: Stage, command: str) -> None:
        """In the stage's root, with the settings that pip has on this machine."""
        root = self._root(stage)
        caches = []
        for target in _CACHE.findall(command):
            host, inside = _pip_cache(), root / target.lstrip("/")
            inside.mkdir(parents=True, exist_ok=True)
            caches.append(f"mount --bind {host} {inside}")
        own = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_CERT"))}
        variables = {**own, **stage.environment, "HOME": "/root"}
        words = ["sh", "-e", "-c", f"cd {stage.folder}; {_CACHE.sub('', command)}"]
        inside_words = shlex.join(["env", "-i", *_pairs(variables), *words])
        done = subprocess.run(
            _unshared([*self._mounts(stage), *caches, f"exec chroot {root} {inside_words}"]),
            capture_output=True,
            text=True,
            check=False,
            timeout=STEP_SECONDS,
        )
        assert done.returncode == 0, f"RUN {command}\n{done.stdout}\n{done.stderr}"

    def _copy(self, stage: Stage, words: list[str]) -> None:
        base = CHECKOUT
        if words[0].startswith("--from="):
            base = self._root(self._stages[words.pop(0).removeprefix("--from=")])
        *sources, target = words
        into = self._root(stage) / os.path.normpath(Path(stage.folder, target)).lstrip("/")
        assert "usr" not in into.relative_to(self._root(stage)).parts[:1]
        for source in sources:
            path = base / source.lstrip("/")
            if path.is_dir():
                ignored = (
                    shutil.ignore_patterns("__pycache__", "*.so") if base == CHECKOUT else None
                )
                shutil.copytree(path, into, symlinks=True, ignore=ignored, dirs_exist_ok=True)
            else:
                into.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, into)


def _unshared(script: Sequence[str]) -> list[str]:
    """A shell in namespaces of its own, which ends with us."""
    namespaces = ("--mount", "--pid", "--ipc", "--fork", "--kill-child", "--propagation=private")
    return [shutil.which("unshare") or "unshare", *namespaces, "sh", "-ec", "\n".join(script)]


def _pairs(variables: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items()]


def _filled(text: str, variables: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda match: variables.get(match[1], ""), text)


def _pip_cache() -> Path:
    said = subprocess.run(
        [sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=True
    )
    path = Path(said.stdout.strip())
    path.mkdir(parents=True, exist_ok=True)
    return path
