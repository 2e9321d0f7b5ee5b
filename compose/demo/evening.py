"""The evening: authority over a group of the shop's tables goes to PostgreSQL, and comes back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from psycopg import sql

from bridge.cli.output import number
from compose.demo import databases, observed
from compose.demo.commands import Daemon, Failed
from compose.demo.scene import Scene, say
from compose.demo.till import Till

GROUP = "customers"
TABLES = ("addresses", "countries", "customers", "reviews")
APPLICATION = "shop_till"
ENOUGH = 50
"""Customers who are signed up between two acts."""
PATIENCE_SECONDS = 60.0
_SETTINGS = f"""
cutover:
  fence: revoke
  accounts: ['{APPLICATION}@%']
  roles: [{APPLICATION}]
  max_transaction_seconds: 600
"""


def evening(scene: Scene) -> bool:
    """Switches and reverses under load; whether nothing that was committed is missing anywhere."""
    scene.step(
        f"The evening: {GROUP} and what belongs to them go to PostgreSQL, while people sign up"
    )
    with _application(scene) as (source, target), scene.daemon() as daemon:
        scene.streamed(daemon, 0)
        scene.bridge.run("cutover", "mode", "cdc", "--group", GROUP)
        scene.bridge.run("verify", *TABLES, "--certify")
        with Till(source, target) as till:
            _wait(daemon, lambda: till.count("source") >= ENOUGH, "nobody signs up")
            _move(scene, "switch")
            _wait(daemon, lambda: till.count("target") >= ENOUGH, "nobody signs up in PostgreSQL")
            scene.step("And back, with all that was written meanwhile")
            observed.until_near(scene.target)
            before = till.count("source")
            _move(scene, "reverse")
            _wait(daemon, lambda: till.count("source") >= before + ENOUGH, "nobody signs up again")
        said = [number(till.count(side)) for side in ("source", "target")]
        say(f"{said[0]} signed up in the source, {said[1]} in PostgreSQL; the longest")
        say(f"that anybody had to wait was {till.longest:.2f} s")
        everybody = {*till.done["source"], *till.done["target"]}
        equal = _arrived(scene, daemon, everybody)
        scene.bridge.run("cutover", "cancel", "--group", GROUP)
        scene.end(daemon)
    return equal


def _move(scene: Scene, direction: str) -> None:
    """By the hash of its plan; who writes besides the application is known here."""
    back = ("--reverse",) if direction == "reverse" else ()
    words = ("cutover", "plan", *back, "--group", GROUP)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        _analyze(scene, direction)
        found = scene.bridge.look(*words)
        if not {*found["refused_by"]} - {"writers"} or time.monotonic() > deadline:
            break
        time.sleep(1)  # a machine that is busy lags for a moment
    if "writers" in found["refused_by"]:
        why = "only the demo's people write"
        scene.bridge.run("cutover", "waive", "writers", "--reason", why, "--group", GROUP)
    _analyze(scene, direction)
    scene.bridge.run("cutover", direction, "--group", GROUP, "--plan", str(found["plan"]))


def _analyze(scene: Scene, direction: str) -> None:
    """What autovacuum has not come to: PostgreSQL shall plan well from the switch on."""
    if direction != "switch":
        return
    with closing(databases.connect_target(scene.target)) as there:
        for table in TABLES:
            there.execute(sql.SQL("ANALYZE {}").format(sql.Identifier("shop", table)))


def _wait(daemon: Daemon, reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        if not daemon.running or time.monotonic() > deadline:
            raise Failed(what)
        time.sleep(0.02)


def _arrived(scene: Scene, daemon: Daemon, everybody: set[str]) -> bool:
    """Whether both sides have everybody, and nobody else of this evening."""
    with (
        closing(databases.connect_source(scene.source)) as here,
        closing(databases.connect_target(scene.target)) as there,
    ):
        query = "SELECT email FROM shop.customers WHERE name = 'Evening'"

        def in_target() -> set[str]:
            return {email for (email,) in there.execute(query).fetchall()}

        _wait(daemon, lambda: in_target() >= everybody, "PostgreSQL lacks who signed up")
        with here.cursor() as cursor:
            cursor.execute(query)
            in_source = {str(email) for (email,) in cursor.fetchall()}
        equal = in_source == in_target() == everybody
    say(f"everybody is on both sides: {'yes' if equal else 'NO'}")
    return equal


@contextmanager
def _application(scene: Scene) -> Iterator[tuple[str, str]]:
    """Accounts of an application with rights on these tables; its addresses on both sides."""
    password = secrets.token_hex(12)
    settings = scene.bridge.folder / "bridge.yaml"
    settings.write_text(settings.read_text().rstrip("\n") + "\n" + _SETTINGS)
    with (
        closing(databases.connect_source(scene.source)) as here,
        closing(databases.connect_target(scene.target)) as there,
    ):
        _remove(here, there)
        with here.cursor() as cursor:
            cursor.execute(f"CREATE USER {APPLICATION}@'%%' IDENTIFIED BY %s", (password,))
            for table in TABLES:
                rights = "SELECT, INSERT, UPDATE, DELETE"
                cursor.execute(f"GRANT {rights} ON shop.{table} TO {APPLICATION}@'%'")
        name = sql.Identifier(APPLICATION)
        there.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(password))
        )
        there.execute(sql.SQL("GRANT USAGE ON SCHEMA shop TO {}").format(name))
        for table in TABLES:
            what = sql.Identifier("shop", table)
            rights_there = sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}")
            there.execute(rights_there.format(what, name))
        try:
            yield _as(scene.source, password), _as(scene.target, password)
        finally:
            databases.drop_slots(there)
            _remove(here, there)


def _remove(here: Any, there: Any) -> None:
    with here.cursor() as cursor:
        cursor.execute(f"DROP USER IF EXISTS {APPLICATION}@'%'")
    if there.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (APPLICATION,)).fetchone():
        name = sql.Identifier(APPLICATION)
        there.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(name))
        there.execute(sql.SQL("DROP ROLE {}").format(name))


def _as(url: str, password: str) -> str:
    """The address with the application's account."""
    parts = urlsplit(url)
    where = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{APPLICATION}:{quote(password)}@{where}"))
