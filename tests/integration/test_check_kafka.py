"""`dbbridge check` where changes come through Kafka, and that Debezium does what it says it does.

One stack and one project serve all; what a connector is told wrongly is told by a second one.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ruamel.yaml import YAML

from bridge.capture.catalog import read_catalog
from bridge.capture.debezium.captured import message_keys
from bridge.capture.debezium.naming import topic_of
from bridge.capture.findings import scan_table
from bridge.capture.findings.connector import position_findings
from bridge.capture.findings.events import Limit, size_probes
from bridge.cli import main as cli
from bridge.names import TableName, quote_mysql
from compose.local import debezium
from compose.local.rest import Connect, ConnectorFailed, Status
from compose.local.servers import Server
from tests.fix_kafka import Kafka
from tests.fix_servers import SourceDatabase, TargetDatabase, _connect_mysql
from tests.integration.cli_runner import Folder, Result

SECONDS = 60.0
FAILING_SECONDS = 180.0
"""Some connectors take half a minute to fail, whatever the machine does."""
TABLES = """
CREATE TABLE customers (id bigint unsigned PRIMARY KEY, code varchar(20) COLLATE utf8mb4_bin NOT NULL UNIQUE);
CREATE TABLE orders (id int PRIMARY KEY, customer bigint unsigned, shipped datetime NOT NULL, due date,
  note longtext, FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE CASCADE);
CREATE TABLE log (line varchar(100), at int);
CREATE TABLE other (id int PRIMARY KEY, day date);
INSERT INTO customers VALUES (1, 'a'), (2, 'b');
INSERT INTO orders VALUES (1, 1, '2024-02-29', NULL, 'a'), (2, 2, '2024-02-28', NULL, 'b')"""  # noqa: E501


@dataclass(frozen=True)
class Stack:
    """A source with a connector that is set as it should be, and the project about it."""

    kafka: Kafka
    connect: Connect
    source: SourceDatabase
    target: TargetDatabase
    connector: str
    project: Path

    def execute(self, *statements: str) -> None:
        """In the source, whatever the dates."""
        with closing(
            self.source.connect(init_command="SET sql_mode='ALLOW_INVALID_DATES'")
        ) as conn:
            for statement in statements:
                conn.cursor().execute(statement)

    def config(self, **overrides: str) -> dict[str, str]:
        """The connector's, but for some settings (dots as two underscores)."""
        changed = {name.replace("__", "."): value for name, value in overrides.items()}
        return {**self.connect.config(self.connector), **changed}


@pytest.fixture(scope="module")
def stack(
    kafka: Kafka,
    connect: Connect,
    mysql: Server,
    postgres: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """Tables of two rows, whose snapshot is in their topics."""
    name = f"c{secrets.token_hex(5)}"
    source, target = SourceDatabase(mysql, name), TargetDatabase(postgres, name)
    project = tmp_path_factory.mktemp("project")
    made = Stack(kafka, connect, source, target, name, project)
    with (
        _connect_mysql(mysql) as admin,
        psycopg.connect(postgres.url("postgres"), autocommit=True) as there,
    ):
        admin.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        there.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'".encode())
        made.execute(*TABLES.split(";"))
        config = debezium.source(
            source.url, prefix=name, bootstrap=kafka.bootstrap, exactly_once=True
        )
        connect.put(name, {**config, "snapshot.mode": "initial"})
        connect.wait(name)
        for topic, count in (("customers", 2), ("orders", 2)):
            kafka.read(f"{name}.{name}.{topic}", count)
        yield made
        connect.delete(name)
        admin.cursor().execute(f"DROP DATABASE {name}")
        there.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def folder(
    stack: Stack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Folder:
    """A copy of the project, whose settings name the connector."""
    monkeypatch.delenv("BRIDGE_CONFIG", raising=False)
    monkeypatch.delenv("BRIDGE_ENVIRONMENT", raising=False)
    monkeypatch.setenv("SOURCE_PW", stack.source.server.password)
    monkeypatch.setenv("TARGET_PW", stack.target.server.password)

    def run(*words: str) -> Result:
        capsys.readouterr()
        code = cli.main(words)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    here = Folder(tmp_path / "p", stack.source, stack.target, run)
    monkeypatch.chdir(stack.project)
    if not (stack.project / "bridge.yaml").exists():
        here.init()
        # one without a key is carried as well
        here.edit("log", "on_ddl:", "copy: {lock: brief}\non_ddl:")
    shutil.copytree(stack.project, here.path)
    monkeypatch.chdir(here.path)
    capture(stack)
    return here


def capture(stack: Stack, **changed: Any) -> None:
    """Writes how changes are captured into bridge.yaml of the working directory."""
    settings = {
        "kind": "kafka",
        "brokers": stack.kafka.bootstrap,
        "topics": stack.connector,
        "connect": stack.connect.url,
        "connector": stack.connector,
        **changed,
    }
    path, yaml = Path("bridge.yaml"), YAML()
    document = yaml.load(path)
    document["pipeline"]["capture"] = {k: v for k, v in settings.items() if v is not None}
    yaml.dump(document, path)


def check(folder: Folder, *words: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What was found, by code and table; of several, the last."""
    result = folder.run("check", "--format", "json", *words)
    assert result.err == ""
    found = result.json["findings"]
    assert result.code == any(one["severity"] == "error" for one in found)
    return {(one["code"], one["table"].rpartition(".")[2]): one for one in found}


def codes(found: dict[tuple[str, str], dict[str, Any]], *severities: str) -> set[tuple[str, str]]:
    """What was found about Kafka and Debezium."""
    return {
        (code, table)
        for (code, table), one in found.items()
        if code.startswith("K") and one["severity"] in (severities or ("error", "warning"))
    }


def test_a_connector_as_it_should_be(folder: Folder, stack: Stack) -> None:
    result = folder.run("check")
    assert (result.code, result.err) == (0, "")
    found = check(folder)
    assert codes(found, "error") == set()
    assert codes(found, "warning") == {("K013", "")}
    notes = codes(found, "info")
    assert {("K015", "orders"), ("K032", "orders"), ("K038", "")} <= notes
    assert "no row holds zero dates" in found["K015", "orders"]["message"]
    assert ("T009", "orders") not in found
    assert not {code for code, _ in check(folder, "--for", "copy") if code.startswith("K")}


def test_what_a_connector_is_told_wrongly(folder: Folder, stack: Stack) -> None:
    name = f"{stack.connector}_wrong"
    wrong = stack.config(
        name=name,
        topic__prefix=name,
        database__server__id="77000001",
        schema__history__internal__kafka__topic=f"{name}.history",
        decimal__handling__mode="double",
        skipped__operations="t",
        errors__tolerance="all",
        table__include__list=rf"{stack.source.name}\.(customers|orders)",
        column__exclude__list=rf"{stack.source.name}\.orders\.note",
        heartbeat__interval__ms="0",
        snapshot__mode="no_data",
    )
    stack.connect.put(name, wrong)
    capture(stack, connector=name, snapshot="debezium")
    try:
        stack.connect.wait(name)
        found = check(folder)
    finally:
        stack.connect.delete(name)
    assert {
        ("K003", ""), ("K009", ""), ("K010", ""), ("K022", ""), ("K023", "log"), ("K023", "other"),
        ("K024", "orders"), ("K038", ""),
    } == codes(found, "error")  # fmt: skip
    assert ("K037", "") in codes(found, "warning")
    assert found["K024", "orders"]["column"] == "note"
    assert f"topic.prefix is {name}" in found["K022", ""]["message"]


def test_a_connector_that_does_not_run(folder: Folder, stack: Stack) -> None:
    name = f"{stack.connector}_failed"
    config = stack.config(
        name=name,
        topic__prefix=name,
        database__server__id="77000002",
        schema__history__internal__kafka__topic=f"{name}.history",
        topic__creation__default__replication__factor="3",
    )
    stack.connect.put(name, config)
    capture(stack, connector=name, topics=name)
    try:
        failed(stack, name)
        found = check(folder)
        stack.connect.stop(name)
        stopped(stack, name)
        again = check(folder)
    finally:
        stack.connect.delete(name)
    message = found["K020", ""]["message"]
    assert message.startswith(f"connector {name} is RUNNING, task 0 FAILED: org.apache.kafka")
    assert "Unable to replicate the partition 3 time(s)" in message
    assert again["K020", ""]["message"] == f"connector {name} is STOPPED, it has no task"
    assert "the connector's snapshot is not done yet" in again["K025", "orders"]["message"]


def test_what_cannot_be_asked(folder: Folder, stack: Stack) -> None:
    capture(stack, connector="nothing")
    result = folder.run("check")
    assert result.code == 2
    assert "there is no connector “nothing”" in result.error[0]
    capture(stack, connect="http://127.0.0.1:1")
    assert folder.run("check").code == 4
    capture(stack, tls={"mode": "required"})
    assert "does not speak TLS" in folder.run("check").error[0]


def test_without_connects_rest_interface(folder: Folder, stack: Stack) -> None:
    capture(stack, connect=None, connector=None)
    found = check(folder)
    assert codes(found, "error") == {("K021", "")}
    assert "is not known either" in found["K021", ""]["message"]
    config = stack.config(enable__time__adjuster="true", heartbeat__interval__ms="0")
    capture(stack, connect=None, connector=None, connector_config=config)
    found = check(folder)
    assert codes(found, "error") == {("K021", ""), ("K007", "")}
    assert ("K037", "") in codes(found)


def test_topics(folder: Folder, stack: Stack) -> None:
    prefix = f"{stack.connector}t"
    topics = f"{prefix}.{stack.source.name}"
    stack.kafka.create(f"{topics}.customers", 3, retention_ms="3600000", retention_bytes="1000000")
    stack.kafka.create(f"{topics}.log", 2, cleanup_policy="compact")
    config = stack.config(topic__prefix=prefix)
    capture(stack, topics=prefix, connect=None, connector=None, connector_config=config)
    found = check(folder)
    assert codes(found, "error") == {("K021", ""), ("K027", "log"), ("K031", "log")}
    assert codes(found, "warning") == {
        ("K013", ""), ("K025", "orders"), ("K029", "customers"), ("K030", "customers"),
    }  # fmt: skip
    assert ("K032", "customers") in found
    assert "unique: code" in found["K029", "customers"]["message"]
    # another key of messages, and no snapshot
    keys = f"{stack.source.name}.customers:code"
    config = stack.config(
        topic__prefix=prefix, message__key__columns=keys, snapshot__mode="no_data"
    )
    capture(stack, topics=prefix, connect=None, connector=None, connector_config=config)
    found = check(folder)
    assert "the key of messages is code, the table's id" in found["K028", "customers"]["message"]
    assert found["K025", "orders"]["severity"] == "info"


def test_rows(folder: Folder, stack: Stack) -> None:
    stack.execute(
        "INSERT INTO orders VALUES (3, NULL, '2024-01-00', '0000-00-00', REPEAT('ä', 300000))",
        "INSERT INTO orders VALUES (4, NULL, '2023-02-31', NULL, NULL)",
        "INSERT INTO other VALUES (1, '2023-04-31')",
        "CREATE TABLE uncarried (id int PRIMARY KEY, at datetime(3))",
        "INSERT INTO uncarried VALUES (1, '2023-06-31 01:02:03')",
    )
    try:
        result = folder.run("check", "--format", "json")
        found = check(folder)
    finally:
        stack.execute(
            "DELETE FROM orders WHERE id > 2", "DELETE FROM other", "DROP TABLE uncarried"
        )
    dates = {
        (one["table"].rpartition(".")[2], one["column"]): (one["severity"], one["message"])
        for one in result.json["findings"]
        if one["code"] == "K015"
    }
    assert dates == {
        ("orders", "shipped"): (
            "error",
            "1 row holds zero dates, which are sent as 1970-01-01 or the column's default",
        ),
        ("orders", "due"): ("error", "1 row holds zero dates, which are sent as NULL"),
        ("other", "day"): ("info", "no row holds zero dates, which are sent as NULL at the moment"),
    }
    assert {("K034", "orders"), ("K034", "other"), ("K034", "uncarried")} <= codes(found, "error")
    assert found["K033", "orders"]["fact"] > 1_200_000
    assert (
        "max.request.size of the connector's producer is 1,048,576"
        in (found["K033", "orders"]["message"])
    )


def test_a_connector_of_another_server(stack: Stack) -> None:
    elsewhere = "00000000-0000-0000-0000-000000000001:1-7"
    with closing(stack.source.connect()) as conn:

        def said(**offset: object) -> list[str]:
            found = list(position_findings(conn, {"file": "none.000001", "pos": 4, **offset}))
            assert {one.code for one in found} <= {"K042"}
            return [one.message for one in found]

        with conn.cursor() as cursor:
            cursor.execute("SELECT @@GLOBAL.gtid_executed")
            ((executed,),) = cursor.fetchall()
            cursor.execute("SHOW BINARY LOGS")
            file = cursor.fetchall()[-1][0]
        assert said(gtids=executed) == []
        assert said(file=file) == []
        assert said(file=None) == []
        (message,) = said(gtids=f"{executed},{elsewhere}")
        assert message == f"the connector has read {elsewhere}, which the source does not have"
        assert "the connector stands in none.000001" in said()[0]


def test_cascades_that_are_not_logged(
    folder: Folder, stack: Stack, mariadb: Server, tmp_path: Path
) -> None:
    source = SourceDatabase(mariadb, stack.source.name)
    with _connect_mysql(mariadb) as admin:
        admin.cursor().execute(f"CREATE DATABASE {source.name}")
        try:
            with closing(source.connect()) as conn:
                for statement in TABLES.split(";"):
                    conn.cursor().execute(statement)
            path, yaml = Path("bridge.yaml"), YAML()
            document = yaml.load(path)
            url = Folder(tmp_path, source, stack.target, folder.run).source_url
            document["databases"]["legacy"]["url"] = url.replace("env:SOURCE_PW", "${MARIA_PW}")
            yaml.dump(document, path)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("MARIA_PW", mariadb.password)
                found = check(folder)
        finally:
            admin.cursor().execute(f"DROP DATABASE {source.name}")
    assert "ON DELETE CASCADE" in found["K035", "orders"]["message"]
    assert found["K035", "orders"]["severity"] == "error"
    assert ("T009", "orders") not in found


# -- what Debezium really does ----------------------------------------------------------------


def failed(stack: Stack, name: str) -> Status:
    """Waits until the connector has failed."""
    with suppress(ConnectorFailed):
        stack.connect.wait(name, "FAILED", FAILING_SECONDS)
    status = stack.connect.status(name)
    assert status.reached("FAILED")
    return status


def stopped(stack: Stack, name: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not stack.connect.status(name).reached("STOPPED"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def odd(stack: Stack) -> Iterator[SourceDatabase]:
    """A database of its own for connectors that shall fail."""
    database = SourceDatabase(stack.source.server, f"{stack.connector}_{secrets.token_hex(2)}")
    stack.execute(f"CREATE DATABASE {database.name} CHARACTER SET utf8mb4")
    yield database
    stack.execute(f"DROP DATABASE {database.name}")


def test_names_and_keys_are_debeziums(
    stack: Stack, odd: SourceDatabase, capture: Callable[..., str]
) -> None:
    tables = {
        "Zähler 1$": "a int PRIMARY KEY, b int",
        "ö b": "a int NOT NULL, b int NOT NULL, UNIQUE u (b, a)",
        "prefix-d": "a varchar(9) NOT NULL, b int, UNIQUE (a(2))",
        "none.": "a int, b int NOT NULL, UNIQUE (a)",
        "told": "a int PRIMARY KEY, b int",
    }
    for name, columns in tables.items():
        table = f"{odd.name}.{quote_mysql(name)}"
        stack.execute(f"CREATE TABLE {table} ({columns})", f"INSERT INTO {table} VALUES (1, 2)")
    config = {"message.key.columns": "(.*).told:b"}
    prefix = capture(odd.url, overrides=config)
    with closing(odd.connect()) as conn:
        catalog = read_catalog(conn, odd.name)
    for name in tables:
        table_name = TableName(odd.name, name)
        (message,) = stack.kafka.read(topic_of(prefix, table_name), 1)
        (key,) = message_keys(config, catalog[table_name])
        sent = message.key()
        assert tuple(json.loads(sent) if sent else ()) == key, name


def test_two_tables_in_one_topic(
    stack: Stack, odd: SourceDatabase, capture: Callable[..., str]
) -> None:
    for name in ("ä", "ö"):
        table = f"{odd.name}.`{name}`"
        stack.execute(
            f"CREATE TABLE {table} (id int PRIMARY KEY)", f"INSERT INTO {table} VALUES (1)"
        )
    prefix = capture(odd.url)
    messages = stack.kafka.read(f"{prefix}.{odd.name}._", 2)
    sources = {json.loads(message.value() or b"")["source"]["table"] for message in messages}
    assert sources == {"ä", "ö"}
    assert stack.connect.status(prefix).reached("RUNNING")


def test_topics_that_differ_in_a_dot(
    stack: Stack, odd: SourceDatabase, capture: Callable[..., str]
) -> None:
    for name in ("x.y", "x_y"):
        table = f"{odd.name}.`{name}`"
        stack.execute(
            f"CREATE TABLE {table} (id int PRIMARY KEY)", f"INSERT INTO {table} VALUES (1)"
        )
    with suppress(ConnectorFailed):
        capture(odd.url, prefix=odd.name)
    assert "collides with existing topic" in failed(stack, odd.name).trace


def test_dates_of_tables_that_are_not_captured_stop_the_connector(
    stack: Stack, odd: SourceDatabase, capture: Callable[..., str]
) -> None:
    stack.execute(
        f"CREATE TABLE {odd.name}.seen (id int PRIMARY KEY)",
        f"CREATE TABLE {odd.name}.unseen (id int PRIMARY KEY, at datetime)",
        f"INSERT INTO {odd.name}.seen VALUES (1)",
    )
    prefix = capture(odd.url, tables=["seen"])
    stack.kafka.read(f"{prefix}.{odd.name}.seen", 1)
    stack.execute(
        f"INSERT INTO {odd.name}.unseen VALUES (1, '2023-00-10'), (2, '0000-05-05')",
        f"INSERT INTO {odd.name}.seen VALUES (2)",
    )
    stack.kafka.read(f"{prefix}.{odd.name}.seen", 2)
    stack.execute(f"INSERT INTO {odd.name}.unseen VALUES (3, '2023-02-31')")
    assert "Invalid date 'FEBRUARY 31'" in failed(stack, prefix).trace


def test_events_are_as_large_as_foretold(
    stack: Stack, odd: SourceDatabase, capture: Callable[..., str]
) -> None:
    stack.execute(
        f"CREATE TABLE {odd.name}.t (id int PRIMARY KEY, v longtext, w longblob, j json)",
        f"INSERT INTO {odd.name}.t VALUES (1, REPEAT('ä', 100000), REPEAT('b', 90001),"
        " CONCAT('[\"', REPEAT('a\",\"', 20000), '\"]'))",
    )
    prefix = capture(odd.url, schemas=True)
    stack.kafka.read(f"{prefix}.{odd.name}.t", 1)
    stack.execute(f"UPDATE {odd.name}.t SET id = 1, v = REPEAT('ü', 100000)")
    *_, message = stack.kafka.read(f"{prefix}.{odd.name}.t", 2)
    with closing(odd.connect()) as conn:
        (table,) = read_catalog(conn, odd.name).values()
        limit = Limit(1000, "this test", schemas=True)
        (one,) = scan_table(conn, table, probes=list(size_probes(table, limit)))
    assert one.fact is not None
    sent = len(message.value() or b"") + len(message.key() or b"")
    assert sent <= one.fact <= sent * 1.1
    stack.execute(f"UPDATE {odd.name}.t SET v = REPEAT('x', 600000)")
    assert "max.request.size" in failed(stack, prefix).trace
