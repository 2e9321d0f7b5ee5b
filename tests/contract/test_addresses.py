"""MariaDB's UUID, INET6 and INET4 in all their forms."""

from __future__ import annotations

import ipaddress

from hypothesis import strategies as st

from tests.contract.harness import Bench, Case, check

UUIDS = ["6ccd780c-baba-1026-9564-5b8c656024db", "00000000-0000-0000-0000-000000000000"]
UUIDS += ["6ccd780c-baba-4026-9564-5b8c65602400", "11111111-2222-7333-8444-555555555520"]
SIXES = ["::", "::1", "::ffff:1.2.3.4", "2001:db8::ff00:42:8300", "fe80::1:0:0:0", "1:0:0:2::"]
FOURS = ["0.0.0.0", "10.1.2.0", "255.255.255.255", "10.0.0.32"]  # noqa: S104 - a value


def test_addresses(bench: Bench) -> None:
    if bench.flavor == "mariadb":
        cases = [
            Case("uuid", "uuid", UUIDS, generated=st.uuids().map(str)),
            Case("inet6", "inet", SIXES, generated=st.ip_addresses(v=6).map(str)),
            Case("inet4", "inet", FOURS, generated=st.ip_addresses(v=4).map(str)),
        ]
        outcomes = bench.run(cases)
        check(outcomes)
        found = bench.target.execute(f"SELECT c1 FROM {bench.last} ORDER BY id").fetchall()
        assert [row[0] for row in found[1 : len(SIXES) + 1]] == list(
            map(ipaddress.ip_address, SIXES)
        )
