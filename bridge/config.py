"""Settings: bridge.yaml, the overlay of an environment, and secrets that are resolved late.

`load` reads and checks the files without looking at any secret; `Settings.endpoint` resolves
``${NAME}`` and ``${file:PATH}`` when a connection is about to be made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bridge import yamlfile
from bridge.databases.broker import Broker, build_broker, split_broker
from bridge.databases.endpoint import (
    Endpoint,
    Tls,
    TlsMode,
    build_endpoint,
    nearest,
    split_url,
    tls_mode,
)
from bridge.errors import ConfigError
from bridge.yamlfile import Document, Place

ENVIRONMENT = "BRIDGE_ENVIRONMENT"
CONFIG = "BRIDGE_CONFIG"
DEFAULT_FILE = "bridge.yaml"

_EVERY = re.compile(r"([1-9][0-9]{0,4})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_CRONTAB = re.compile(r"([0-9*][0-9,/*-]* ){4}[0-9a-z*][0-9a-z,/*-]*")
_NAMING: tuple[tuple[str, str], ...] = (
    ("pipeline", "source"),
    ("pipeline", "target"),
    ("pipeline", "copy_from"),
    ("verify", "source"),
    ("verify", "target"),
    ("verify", "replica"),
)
"""Settings that name a database; the first two have to."""
_PLACEHOLDER = re.compile(r"\$\{(file:)?([^{}]*)\}")
_SHIELD = "\x00{}\x00"
_SHIELDED = re.compile("\x00(\\d+)\x00")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PoolSettings(_Model):
    """Connections that an application keeps open to one database."""

    min: int = Field(default=1, ge=0, le=1000)
    max: int = Field(default=8, ge=1, le=1000)
    idle_seconds: float = Field(default=300, gt=0)


class TlsSettings(_Model):
    """Encryption; what is not set comes from the URL's options."""

    mode: TlsMode | None = None
    ca: str = ""
    cert: str = ""
    key: str = ""

    @field_validator("mode", mode="before")
    @classmethod
    def _any_usual_word(cls, value: object) -> object:
        try:
            return tls_mode(value) if isinstance(value, str) else value
        except ConfigError as error:
            raise ValueError(f"{error.message}: {error.hint}") from error


class DatabaseSettings(_Model):
    """One named database."""

    url: str
    pool: PoolSettings = PoolSettings()
    tls: TlsSettings = TlsSettings()

    def __repr__(self) -> str:
        return f"DatabaseSettings({masked_url(self.url)!r})"

    __str__ = __repr__


class CaptureSettings(_Model):
    """How changes are captured."""

    kind: Literal["binlog"] = "binlog"


class HeartbeatSettings(_Model):
    """A small table in the source that the daemon may write to, so that it can tell the lag."""

    table: str = Field(pattern=r"^[^.]+\.[^.]+$")
    seconds: float = Field(default=1.0, ge=0.1, le=3600)


class PipelineSettings(_Model):
    """What goes from where to where. `name` is '' until it is known to be the source database's."""

    name: str = Field(default="", max_length=63)
    source: str
    copy_from: str = ""
    target: str
    mappings: str = "mappings/"
    capture: CaptureSettings = CaptureSettings()
    heartbeat: HeartbeatSettings | None = None


class VerifySettings(_Model):
    """How `verify` reads: over which databases, and what makes it wait.

    `source`, `target`: replicas that sweeps read instead of the pipeline's databases.
    `threads_running`: sweeps wait while more statements run on a server that they read.
    `replica`: a database whose replication must not be more than `replica_lag` seconds behind.
    `statement_seconds`: the longest that one statement of a sweep may take.
    """

    source: str = ""
    target: str = ""
    threads_running: int | None = Field(default=None, ge=1, le=100_000)
    replica: str = ""
    replica_lag: float = Field(default=10.0, ge=1, le=86_400)
    statement_seconds: float | None = Field(default=None, ge=0.1, le=3600)


class ScheduleSettings(_Model):
    """What `dbbridge worker --beat` starts by itself.

    `verify`: ``6h`` (also ``90m``, ``2d``), or five fields as in a crontab, in UTC; '' never.
    `follow`: seconds between two looks at what the stream has changed.
    """

    verify: str = ""
    level: Literal["counts", "checksums", "values"] = "values"
    certify: bool = False
    follow: float = Field(default=30.0, ge=1, le=3600)

    @field_validator("verify")
    @classmethod
    def _known_form(cls, value: str) -> str:
        if value and not (_EVERY.fullmatch(value) or _CRONTAB.fullmatch(value)):
            raise ValueError("it is like 6h, 90m or 2d, or a crontab's five fields: 0 3 * * 0")
        return value

    @property
    def every(self) -> float | None:
        """Seconds between two verifications; None where `verify` is a crontab's, or ''."""
        match = _EVERY.fullmatch(self.verify)
        return int(match[1]) * _UNITS[match[2]] if match else None


class CelerySettings(_Model):
    """How verification is spread over workers. `broker` '' where it is not.

    `part_rows`: a table with a key that begins with an integer is cut in parts of about so many
    rows; smaller ones spread better and cost more.
    """

    broker: str = ""
    tls: TlsSettings = TlsSettings()
    part_rows: int = Field(default=500_000, ge=100, le=1_000_000_000)
    schedule: ScheduleSettings = ScheduleSettings()

    def __repr__(self) -> str:
        return f"CelerySettings({masked_url(self.broker)!r})"

    __str__ = __repr__


class _File(_Model):
    databases: dict[str, DatabaseSettings]
    pipeline: PipelineSettings
    verify: VerifySettings = VerifySettings()
    celery: CelerySettings = CelerySettings()


@dataclass(frozen=True)
class Setting:
    """One resolved setting for `config show`: where it comes from, its value masked."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True)
class Settings:
    """The checked settings. `origins` tells file and line of each one that a file gives."""

    path: Path
    databases: Mapping[str, DatabaseSettings]
    pipeline: PipelineSettings
    verify: VerifySettings
    celery: CelerySettings
    origins: Mapping[Place, str]
    environ: Mapping[str, str]

    @property
    def name(self) -> str:
        """The pipeline's name; it holds the lease."""
        return self.pipeline.name or self._database_name(self.pipeline.source)

    @property
    def mappings(self) -> Path:
        """The directory of the mapping files."""
        return self.path.parent / self.pipeline.mappings

    def endpoint(self, name: str, *, secrets: bool = True) -> Endpoint:
        """Where a named database is. `secrets` False leaves the password out, unresolved.

        Raises ConfigError.
        """
        database = self.databases[name]
        where = self.origins.get(("databases", name, "url"), str(self.path))
        endpoint = resolve_url(database.url, self.environ, where, self.path.parent, secrets=secrets)
        tls = database.tls
        mode: TlsMode = tls.mode or ("verify" if tls.ca else endpoint.tls.mode)
        return replace(endpoint, tls=replace(endpoint.tls, mode=mode, **self._files(tls)))

    def broker(self) -> Broker:
        """Where Celery's Redis is, secrets resolved. Raises ConfigError."""
        place: Place = ("celery", "broker")
        if not self.celery.broker:
            raise ConfigError(
                f"{self.path} names no broker for Celery",
                "add celery: {broker: redis://host:6379/0}; verify without --via needs none",
            )
        tls = self.celery.tls
        ours = Tls(tls.mode or ("verify" if tls.ca else "preferred"), **self._files(tls))
        return resolve_broker(
            self.celery.broker,
            self.environ,
            self.origins.get(place, str(self.path)),
            self.path.parent,
            ours,
        )

    def _files(self, tls: TlsSettings) -> dict[str, str]:
        files = {"ca": tls.ca, "cert": tls.cert, "key": tls.key}
        return {key: str(self.path.parent / value) for key, value in files.items() if value}

    def listed(self) -> Iterator[Setting]:
        """Every setting with its origin; passwords masked, placeholders as they are written."""
        yield from self._listed(("databases",), self.databases)
        yield from self._listed(("pipeline",), self.pipeline)
        yield from self._listed(("verify",), self.verify)
        yield from self._listed(("celery",), self.celery)

    def _listed(self, place: Place, value: Any) -> Iterator[Setting]:
        if isinstance(value, BaseModel):
            value = {name: getattr(value, name) for name in type(value).model_fields}
        if isinstance(value, Mapping):
            for name, item in value.items():
                yield from self._listed((*place, name), item)
            return
        origin = self.origins.get(place, "default")
        if place == ("pipeline", "name") and not value:
            value, origin = self.name, "default: the source database"
        text = masked_url(value) if place[-1] in ("url", "broker") else _shown(value)
        yield Setting(".".join(map(str, place)), text, origin)

    def _database_name(self, name: str) -> str:
        return self.endpoint(name, secrets=False).database


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Reads `path` and its overlay ``bridge.<BRIDGE_ENVIRONMENT>.yaml``. Raises ConfigError.

    No placeholder is resolved here, so commands that need no server need no secrets.
    """
    if not path.is_file():
        raise ConfigError(
            f"there is no {path}",
            "run `dbbridge init --source URL --target URL`, or name the file with -c",
        )
    documents = [yamlfile.read(path)]
    environment = environ.get(ENVIRONMENT, "")
    if environment:
        overlay = path.with_name(f"{path.stem}.{environment}{path.suffix}")
        if not overlay.is_file():
            raise ConfigError(
                f"{ENVIRONMENT} is {environment}, but there is no {overlay}",
                f"create it (it may be empty), or unset {ENVIRONMENT}",
            )
        documents.append(yamlfile.read(overlay))
    origins: dict[Place, str] = {}
    data: Any = {}
    for document in documents:
        _refuse_unknown(document)
        data = _overlaid(data, document.data or {}, (), document, origins)
    try:
        file = _File.model_validate(data, strict=False)
    except ValidationError as error:
        raise _config_error(error, origins, path) from error
    settings = Settings(
        path, file.databases, file.pipeline, file.verify, file.celery, origins, environ
    )
    _check_names(settings)
    return settings


def resolve(text: str, environ: Mapping[str, str], where: str, base: Path) -> str:
    """Replaces ``${NAME}`` and ``${file:PATH}``. Raises ConfigError naming the variable or file."""

    def value(match: re.Match[str]) -> str:
        name = match[2]
        if match[1]:
            return _secret_file(base / name, where)
        if name not in environ:
            close = nearest(name, tuple(environ))
            raise ConfigError(
                f"{where}: the variable {name} is not set",
                f"export {name}=…, or put the value into a file and write ${{file:PATH}}{close}",
            )
        return environ[name]

    return _PLACEHOLDER.sub(value, text)


def resolve_url(
    url: str, environ: Mapping[str, str], where: str, base: Path, *, secrets: bool = True
) -> Endpoint:
    """An endpoint from a URL with placeholders; without its password if `secrets` is False.

    What a placeholder gives is taken as it is, so that a password needs no percent-encoding; a URL
    that is one placeholder as a whole is read after it is resolved. Raises ConfigError.
    """

    def split(text: str) -> dict[str, str]:
        return split_url(text) | ({} if secrets else {"password": ""})

    with _at(where):
        return build_endpoint(_resolved_parts(url, split, environ, where, base))


def resolve_broker(
    url: str, environ: Mapping[str, str], where: str, base: Path, tls: Tls
) -> Broker:
    """A broker from a URL with placeholders, as `resolve_url` reads a database's."""
    with _at(where):
        return build_broker(_resolved_parts(url, split_broker, environ, where, base), tls)


def _resolved_parts(
    url: str,
    split: Callable[[str], dict[str, str]],
    environ: Mapping[str, str],
    where: str,
    base: Path,
) -> dict[str, str]:
    if _PLACEHOLDER.fullmatch(url.strip()):
        url = resolve(url.strip(), environ, where, base)
    shielded, kept = _shield(url)

    def open_up(text: str) -> str:
        plain = _SHIELDED.split(unquote(text))
        plain[1::2] = [resolve(kept[int(i)], environ, where, base) for i in plain[1::2]]
        return "".join(plain)

    return {name: open_up(part) for name, part in split(shielded).items()}


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Errors say where the setting stands."""
    try:
        yield
    except ConfigError as error:
        at = "" if error.message.startswith(where) else f"{where}: "
        raise ConfigError(f"{at}{error.message}", error.hint) from None


def masked_url(url: str) -> str:
    """The URL with its password as ***, unless it is a placeholder."""
    shielded, kept = _shield(url)
    head, at, tail = shielded.rpartition("@")
    scheme, separator, login = head.partition("://")
    user, colon, password = login.partition(":")
    if at and colon and not _SHIELDED.fullmatch(password):
        shielded = f"{scheme}{separator}{user}:***@{tail}"
    return _SHIELDED.sub(lambda match: kept[int(match[1])], shielded)


def _shield(url: str) -> tuple[str, list[str]]:
    """Takes placeholders out of a URL, since their text may hold characters that split it."""
    kept: list[str] = []

    def take(match: re.Match[str]) -> str:
        kept.append(match[0])
        return _SHIELD.format(len(kept) - 1)

    return _PLACEHOLDER.sub(take, url), kept


def _secret_file(path: Path, where: str) -> str:
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError(
            f"{where}: the file {path} cannot be read: {reason}", "check its path and rights"
        ) from error


def _overlaid(
    below: Any, above: Any, place: Place, document: Document, origins: dict[Place, str]
) -> Any:
    origins[place] = document.at(place)
    if not isinstance(above, dict):
        return above
    merged = dict(below) if isinstance(below, dict) else {}
    for key, value in above.items():
        merged[key] = _overlaid(merged.get(key), value, (*place, key), document, origins)
    return merged


def _refuse_unknown(document: Document) -> None:
    """An unknown key, reported with its own file and line and the nearest known one."""
    if document.data is None:
        return
    if not isinstance(document.data, dict):
        raise ConfigError(f"{document.path}:1: this is no mapping", "begin with `databases:`")
    _walk(_File, document.data, (), document)


def _walk(model: type[BaseModel], data: dict[str, Any], place: Place, document: Document) -> None:
    for key, value in data.items():
        here = (*place, key)
        if key not in model.model_fields:
            known = tuple(model.model_fields)
            raise ConfigError(
                f"{document.at(here)}: unknown key “{key}”",
                f"known here: {', '.join(known)}{nearest(key, known)}",
            )
        inner = model.model_fields[key].annotation
        if isinstance(value, dict) and key == "databases" and not place:
            for name, database in value.items():
                if isinstance(database, dict):
                    _walk(DatabaseSettings, database, (*here, name), document)
        elif isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, BaseModel):
            _walk(inner, value, here, document)


def _config_error(error: ValidationError, origins: Mapping[Place, str], path: Path) -> ConfigError:
    first = error.errors(include_url=False, include_input=False)[0]
    place: Place = first["loc"]
    name = ".".join(map(str, place))
    if first["type"] == "missing":
        return ConfigError(f"{_origin(place, origins, path)}: “{name}” is missing", "add it")
    message = first["msg"].removeprefix("Value error, ")
    return ConfigError(f"{_origin(place, origins, path)}: {name}: {message}", "correct the value")


def _origin(place: Place, origins: Mapping[Place, str], path: Path) -> str:
    while place and place not in origins:
        place = place[:-1]
    return origins.get(place, str(path))


def _check_names(settings: Settings) -> None:
    known = tuple(settings.databases)
    for place in _NAMING:
        name = getattr(getattr(settings, place[0]), place[1])
        if (name or place in _NAMING[:2]) and name not in known:
            raise ConfigError(
                f"{settings.origins[place]}: there is no database “{name}”",
                f"known under databases: {', '.join(known)}{nearest(name, known)}",
            )


def _shown(value: object) -> str:
    return "" if value is None else str(value)
