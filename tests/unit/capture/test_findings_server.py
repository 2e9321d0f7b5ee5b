"""Judging a source's settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.capture.dialect import parse_version
from bridge.capture.findings.server import Server, expiry_seconds, judge

GOOD = {
    "log_bin": "ON",
    "binlog_format": "ROW",
    "binlog_row_image": "FULL",
    "binlog_row_metadata": "FULL",
    "binlog_row_value_options": "",
    "binlog_expire_logs_seconds": "2592000",
    "server_id": "7",
    "gtid_mode": "ON",
    "log_replica_updates": "ON",
    "max_allowed_packet": "67108864",
    "wsrep_on": "OFF",
}
MYSQL = Server(parse_version("8.4.3"), GOOD)


def codes(server: Server) -> list[str]:
    return [one.code for one in judge(server)]


def test_a_good_server_has_no_findings() -> None:
    assert codes(MYSQL) == []
    mariadb = {k: v for k, v in GOOD.items() if not k.startswith("gtid")}
    assert codes(Server(parse_version("10.11.2-MariaDB"), mariadb)) == []


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("log_bin", "OFF", "S002"),
        ("binlog_format", "MIXED", "S003"),
        ("binlog_row_image", "MINIMAL", "S004"),
        ("binlog_row_image", "FULL_NODUP", "S004"),
        ("binlog_row_metadata", "MINIMAL", "S005"),
        ("binlog_row_metadata", "NO_LOG", "S005"),
        ("binlog_row_value_options", "PARTIAL_JSON", "S006"),
        ("binlog_expire_logs_seconds", "3600", "S007"),
        ("max_binlog_total_size", "1000000000", "S007"),
        ("gtid_mode", "OFF_PERMISSIVE", "S009"),
        ("server_id", "0", "S011"),
        ("wsrep_on", "ON", "S013"),
        ("max_allowed_packet", "4194304", "S014"),
    ],
)
def test_each_setting(name: str, value: str, code: str) -> None:
    assert codes(replace(MYSQL, variables={**GOOD, name: value})) == [code]


def test_states() -> None:
    assert codes(replace(MYSQL, filters=("shop", ""))) == ["S008"]
    assert codes(replace(MYSQL, filters=("", "mysql"))) == ["S008"]
    assert codes(replace(MYSQL, encrypted=False)) == ["S012"]
    assert codes(replace(MYSQL, prepared=2)) == ["S015"]
    assert codes(replace(MYSQL, replica=True)) == []
    silent = {**GOOD, "log_replica_updates": "OFF"}
    assert codes(replace(MYSQL, variables=silent)) == []
    assert codes(replace(MYSQL, variables=silent, replica=True)) == ["S010"]


def test_old_servers_cannot_log_names() -> None:
    old = {name: value for name, value in GOOD.items() if name != "binlog_row_metadata"}
    assert codes(Server(parse_version("5.7.44"), old)) == ["S016"]


@pytest.mark.parametrize("version", ["5.5.62", "10.4.1-MariaDB"])
def test_versions(version: str) -> None:
    assert "S001" in codes(replace(MYSQL, dialect=parse_version(version)))


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({"binlog_expire_logs_seconds": "0"}, None),
        ({"expire_logs_days": "10"}, 864_000),
        ({"expire_logs_days": "0.500000", "binlog_expire_logs_seconds": "43200"}, 43_200),
        ({"binlog_expire_logs_seconds": "60", "binlog_expire_logs_auto_purge": "OFF"}, None),
    ],
)
def test_expiry(variables: dict[str, str], seconds: int | None) -> None:
    assert expiry_seconds(replace(MYSQL, variables=variables)) == seconds
