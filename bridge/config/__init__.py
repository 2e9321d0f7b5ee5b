"""Settings: bridge.yaml, the overlay of an environment, and secrets that are resolved late.

`load` reads and checks the files without looking at any secret; `Settings.endpoint` resolves
``${NAME}`` and ``${file:PATH}`` when a connection is about to be made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge import yamlfile
from bridge.config.capture import check_capture, connect_endpoint, kafka_endpoint
from bridge.config.checked import WrongSetting, fields, read, shape
from bridge.config.models import (
    CelerySettings,
    CutoverSettings,
    DatabaseSettings,
    File,
    Model,
    PipelineSettings,
    ProxySettings,
    TlsSettings,
    VerifySettings,
)
from bridge.config.urls import masked, masked_url, resolve, resolve_broker, resolve_url
from bridge.databases.endpoint import Endpoint, Secret, Tls, TlsMode, nearest
from bridge.errors import ConfigError
from bridge.yamlfile import Document, Place

if TYPE_CHECKING:
    from bridge.databases.broker import Broker
    from bridge.databases.connect_url import ConnectEndpoint
    from bridge.databases.kafka import KafkaEndpoint

ENVIRONMENT = "BRIDGE_ENVIRONMENT"
CONFIG = "BRIDGE_CONFIG"
DEFAULT_FILE = "bridge.yaml"
_NAMING: tuple[tuple[str, str], ...] = (
    ("pipeline", "source"),
    ("pipeline", "target"),
    ("pipeline", "copy_from"),
    ("verify", "source"),
    ("verify", "target"),
    ("verify", "replica"),
    ("proxy", "source"),
    ("proxy", "target"),
    ("cutover", "source"),
    ("cutover", "target"),
)
"""Settings that name a database; the first two have to."""
_SECRETS = ("password", "secret", "jaas", "token")
"""What names of secret settings hold, those of Connect's properties among them."""


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
    proxy: ProxySettings
    cutover: CutoverSettings
    origins: Mapping[Place, str]
    environ: Mapping[str, str] = field(repr=False)

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
        # What a URL asks for by rediss:// is checked, unless the settings say else.
        encrypted = self.celery.broker.lower().startswith("rediss://")
        ours = Tls(
            tls.mode or ("verify" if tls.ca or encrypted else "preferred"), **self._files(tls)
        )
        return resolve_broker(
            self.celery.broker,
            self.environ,
            self.origins.get(place, str(self.path)),
            self.path.parent,
            ours,
        )

    @property
    def group(self) -> str:
        """The group of Kafka's consumers."""
        return self.pipeline.capture.group or f"dbbridge-{self.name}"

    def kafka(self) -> KafkaEndpoint:
        """Where Kafka is, secrets resolved. Raises ConfigError, also if nothing comes from it."""
        return kafka_endpoint(self.pipeline.capture, self.environ, self.origins, self.path)

    def connect(self) -> ConnectEndpoint | None:
        """Where Kafka Connect's REST interface is, secrets resolved; None if it is not told.

        Raises ConfigError.
        """
        return connect_endpoint(self.pipeline.capture, self.environ, self.origins, self.path)

    def tokens(self) -> dict[str, Secret]:
        """The proxy's tokens by the names of their callers. Raises ConfigError."""
        where = self.origins.get(("proxy", "tokens"), str(self.path))
        found: dict[str, Secret] = {}
        for each in self.proxy.tokens:
            if each.name in found:
                raise ConfigError(
                    f"{where}: two tokens are named {each.name}", "name one otherwise"
                )
            found[each.name] = Secret(resolve(each.token, self.environ, where, self.path.parent))
        return found

    def _files(self, tls: TlsSettings) -> dict[str, str]:
        files = {"ca": tls.ca, "cert": tls.cert, "key": tls.key}
        return {key: str(self.path.parent / value) for key, value in files.items() if value}

    def listed(self) -> Iterator[Setting]:
        """Every setting with its origin; passwords masked, placeholders as they are written."""
        yield from self._listed(("databases",), self.databases)
        yield from self._listed(("pipeline",), self.pipeline)
        yield from self._listed(("verify",), self.verify)
        yield from self._listed(("celery",), self.celery)
        yield from self._listed(("proxy",), self.proxy)
        yield from self._listed(("cutover",), self.cutover)

    def _listed(self, place: Place, value: Any) -> Iterator[Setting]:
        if isinstance(value, Model):
            value = {name: getattr(value, name) for name in value.__struct_fields__}
        if place == ("proxy", "tokens") and value:
            value = {each.name: {"token": each.token, "allow": each.allow} for each in value}
        if isinstance(value, Mapping):
            for name, item in value.items():
                yield from self._listed((*place, name), item)
            return
        token = place[:2] == ("proxy", "tokens")
        origin = self.origins.get(place[:2] if token else place, "default")
        if place == ("pipeline", "name") and not value:
            value, origin = self.name, "default: the source database"
        if place == ("pipeline", "capture", "group") and self.pipeline.capture.kind == "kafka":
            value, origin = (value, origin) if value else (self.group, "default: by the pipeline")
        yield Setting(".".join(map(str, place)), _shown(place, value), origin)

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
        file = read(File, data)
    except WrongSetting as error:
        where = _origin(error.place, origins, path)
        raise ConfigError(f"{where}: {error.message}", error.hint) from error
    settings = Settings(
        path,
        file.databases,
        file.pipeline,
        file.verify,
        file.celery,
        file.proxy,
        file.cutover,
        origins,
        environ,
    )
    _check_names(settings)
    _check_copy(settings)
    check_capture(settings.pipeline.capture, origins, path)
    if settings.pipeline.heartbeat and settings.pipeline.capture.kind == "kafka":
        raise ConfigError(
            f"{origins[('pipeline', 'heartbeat')]}: pipeline.heartbeat goes with the source's log",
            "leave it out; with Kafka it is Debezium's heartbeat.interval.ms",
        )
    return settings


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
    _walk(File, document.data, (), document)


def _walk(model: type[Model], data: Any, place: Place, document: Document) -> None:
    known = fields(model)
    for key, value in data.items() if isinstance(data, dict) else ():
        here = (*place, key)
        if key not in known:
            raise ConfigError(
                f"{document.at(here)}: unknown key “{key}”",
                f"known here: {', '.join(known)}{nearest(key, tuple(known))}",
            )
        holds, inner = shape(known[key].type)
        if holds == "one":
            _walk(inner, value, here, document)
        elif holds == "listed" and isinstance(value, list):
            for at, each in enumerate(value):
                _walk(inner, each, (*here, at), document)
        elif holds == "named" and isinstance(value, dict) and inner is not str:
            for name, each in value.items():
                _walk(inner, each, (*here, name), document)


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


def _check_copy(settings: Settings) -> None:
    if settings.pipeline.copy_via == "celery" and not settings.celery.broker:
        place: Place = ("pipeline", "copy_via")
        raise ConfigError(
            f"{settings.origins[place]}: workers shall copy, but there is no broker for Celery",
            "add celery: {broker: redis://host:6379/0}, or leave copy_via out",
        )


def _shown(place: Place, value: object) -> str:
    text = "" if value is None else str(value)
    if place[-1] in ("url", "broker", "connect"):
        return masked_url(text)
    secret = any(word in str(place[-1]).lower() for word in _SECRETS)
    return masked(text) if secret else text
