"""A bench of source and target for each kind of source."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pymysql
import pytest

from tests.contract.harness import Bench


@pytest.fixture(scope="module")
def bench_kind() -> type[Bench]:
    """Which bench; a module may have another."""
    return Bench


@pytest.fixture(scope="module")
def bench(source: Any, postgres: Any, bench_kind: type[Bench]) -> Iterator[Bench]:
    """A fresh source database for all tests of a module; the target's tables are temporary."""
    name = f"t_{secrets.token_hex(5)}"
    arguments: dict[str, Any] = {
        "host": source.host, "port": source.port, "user": source.user, "password": source.password
    }  # fmt: skip
    with closing(pymysql.connect(**arguments)) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as target:
        bench = bench_kind(source.url(name), target, 0x40000000 + secrets.randbelow(1 << 24))
        try:
            yield bench
        finally:
            bench.close()
    with closing(pymysql.connect(**arguments)) as admin, admin.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name}")
