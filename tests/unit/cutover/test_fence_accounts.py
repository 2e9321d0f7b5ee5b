"""How accounts and the databases of grants are spelt, and in which order rights are taken."""

from __future__ import annotations

import pytest

from bridge.cutover.fences.accounts import Account, covers
from bridge.cutover.fences.rights import Right, statements


@pytest.mark.parametrize(
    ("pattern", "database", "reached"),
    [
        ("shop", "shop", True),
        ("shop", "shops", False),
        ("sh_p", "shop", True),
        (r"sh\_p", "shop", False),
        (r"sh\_p", "sh_p", True),
        ("%", "shop", True),
        (r"a.%\%", "a.bc%", True),
        (r"a.%\%", "axbc%", False),
    ],
)
def test_patterns_of_databases(pattern: str, database: str, reached: bool) -> None:
    assert covers(pattern, database) == reached
    assert covers(pattern, database, literal=True) == (pattern == database)


def test_accounts_are_told_as_the_server_tells_them() -> None:
    assert Account.parse("app@10.0.%") == Account("app", "10.0.%")
    assert Account.parse("a@b@%").quoted == "`a@b`@`%`"
    assert Account.parse("team").quoted == "`team`"
    assert Account("PUBLIC", "").quoted == "PUBLIC"


def test_columns_go_first_and_places_are_not_mixed() -> None:
    app, a, b = Account("app", "%"), "a`b", "t"
    rights = [
        Right(app, "d", b, "INSERT"),
        Right(app, "d", b, "UPDATE", ("x", a)),
        Right(app, "d", b, "DELETE"),
        Right(app, r"d\_", "", "DROP"),
    ]
    assert [Right.parse(right.document()) for right in rights] == rights
    assert statements("REVOKE", rights) == [
        "REVOKE UPDATE (`x`, `a``b`) ON `d`.`t` FROM `app`@`%`",
        "REVOKE DELETE, INSERT ON `d`.`t` FROM `app`@`%`",
        "REVOKE DROP ON `d\\_`.* FROM `app`@`%`",
    ]
    assert statements("GRANT", rights[:1]) == ["GRANT INSERT ON `d`.`t` TO `app`@`%`"]
