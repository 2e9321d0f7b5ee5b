"""The documents tell of everything there is: settings, refusals, files; and of nothing else."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import get_args

import pytest
from msgspec import NODEFAULT
from msgspec.structs import FieldInfo
from ruamel.yaml import YAML

from bridge import config
from bridge.config.checked import fields, shape
from bridge.config.models import File, Model
from bridge.report.files import writable
from bridge.report.formats import FORMATS, SUFFIXES
from bridge.report.verification import DifferenceKind, Verdict
from bridge.verify import certificate
from bridge.verify.subject import Level

DOCS = Path(__file__).resolve().parents[2] / "docs"
BASE = """
databases: {legacy: {url: "mysql://a@h/d"}, replica: {url: "mysql://a@h2/d"},
            main: {url: "postgresql://a@h/d"}}
pipeline: {source: legacy, target: main}
"""


def text(name: str) -> str:
    return (DOCS / name).read_text()


@dataclass(frozen=True)
class Row:
    """A line of a table in settings.md."""

    key: str
    default: str
    meaning: str
    example: str


def rows() -> list[Row]:
    lines = [line for line in text("settings.md").splitlines() if line.startswith("| `")]
    cells = [line.strip("| ").split(" | ") for line in lines]
    return [Row(each[0].strip("`"), *each[1:]) for each in cells]


def settings(model: type[Model] = File, place: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """All settings below a place, with their paths; NAME stands for a name of the user's."""
    for name, field in fields(model).items():
        holds, inner = shape(field.type)
        if isinstance(inner, type) and issubclass(inner, Model):
            named = "NAME." if holds == "named" else ""
            yield from settings(inner, f"{place}{name}.{named}")
        else:
            yield f"{place}{name}", field


def test_settings_are_all_documented_with_their_defaults() -> None:
    found = {row.key: row for row in rows()}
    known = dict(settings())
    assert set(found) == set(known)
    for path, field in known.items():
        default, ours = found[path].default, field.default
        if field.default_factory is not NODEFAULT:
            ours = field.default_factory()
        required = default.startswith("required") and not default.startswith("required with")
        assert required == field.required, path
        if default.startswith("required with"):
            assert ours == "", path
        elif not field.required and ours not in (None, ""):
            assert YAML(typ="safe").load(default.strip("`")) == ours, path
        elif not field.required:
            assert not re.fullmatch(r"`[^`]*`", default), path


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.key)
def test_the_examples_of_settings_are_accepted(row: Row, tmp_path: Path) -> None:
    document = YAML(typ="safe").load(BASE)
    names = row.key.replace("NAME", "main" if row.example.startswith("`post") else "legacy")
    *way, last = names.split(".")
    _complete(names, document["pipeline"])
    inner = document
    for name in way:
        inner = inner.setdefault(name, {})
    inner[last] = YAML(typ="safe").load(row.example.strip("`"))
    if way == ["proxy", "tokens"]:
        known = {"name": "shop", "token": "x", "allow": ["*:*"]}
        document["proxy"]["tokens"] = [known | inner]
    if names == "pipeline.heartbeat.seconds":
        inner["table"] = "bridge.heartbeat"
    path = tmp_path / "bridge.yaml"
    YAML(typ="safe").dump(document, path)
    config.load(path, {})


def _complete(name: str, pipeline: dict[str, dict[str, object]]) -> None:
    """Adds what a setting of Kafka cannot be without."""
    if not name.startswith("pipeline.capture.") or name.endswith(".kind"):
        return
    capture = pipeline.setdefault("capture", {})
    capture |= {"kind": "kafka", "brokers": "k", "topics": "t"}
    capture |= {"connect": "http://c", "connector": "c"}
    capture["tls"] = {"cert": "c.pem", "key": "k.pem"}
    capture["sasl"] = {"mechanism": "PLAIN", "user": "u"}


def test_the_settings_shown_as_a_whole_are_accepted(tmp_path: Path) -> None:
    example, kafka, proxy, cutover = re.findall(
        r"```yaml\n(.*?)```", text("settings.md"), re.DOTALL
    )
    path = tmp_path / "bridge.yaml"
    path.write_text(example)
    instead = re.sub(r"  heartbeat: .*\n", indent(kafka, "  "), example)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "main").write_text("s\n")
    variables = ("LEGACY_PASSWORD", "REDIS_PASSWORD", "CONNECT_PASSWORD", "KAFKA_PASSWORD")
    found = config.load(path, dict(zip(variables, "xycz", strict=True)))
    assert found.name == "shop"
    assert found.endpoint("main").password.reveal() == "s"
    assert found.broker().url() == "rediss://:y@queue:6379/0"
    path.write_text(
        f"{example.replace('replica:', 'writer:').replace(': replica', ': writer')}{proxy}"
    )
    found = config.load(path, {**found.environ, "SHOP_TOKEN": "s", "REPORTS_TOKEN": "r"})
    assert {name: token.reveal() for name, token in found.tokens().items()} == {
        "shop": "s",
        "reports": "r",
    }
    path.write_text(
        f"{example.replace('replica:', 'fence:').replace(': replica', ': fence')}{cutover}"
    )
    found = config.load(path, found.environ)
    assert found.cutover.of("billing").fence == "lock_account"
    assert (
        found.cutover.of("billing").max_lag_seconds == found.cutover.of("shop").max_lag_seconds == 5
    )
    path.write_text(instead)
    found = config.load(path, found.environ)
    kafka, connect = found.kafka(), found.connect()
    assert kafka.sasl and kafka.sasl.password.reveal() == "z"
    assert connect and (connect.user, connect.password.reveal()) == ("bridge", "c")
    assert found.celery.schedule.every == 6 * 3600


def test_what_verify_says_is_documented(tmp_path: Path) -> None:
    known = text("verify.md")
    first = {line.split(" | ")[0].strip("| `") for line in known.splitlines() if "|" in line}
    codes = set(re.findall(r'yield "([a-z-]+)"', inspect.getsource(certificate)))
    assert len(codes) > 10
    assert codes <= first
    assert {*get_args(Verdict), *get_args(DifferenceKind)} <= first
    assert all(f"`{level}`" in known for level in get_args(Level))
    assert set(SUFFIXES) <= first
    for known_format in FORMATS:
        assert re.search(rf"--format [a-z|]*\b{known_format}\b", known), known_format
    assert writable([tmp_path / "differences.ndjson", tmp_path / "verify.html"])


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target
    named = set(re.findall(r"`((?:benchmarks|bridge|docs|tests)/[\w./]+)`", path.read_text()))
    assert all((DOCS.parent / name).exists() for name in named), named
