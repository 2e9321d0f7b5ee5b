"""Callers of several proxies of one pipeline, who try again until they know what became of it.

Each transaction inserts a slip with its caller and number, under a key of the table's own: one that
was carried out twice would leave two of them.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.crash.dual_instance import ACCOUNTS
from tests.crash.kills import PATIENCE
from tests.endtoend.proxy_calls import ALL, Proxy

FOR_NOW = frozenset({"busy", "stale-epoch", "source-away", "server-away"})
"""Why a proxy may refuse with 503 while servers die."""
LOST, LATE = "lost", "late"
"""No answer came: the proxy died, or it took longer than the caller's patience."""
SHORTEST, LONGEST = 1.0, 6.0
"""Seconds of patience with one try."""
WRITE = "/v1/transactions"


@dataclass(frozen=True)
class Trouble:
    """A try without an answer, or refused with 503."""

    begun: float
    why: str
    said: str


@dataclass
class Callers:
    """Threads, each a caller with a connection of its own; all proxies know their token."""

    proxies: list[Proxy]
    seed: int
    acknowledged: Counter[tuple[str, int]] = field(default_factory=Counter)
    troubles: list[Trouble] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[BaseException] = field(default_factory=list)
    threads: list[Caller] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def start(self, callers: int) -> None:
        """Lets them begin."""
        self.threads = [Caller(self, number) for number in range(callers)]
        for thread in self.threads:
            thread.start()

    def check(self) -> None:
        """Raises what none of them expected."""
        if self.failures:
            raise self.failures[0]

    def progress(self) -> dict[str, int]:
        """Each caller's acknowledged transactions."""
        return {thread.name: thread.done for thread in self.threads}

    def stop(self) -> None:
        """Ends them when each knows what became of his last transaction."""
        self.ended.set()
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), self.troubles[-5:]
        self.check()


class Caller(threading.Thread):
    """Transaction after transaction, each under a key of its own."""

    def __init__(self, callers: Callers, number: int) -> None:
        super().__init__(name=f"c{number}", daemon=True)
        self._callers = callers
        self._chance = random.Random(f"{callers.seed}/c{number}")
        self._conn: http.client.HTTPConnection | None = None
        self._at = ""
        self.done = 0

    def run(self) -> None:
        """Until it is told to end."""
        number = 0
        try:
            while not self._callers.ended.is_set():
                number += 1
                self._transact(number)
                time.sleep(self._chance.random() * 0.03)
        except BaseException as error:  # noqa: BLE001 (told to the test)
            self._callers.failures.append(error)
        finally:
            self._close()

    def _transact(self, number: int) -> None:
        slip = {"caller": self.name, "number": number}
        acts = self._chance.choices(ACTS, k=self._chance.choice((0, 1, 1, 3)))
        asked = {
            "operations": [
                {"do": "insert", "table": "slip", "values": slip},
                *(act(self._chance) for act in acts),
            ]
        }
        tries = 0
        while True:
            tries += 1
            headers = {"Idempotency-Key": f"{self.name}-{number}"}
            status, replayed, answer = self._tried("POST", WRITE, asked, headers)
            if status == 200:
                break
            if status in (404, 409):
                self._callers.counts["refused"] += 1
                return
            time.sleep(self._chance.uniform(0.0, 0.3))
        assert replayed <= (tries > 1), f"{self.name}/{number} was not asked before"
        self._callers.acknowledged[self.name, number] += 1
        self._callers.counts["replayed"] += replayed
        self.done += 1
        if self._chance.random() < 0.2:
            self._see(answer, slip)

    def _see(self, written: Any, slip: dict[str, Any]) -> None:
        """Whoever waits for his own write sees it, whichever side he reads."""
        key = written["results"][0]["key"]
        path = f"/v1/tables/slip/rows/{key['id']}?prefer=target"
        status, _, found = self._tried("GET", path, None, {"X-Bridge-After": written["after"]})
        if status is not None:
            assert (status, found["values"]) == (200, key | slip), (written, found)
            self._callers.counts[f"seen in {found['side']}"] += 1

    def _tried(
        self, method: str, path: str, body: Any, headers: dict[str, str]
    ) -> tuple[int | None, bool, Any]:
        """Status, whether it is an earlier answer, and the answer; None: it is to be tried again.

        Raises AssertionError for what no dying server excuses.
        """
        begun = time.monotonic()
        status, replayed, found = 0, False, None
        try:
            conn = self._connection()
            raw = None if body is None else json.dumps(body)
            conn.request(method, path, raw, {"Content-Type": "application/json", **headers})
            response = conn.getresponse()
            found, status = json.loads(response.read()), response.status
            replayed = response.getheader("Idempotency-Replayed") == "true"
            why = found["title"].replace(" ", "-") if status == 503 else ""
        except (OSError, http.client.HTTPException) as error:
            why, found = LATE if isinstance(error, TimeoutError) else LOST, repr(error)
        if why:
            assert why in {LOST, LATE, *FOR_NOW}, found
            self._callers.counts[why] += 1
            self._callers.troubles.append(Trouble(begun, why, str(found)))
            if why in (LOST, LATE) or self._chance.random() < 0.5:
                self._close()
            return None, False, None
        assert status in (200, 404, 409), (status, found)
        return status, replayed, found

    def _connection(self) -> http.client.HTTPConnection:
        """The one that is kept, or one to some proxy that listens."""
        if self._conn is None:
            proxies = [proxy for proxy in self._callers.proxies if proxy.listens()]
            if not proxies:
                time.sleep(0.05)
                raise ConnectionRefusedError
            proxy = self._chance.choice(proxies)
            self._at, token = proxy.address, proxy.tokens[ALL]
            url = urlsplit(self._at)
            self._conn = _Authorized(
                token, url.hostname or "", url.port, self._chance.uniform(SHORTEST, LONGEST)
            )
        return self._conn

    def _close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None


class _Authorized(http.client.HTTPConnection):
    def __init__(self, token: str, host: str, port: int | None, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self._token = token

    def request(
        self, method: str, url: str, body: Any = None, headers: Any = None, **_: Any
    ) -> None:
        """With the token."""
        super().request(
            method, url, body, {"Authorization": f"Bearer {self._token}", **(headers or {})}
        )


def _email(chance: random.Random) -> str:
    return f"e{chance.randint(1, ACCOUNTS)}@example.org"


def _key(chance: random.Random) -> dict[str, int]:
    return {"id": chance.randint(1, ACCOUNTS)}


def opened(chance: random.Random) -> dict[str, Any]:
    """A new account, sometimes under an address that somebody has."""
    values = {"owner": "http", "email": _email(chance), "amount": 0}
    return {"do": "insert", "table": "account", "values": values}


def paid(chance: random.Random) -> dict[str, Any]:
    """A value of a row that may be gone."""
    values = {"amount": chance.randint(-99, 99)}
    return {"do": "update", "table": "account", "key": _key(chance), "values": values}


def renamed(chance: random.Random) -> dict[str, Any]:
    """An address wanders, or is given up."""
    values = {"email": chance.choice((None, _email(chance)))}
    return {"do": "update", "table": "account", "key": _key(chance), "values": values}


def kept(chance: random.Random) -> dict[str, Any]:
    """A row that is made where it is gone."""
    values = {"owner": "upserted", "amount": chance.randint(0, 9)}
    return {"do": "upsert", "table": "account", "key": _key(chance), "values": values}


def noted(chance: random.Random) -> dict[str, Any]:
    """A child row, whose parent may be gone."""
    values = {"account_id": chance.randint(1, ACCOUNTS), "body": f"{chance.random()}\t€"}
    return {"do": "insert", "table": "entry", "values": values}


def closed(chance: random.Random) -> dict[str, Any]:
    """An account goes, if it has no entries."""
    return {"do": "delete", "table": "account", "key": _key(chance)}


ACTS = (opened, paid, paid, renamed, kept, noted, closed)
