"""What every verb gets: settings, connections, plans and output, each made when first asked for.

A verb takes ``ctx: typer.Context`` and calls ``of(ctx)``.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bridge.cli.output import Format, Output
from bridge.errors import ConfigError

if TYPE_CHECKING:
    import psycopg
    import pymysql
    import typer

    from bridge.config import Settings
    from bridge.databases.ahead import Ahead
    from bridge.databases.endpoint import Endpoint
    from bridge.mapping.model import TableMapping
    from bridge.mapping.plan import TablePlan
    from bridge.names import TableName


@dataclass
class Context:
    """One run of the command line."""

    config: Path | None = None
    format: Format = "text"
    debug: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """Closes at the end what the verb opened."""

    @cached_property
    def out(self) -> Output:
        """Where to print."""
        return Output(self.format)

    @property
    def config_path(self) -> Path:
        """``-c``, else BRIDGE_CONFIG, else bridge.yaml in the working directory."""
        return self.config or Path(self.default_path)

    @cached_property
    def settings(self) -> Settings:
        """The settings; raises ConfigError."""
        from bridge import config

        return config.load(self.config_path, self.environ)

    @property
    def pipeline(self) -> str:
        """The pipeline's name."""
        return self.settings.name

    @cached_property
    def source_endpoint(self) -> Endpoint:
        """The source, secrets resolved; raises ConfigError."""
        return self._endpoint(self.settings.pipeline.source, "mysql")

    @cached_property
    def copy_endpoint(self) -> Endpoint:
        """The server that is copied from: ``copy_from``, else the source."""
        name = self.settings.pipeline.copy_from
        return self._endpoint(name, "mysql") if name else self.source_endpoint

    @cached_property
    def target_endpoint(self) -> Endpoint:
        """The target, secrets resolved; raises ConfigError."""
        return self._endpoint(self.settings.pipeline.target, "postgresql")

    def use(self, endpoint: Endpoint) -> None:
        """Takes an endpoint of the command line instead of the settings' source or target."""
        name = "source_endpoint" if endpoint.kind == "mysql" else "target_endpoint"
        self.__dict__[name] = endpoint

    def command(self, verb: str) -> str:
        """A command line that goes on with the same settings, for ``next: …``."""
        path = str(self.config_path)
        given = "" if path == self.default_path else f" -c {shlex.quote(path)}"
        return f"dbbridge {verb}{given}"

    @property
    def default_path(self) -> str:
        """The settings' path where ``-c`` is not given."""
        return self.environ.get("BRIDGE_CONFIG") or "bridge.yaml"

    def source(self, **options: Any) -> pymysql.Connection[Any]:
        """A new session on the source, closed at the end of the run (options: mysql.connect)."""
        from bridge.databases import mysql

        connection = mysql.connect(self.source_endpoint, **options)
        self.closing.callback(_close, connection)
        return connection

    def copy_source(self, **options: Any) -> pymysql.Connection[Any]:
        """A new session on the server that is copied from."""
        from bridge.databases import mysql

        connection = mysql.connect(self.copy_endpoint, **options)
        self.closing.callback(_close, connection)
        return connection

    def target(self, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """A new session on the target, closed at the end of the run (options: postgres.connect)."""
        from bridge.databases import postgres

        connection = postgres.connect(self.target_endpoint, **options)
        self.closing.callback(_close, connection)
        return connection

    def target_ahead(self, **options: Any) -> Ahead[psycopg.Connection[tuple[Any, ...]]]:
        """The same, opened while other things are done."""
        from bridge.databases import postgres
        from bridge.databases.ahead import Ahead

        endpoint = self.target_endpoint
        ahead = Ahead(lambda: postgres.connect(endpoint, **options))
        self.closing.callback(ahead.close)
        return ahead

    def mappings(self) -> dict[TableName, TableMapping]:
        """The mapping files as they are now. Raises MappingError, ConfigError."""
        from bridge.mapping import files

        return files.read_all(self.settings.mappings)

    def heartbeat(self) -> tuple[TableName, float] | None:
        """The source's table that may be written to, and how often (seconds).

        Raises ConfigError for a table that is itself carried.
        """
        from bridge.names import TableName

        settings = self.settings.pipeline.heartbeat
        if settings is None:
            return None
        name = TableName(*settings.table.split("."))
        mapping = self.mappings().get(name)
        if mapping is not None and mapping.target is not None:
            raise ConfigError(
                f"pipeline.heartbeat names {name}, which is carried to the target",
                "name a table of its own, best in another database; `sync` makes it",
            )
        return name, settings.seconds

    def plans(self, tables: Sequence[str] = ()) -> dict[TableName, TablePlan]:
        """The mapping files compiled against the source's catalogue as it is now.

        Tables that the files leave out are not among them. `tables` picks some by name (``orders``
        or ``shop.orders``). Raises MappingError, ConfigError, ServerUnreachable, ServerRefused.
        """
        from bridge.capture.plans import read_plans
        from bridge.mapping import files

        chosen = files.choose(self.mappings(), tables)
        return read_plans(self.source(), chosen)

    def _endpoint(self, name: str, kind: str) -> Endpoint:
        endpoint = self.settings.endpoint(name)
        if endpoint.kind != kind:
            role = "source" if kind == "mysql" else "target"
            raise ConfigError(
                f"the {role} “{name}” is a {endpoint.kind} database",
                f"a {role} is a {kind} database: check pipeline in {self.config_path}",
            )
        if not endpoint.database:
            raise ConfigError(
                f"the URL of “{name}” names no database",
                f"end it with /DATABASE in {self.config_path}",
            )
        return endpoint


def of(ctx: typer.Context) -> Context:
    """The run's context."""
    return cast(Context, ctx.find_root().obj)


def _close(connection: Any) -> None:
    # A connection that broke cannot say goodbye, and there is nothing left to do about it.
    with contextlib.suppress(Exception):
        connection.close()
