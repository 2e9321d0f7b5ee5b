"""Sweeps read replicas; what they prove is about what the replicas had reached."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from compose.local import servers
from compose.local.servers import Server
from tests.endtoend.compare import assert_same
from tests.endtoend.fixtures import NewProject
from tests.endtoend.project import Project
from tests.endtoend.replicating import FOLLOW, FORGET, SEE, START, STOP, poll, run
from tests.fix_servers import SourceDatabase, TargetDatabase

ITEMS, LOOSE = "SELECT COUNT(*) FROM shop.item", "SELECT COUNT(*) FROM shop.loose"


@dataclass
class Replicated:
    """A source and a target with a replica of each."""

    source: Server
    replica: Server
    target: Server
    standby: Server

    @property
    def kind(self) -> str:
        return self.source.kind

    def on_replica(self, statement: str) -> list[Any]:
        """Over the administrator's session of the source's replica."""
        return run(SourceDatabase(self.replica, "mysql"), statement)


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def replicated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Replicated]:
    base, kind = tmp_path_factory.mktemp("replicas"), request.param
    source = servers.start(kind, base / "source")
    run(SourceDatabase(source, "mysql"), FORGET[kind])
    replica = servers.start(kind, base / "replica", options=["--log-slave-updates"])
    run(SourceDatabase(replica, "mysql"), FORGET[kind])
    run(SourceDatabase(replica, "mysql"), FOLLOW[kind].format(source))
    run(SourceDatabase(replica, "mysql"), START[kind])
    target = servers.start("postgresql", base / "target")
    made = Replicated(source, replica, target, standby_of(target, base / "standby"))
    yield made
    for server in (made.replica, made.standby, made.source, made.target):
        server.stop()


def standby_of(target: Server, directory: Path) -> Server:
    """A copy of the stopped server, following it once it runs again."""
    standby = servers.start("postgresql", directory)
    standby.stop()
    target.stop()
    owner = standby.datadir.stat()
    shutil.rmtree(standby.datadir)
    shutil.copytree(target.datadir, standby.datadir)
    (standby.datadir / "standby.signal").touch()
    with (standby.datadir / "postgresql.auto.conf").open("a") as settings:
        settings.write(
            f"primary_conninfo = 'host={target.host} port={target.port} user={target.user}"
            f" password={target.password}'\n"
        )
    for path in (standby.datadir, *standby.datadir.rglob("*")):
        shutil.chown(path, owner.st_uid, owner.st_gid)
    standby.datadir.chmod(0o700)
    target.restart()
    running = standby.restart()
    # The copy has the password of what it was copied from.
    return replace(running, password=target.password)


def standby_follows(replicated: Replicated) -> None:
    """Waits until the standby has all that the target has now."""
    with (
        TargetDatabase(replicated.target, "postgres").connect() as target,
        TargetDatabase(replicated.standby, "postgres").connect() as standby,
    ):
        now = target.execute("SELECT pg_current_wal_lsn()").fetchone()
        follows = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        poll(lambda: standby.execute(follows, now).fetchone() == (True,))


@pytest.fixture
def project(
    replicated: Replicated, new_project: NewProject, target_server_database: TargetDatabase
) -> Project:
    """Two tables that a daemon follows; sweeps read the replicas."""
    source = SourceDatabase(replicated.source, "shop")
    run(SourceDatabase(replicated.source, "mysql"), "CREATE DATABASE shop")
    rows = ",".join(f"({n}, {n % 7})" for n in range(1, 2001))
    run(
        source,
        "CREATE TABLE item (id int PRIMARY KEY, v int)",
        f"INSERT INTO item VALUES {rows}",
        "CREATE TABLE word (w varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v int)",
        "INSERT INTO word SELECT CONCAT('w', id), v FROM item",
        "CREATE TABLE loose (v int)",
    )
    project = new_project(source, target_server_database)
    if SEE[replicated.kind]:
        project.accounts.grant([SEE[replicated.kind].format(f"'{project.accounts.name}'@'%'")], [])
    # A replica that has these rows has the accounts and their rights, too.
    run(source, "INSERT INTO loose SELECT v FROM item WHERE id <= 100")
    project.begin()
    if replicated.kind == "mysql":
        project.consent_to_lock("loose")
    settings = project.folder / "bridge.yaml"
    name, replica, standby = project.accounts.name, replicated.replica, replicated.standby
    written = settings.read_text().replace(
        "databases:\n",
        "databases:\n"
        f'  replica: {{url: "mysql://{name}:${{SOURCE_PW}}@{replica.host}:{replica.port}/shop"}}\n'
        f'  standby: {{url: "postgresql://{name}:${{TARGET_PW}}@{standby.host}:{standby.port}'
        f'/{project.target.name}"}}\n',
    )
    written = written.replace("pipeline:\n", "pipeline:\n  copy_from: replica\n")
    settings.write_text(written + "\nverify: {source: replica, target: standby}\n")
    return project


@pytest.fixture
def target_server_database(replicated: Replicated) -> TargetDatabase:
    """In the server that the standby follows."""
    admin = TargetDatabase(replicated.target, "postgres")
    with admin.connect() as conn:
        conn.execute("CREATE DATABASE shop")
    return replace(admin, name="shop")


def test_replicas_are_read(replicated: Replicated, project: Project) -> None:
    poll(lambda: replicated.on_replica(LOOSE) == [(100,)])
    # What the replica has not got yet comes by the source's log.
    replicated.on_replica(STOP[replicated.kind])
    run(
        project.source,
        "INSERT INTO item VALUES (2001, 1), (2002, 2)",
        "UPDATE word SET v = v + 10 WHERE v = 1",
        "DELETE FROM word WHERE v = 2",
        "INSERT INTO loose VALUES (3), (3)",
        "DELETE FROM loose WHERE v = 4 LIMIT 2",
    )
    daemon = project.sync()
    project.wait_streaming(daemon)
    copied = {t["table"]: t["rows_copied"] for t in project.status()["tables"]}
    assert copied == {"shop.item": 2000, "shop.word": 2000, "shop.loose": 100}
    assert assert_same(project.source, project.target) > 3700
    replicated.on_replica(START[replicated.kind])
    poll(lambda: replicated.on_replica(ITEMS) == [(2002,)])
    standby_follows(replicated)
    found = project.run("verify", "--certify", "--format", "json").json
    assert (found["verdict"], found["refusals"]) == ("match", [])

    # Both replicas stand still while rows change, of which the target gets one wrong: they agree
    # about what was, and it is known that this says nothing about what changed since.
    standby = replace(project.target, server=replicated.standby)
    with standby.connect() as conn:
        conn.execute("SELECT pg_wal_replay_pause()")
        replicated.on_replica(STOP[replicated.kind])
        run(project.source, "UPDATE item SET v = 9 WHERE id <= 10", "DELETE FROM word WHERE v = 3")
        project.wait_until(
            lambda: project.ask("SELECT count(*) FROM shop.word WHERE v = 3") == [(0,)],
            daemon=daemon,
        )
        project.ask("UPDATE shop.item SET v = 8 WHERE id = 5 RETURNING 1")
        wrong(project.run("verify", "--format", "json", code=1).json)
        conn.execute("SELECT pg_wal_replay_resume()")

    settings = project.folder / "bridge.yaml"
    watched = settings.read_text().replace(
        "{source: r", "{replica: replica, replica_lag: 5, source: r"
    )
    settings.write_text(watched)
    process = project.start("verify")
    reason = "replica does not replicate"
    project.wait_until(lambda: reason in str(project.status()["throttled"]), daemon=daemon)
    replicated.on_replica(START[replicated.kind])
    assert process.wait(60) == 1
    wrong(project.run("verify", "--format", "json", code=1).json)
    daemon.stop()


def wrong(found: Any) -> None:
    """The one row is named, and no other."""
    (item,) = [table for table in found["tables"] if table["verdict"] != "match"]
    assert [(d["key"], d["kind"]) for d in item["differences"]] == [({"id": "5"}, "differs")]
