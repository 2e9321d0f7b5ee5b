"""Database URLs: what they say, and that the password never shows."""

from __future__ import annotations

import pytest

from bridge.databases.endpoint import Secret, Tls, parse_url
from bridge.errors import ConfigError


def test_a_whole_url() -> None:
    endpoint = parse_url("mysql://me:p%40ss%2Fw%25rd@db1:3307/shop?ssl-mode=required")
    assert (endpoint.kind, endpoint.user, endpoint.host, endpoint.port, endpoint.database) == (
        "mysql", "me", "db1", 3307, "shop",
    )  # fmt: skip
    assert endpoint.password.reveal() == "p@ss/w%rd"
    assert endpoint.tls == Tls("required")
    assert endpoint.place == "mysql://me@db1:3307/shop"


@pytest.mark.parametrize(
    ("url", "kind", "port"),
    [
        ("mysql://h/d", "mysql", 3306),
        ("mariadb://h/d", "mysql", 3306),
        ("postgres://h/d", "postgresql", 5432),
        ("postgresql://h/d", "postgresql", 5432),
        ("POSTGRES://h/d", "postgresql", 5432),
    ],
)
def test_schemes(url: str, kind: str, port: int) -> None:
    endpoint = parse_url(url)
    assert (endpoint.kind, endpoint.port, endpoint.host) == (kind, port, "h")


def test_an_ipv6_address() -> None:
    endpoint = parse_url("mysql://me@[::1]:3307/shop")
    assert (endpoint.host, endpoint.port) == ("::1", 3307)
    assert endpoint.place == "mysql://me@[::1]:3307/shop"


def test_odd_database_names() -> None:
    assert parse_url("mysql://h/my%20d%2Fb").database == "my d/b"


def test_sockets() -> None:
    assert parse_url("mysql://me@localhost/d?socket=/run/m.sock").socket == "/run/m.sock"
    assert parse_url("postgres://me@/d?host=/run/postgresql").socket == "/run/postgresql"


def test_tls_files_mean_that_they_are_checked() -> None:
    assert parse_url("mysql://h/d?ssl-ca=/ca.pem").tls == Tls("verify", ca="/ca.pem")
    assert parse_url("postgres://h/d?sslmode=verify-full&sslrootcert=c").tls == Tls("verify", "c")


@pytest.mark.parametrize(
    ("url", "said", "hint"),
    [
        ("localhost/shop", "begins with mysql://", "mysql://user"),
        ("http://h/d", "begins with mysql://", "mysql://user"),
        ("mysql://h:x/d", "port", "%40"),
        ("mysql://h:70000/d", "port", "%40"),
        ("mysql://h/d?ssl-mod=x", "unknown option “ssl-mod”", "did you mean “ssl-mode”"),
        ("mysql://h/d?tls=no", "“no” is not a TLS mode", "required"),
    ],
)
def test_wrong_urls(url: str, said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url(url)
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_a_password_never_shows() -> None:
    endpoint = parse_url("mysql://me:hunter2@db1/shop")
    assert "hunter2" not in f"{endpoint!r} {endpoint} {endpoint.password}"
    assert repr(Secret("")) == "Secret('')"
    with pytest.raises(ConfigError) as caught:
        parse_url("mysql://me:hunter2:3306/shop")
    assert "hunter2" not in caught.value.message + caught.value.hint
