"""Kafka Connect's REST interface, as far as connectors of a test or a demo need it."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from compose.local.errors import LocalStackError

ANSWER_SECONDS = 30.0
PAUSE_SECONDS = 0.05
CONFLICT = http.client.CONFLICT
"""What a worker answers while its group shares out the work anew."""


class RestError(LocalStackError):
    """Connect refused a request; ``status`` is HTTP's, 404 for a connector that is not there."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ConnectorFailed(LocalStackError):
    """A connector or one of its tasks has failed; the message is its stack trace."""


@dataclass(frozen=True)
class Status:
    """States of a connector and its tasks, such as RUNNING, PAUSED, STOPPED or FAILED."""

    connector: str
    tasks: tuple[str, ...]
    trace: str
    """The stack traces of what has failed."""

    def reached(self, state: str) -> bool:
        """Whether the connector and all its tasks are in the state; a stopped one has no tasks."""
        if state == "FAILED":
            return "FAILED" in (self.connector, *self.tasks)
        tasks = not self.tasks if state == "STOPPED" else {state} == set(self.tasks)
        return self.connector == state and tasks


@dataclass(frozen=True)
class Connect:
    """A worker, by the address of its REST interface."""

    url: str

    def version(self) -> str:
        """The version of the worker. Raises RestError, or OSError where none listens."""
        return str(self._ask("GET", "/")["version"])

    def healthy(self) -> bool:
        """Whether the worker takes connectors."""
        try:
            self._ask("GET", "/health")
        except RestError:
            return False
        return True

    def plugins(self) -> list[str]:
        """The classes of connectors that the worker has."""
        return [str(one["class"]) for one in self._ask("GET", "/connector-plugins")]

    def connectors(self) -> list[str]:
        """The names of the connectors."""
        return [str(name) for name in self._ask("GET", "/connectors")]

    def put(self, name: str, config: Mapping[str, str]) -> None:
        """Make a connector, or give it another configuration, with which it starts again.

        Raises RestError with what is wrong with the configuration. Connect 4.3 itself only says
        500 to one that Debezium does not accept, since it trips over what Debezium tells it.
        """
        try:
            self._ask("PUT", f"{_path(name)}/config", dict(config))
        except RestError as error:
            wrong = self.invalid({**config, "name": name})
            if not wrong:
                raise
            raise RestError(error.status, f"{name}: {'; '.join(wrong)}") from error

    def invalid(self, config: Mapping[str, str]) -> list[str]:
        """What is wrong with a configuration; connectors try to reach their database for it."""
        kind = quote(config["connector.class"], safe="")
        path = f"/connector-plugins/{kind}/config/validate"
        values = (one["value"] for one in self._ask("PUT", path, dict(config))["configs"])
        return [
            f"{value['name']}: {error}" for value in values if value for error in value["errors"]
        ]

    def config(self, name: str) -> dict[str, str]:
        """The connector's configuration."""
        return dict(self._ask("GET", f"{_path(name)}/config"))

    def status(self, name: str) -> Status:
        """The states of the connector and its tasks."""
        said = self._ask("GET", f"{_path(name)}/status")
        parts = [said["connector"], *said["tasks"]]
        traces = [part["trace"] for part in parts if part.get("trace")]
        states = [str(part["state"]) for part in parts]
        return Status(states[0], tuple(states[1:]), "\n".join(traces))

    def wait(self, name: str, state: str = "RUNNING", seconds: float = 60.0) -> Status:
        """Wait until connector and tasks are in the state.

        Raises ConnectorFailed as soon as one has failed, LocalStackError when time is over.
        """
        deadline = time.monotonic() + seconds
        while True:
            found = self._found(name)
            if found and found.reached(state):
                return found
            if found and found.reached("FAILED"):
                raise ConnectorFailed(f"{name}: {found.trace}")
            if time.monotonic() > deadline:
                raise LocalStackError(f"{name} is not {state} after {seconds:.0f} s: {found}")
            time.sleep(PAUSE_SECONDS)

    def _found(self, name: str) -> Status | None:
        """The states, which a connector has only some time after it was made."""
        try:
            return self.status(name)
        except RestError as error:
            if error.status != http.client.NOT_FOUND:
                raise
            return None

    def pause(self, name: str) -> None:
        """Have it read nothing for the time being; ``wait`` for PAUSED."""
        self._ask("PUT", f"{_path(name)}/pause")

    def resume(self, name: str) -> None:
        """Have a paused or stopped connector go on; ``wait`` for RUNNING."""
        self._ask("PUT", f"{_path(name)}/resume")

    def stop(self, name: str) -> None:
        """End its tasks; ``wait`` for STOPPED."""
        self._ask("PUT", f"{_path(name)}/stop")

    def restart(self, name: str) -> None:
        """Start it and all its tasks again, failed ones too."""
        self._ask("POST", f"{_path(name)}/restart?includeTasks=true")

    def delete(self, name: str) -> None:
        """End and forget it, and wait until another one of its name can be made.

        Its topics stay, and such another one goes on where it was (``forget_offsets``).
        """
        self._ask("DELETE", _path(name))
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._found(name):
            if time.monotonic() > deadline:
                raise LocalStackError(f"{name} is still there after {ANSWER_SECONDS:.0f} s")
            time.sleep(PAUSE_SECONDS)

    def offsets(self, name: str) -> list[dict[str, Any]]:
        """How far it is, each a ``partition`` and an ``offset`` of the connector's own making."""
        return list(self._ask("GET", f"{_path(name)}/offsets")["offsets"])

    def forget_offsets(self, name: str) -> None:
        """Have a stopped connector begin anew."""
        self._ask("DELETE", f"{_path(name)}/offsets")

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        """One request; again while the group is being shared out."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                return self._ask_once(method, path, body)
            except RestError as error:
                if error.status != CONFLICT or time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE_SECONDS)

    def _ask_once(self, method: str, path: str, body: object) -> Any:
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=ANSWER_SECONDS
        )
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise RestError(answer.status, f"{method} {path}: {answer.status} {said}")
        return json.loads(said) if said else None


def _path(name: str) -> str:
    return f"/connectors/{quote(name, safe='')}"
