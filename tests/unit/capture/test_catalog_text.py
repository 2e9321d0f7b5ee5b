"""Reading what information_schema prints."""

from __future__ import annotations

import pytest

from bridge.capture import catalog_text as text
from bridge.capture.dialect import parse_version


@pytest.mark.parametrize(
    ("column_type", "labels"),
    [
        ("enum('a','b''c','d,e')", ("a", "b'c", "d,e")),
        (r"set('x\\y','\n','')", ("x\\y", "\n", "")),
        ("enum(''')',''',''')", ("')", "','")),
        ("varchar(5)", ()),
    ],
)
def test_labels(column_type: str, labels: tuple[str, ...]) -> None:
    assert text.parse_labels(column_type) == labels


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        (None, (None, False)),
        ("NULL", (None, False)),
        ("'NULL'", ("NULL", False)),
        ("'a''b'", ("a'b", False)),
        ("-3.5e2", ("-3.5e2", False)),
        ("b'101'", ("b'101'", False)),
        ("current_timestamp(6)", ("CURRENT_TIMESTAMP(6)", True)),
        ("current_timestamp()", ("CURRENT_TIMESTAMP", True)),
        ("'a' + 'b'", ("'a' + 'b'", True)),
        ("uuid()", ("uuid()", True)),
    ],
)
def test_defaults_of_mariadb(printed: str | None, value: tuple[str | None, bool]) -> None:
    assert text.default_mariadb(printed) == value


def test_defaults_of_mysql() -> None:
    assert text.default_mysql("CURRENT_TIMESTAMP", "", "datetime") == ("CURRENT_TIMESTAMP", True)
    assert text.default_mysql("CURRENT_TIMESTAMP", "", "varchar") == ("CURRENT_TIMESTAMP", False)
    assert text.default_mysql(r"concat(\'a\\\\\')", "DEFAULT_GENERATED", "varchar") == (
        r"concat('a\\')",
        True,
    )


def test_extra() -> None:
    assert text.parse_on_update("on update current_timestamp(3)") == "CURRENT_TIMESTAMP(3)"
    assert text.parse_on_update("DEFAULT_GENERATED on update CURRENT_TIMESTAMP") == (
        "CURRENT_TIMESTAMP"
    )
    assert text.parse_generated("STORED GENERATED INVISIBLE") == "stored"
    assert text.parse_generated("DEFAULT_GENERATED") == ""


def test_json_check() -> None:
    assert text.json_column("json_valid(`a``b`)") == "a`b"
    assert text.json_column("json_valid(`a`) or `b` = 1") == ""


@pytest.mark.parametrize(
    ("printed", "flavor", "version"),
    [
        ("10.11.19-MariaDB-log", "mariadb", (10, 11, 19)),
        ("5.5.5-10.5.1-MariaDB", "mariadb", (10, 5, 1)),
        ("8.4.3", "mysql", (8, 4, 3)),
        ("5.6.24-log", "mysql", (5, 6, 24)),
        ("9.7", "mysql", (9, 7, 0)),
    ],
)
def test_versions(printed: str, flavor: str, version: tuple[int, int, int]) -> None:
    dialect = parse_version(printed)
    assert (dialect.flavor, dialect.version) == (flavor, version)


def test_key_rules() -> None:
    printed = """CREATE TABLE `t` (
  `a` int(11) DEFAULT NULL COMMENT ' ON DELETE CASCADE',
  CONSTRAINT `f``1` FOREIGN KEY (`a`) REFERENCES `p` (`id`) ON DELETE CASCADE ON UPDATE SET NULL,
  CONSTRAINT `g` FOREIGN KEY (`a`, `b`) REFERENCES `o`.`p` (`x`, `y`) ON UPDATE CASCADE,
  CONSTRAINT `h` FOREIGN KEY (`a`) REFERENCES `p` (`id`)
) ENGINE=InnoDB"""
    assert text.parse_key_rules(printed, "RESTRICT") == {
        "f`1": ("CASCADE", "SET NULL"),
        "g": ("RESTRICT", "CASCADE"),
        "h": ("RESTRICT", "RESTRICT"),
    }
