"""Reading SHOW GRANTS, and the lines that give what is missing."""

from __future__ import annotations

import pytest

from bridge.capture.dialect import parse_version
from bridge.capture.findings.grants import grant_lines, judge_grants, parse_grants, quote_account

MYSQL = parse_version("8.4.3")
MARIADB = parse_version("10.11.2-MariaDB")
REPLICATION = "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `b`@`%`"


def missing(*lines: str, database: str = "shop_1", tables: tuple[str, ...] = ()) -> list[str]:
    found = judge_grants(parse_grants(lines), MYSQL, "'b'@'%'", database, tables)
    return [one.code for one in found]


@pytest.mark.parametrize(
    "line",
    [
        r"GRANT SELECT ON `shop\_1`.* TO `b`@`%`",
        "GRANT SELECT, LOCK TABLES ON `shop_1`.* TO 'b'@'%'",
        "GRANT SELECT ON `shop%`.* TO `b`@`%`",
        "GRANT ALL PRIVILEGES ON `shop_1`.* TO `b`@`%` WITH GRANT OPTION",
        "GRANT SELECT ON *.* TO `b`@`%` IDENTIFIED BY PASSWORD '*00'",
    ],
)
def test_select_is_found(line: str) -> None:
    assert missing(REPLICATION, line) == []


@pytest.mark.parametrize(
    "line",
    [
        "GRANT USAGE ON *.* TO `b`@`%`",
        r"GRANT SELECT ON `shop\_2`.* TO `b`@`%`",
        "GRANT SELECT (`id`, `x`) ON `shop_1`.`t` TO `b`@`%`",
        "GRANT SELECT ON `shop_1`.`t` TO `b`@`%`",
        "GRANT `role`@`%` TO `b`@`%`",
        "GRANT PROXY ON ''@'%' TO 'b'@'%' WITH GRANT OPTION",
        "GRANT EXECUTE ON PROCEDURE `shop_1`.`p` TO `b`@`%`",
    ],
)
def test_select_is_missed(line: str) -> None:
    assert missing(REPLICATION, line) == ["G001"]


def test_rights_table_by_table() -> None:
    lines = [REPLICATION, *(f"GRANT SELECT ON `shop_1`.`{t}` TO `b`@`%`" for t in ("a", "b`` c"))]
    assert missing(*lines, tables=("a", "b` c")) == []
    assert missing(*lines, tables=("a", "d")) == ["G001"]


def test_partial_revokes_of_mysql() -> None:
    lines = ["GRANT SELECT ON *.* TO `b`@`%`", "REVOKE SELECT ON `shop_1`.* FROM `b`@`%`"]
    assert missing(REPLICATION, *lines) == ["G001"]
    assert missing(REPLICATION, *lines, database="other") == []


def test_replication_rights_are_global() -> None:
    assert missing("GRANT SELECT ON *.* TO `b`@`%`") == ["G002", "G003"]
    assert missing("GRANT ALL PRIVILEGES ON *.* TO `b`@`%`") == []
    assert missing("GRANT SELECT, REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `b`@`%`") == []
    assert missing("GRANT SELECT, SUPER ON *.* TO `b`@`%`") == ["G002"]


def test_the_lines() -> None:
    account = quote_account("o'brien@10.%")
    assert account == "'o''brien'@'10.%'"
    assert grant_lines(MYSQL, account, "my_shop") == [
        r"GRANT SELECT ON `my\_shop`.* TO 'o''brien'@'10.%';",
        "GRANT REPLICATION SLAVE ON *.* TO 'o''brien'@'10.%';",
        "GRANT REPLICATION CLIENT ON *.* TO 'o''brien'@'10.%';",
    ]
    lines = grant_lines(MARIADB, account, "d", lock_tables=True)
    assert lines[0] == "GRANT SELECT, LOCK TABLES ON `d`.* TO 'o''brien'@'10.%';"
    assert lines[2] == "GRANT BINLOG MONITOR ON *.* TO 'o''brien'@'10.%';"
