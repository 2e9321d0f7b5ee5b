"""Who calls, and what he may do."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bridge.config.models import TokenSettings
from bridge.databases.endpoint import Secret
from bridge.dualwrite.http.problems import Problem

VERBS = ("read", "insert", "update", "delete")


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a token, and what he may do by table; ``*`` stands for all."""

    name: str
    scopes: Mapping[str, frozenset[str]]

    def check(self, table: str, verbs: Iterable[str]) -> None:
        """Raises Problem unless all verbs are allowed on the table."""
        allowed = self.scopes.get(table, frozenset()) | self.scopes.get("*", frozenset())
        missing = [verb for verb in verbs if verb not in allowed]
        if missing:
            raise Problem(
                403,
                "out-of-scope",
                f"this token may not {' or '.join(missing)} in {table}",
                f"an operator allows it in proxy.tokens: {table}:{','.join(missing)}",
            )


@dataclass(frozen=True, slots=True)
class Tokens:
    """The known tokens, of which only digests are kept."""

    known: tuple[tuple[bytes, Caller], ...] = field(repr=False)

    @classmethod
    def of(cls, settings: Iterable[TokenSettings], secrets: Mapping[str, Secret]) -> Tokens:
        """By the settings, their secrets resolved."""
        return cls(
            tuple(
                (_digest(secrets[each.name].reveal().encode()), Caller(each.name, _scopes(each)))
                for each in settings
            )
        )

    def caller(self, authorization: bytes) -> Caller:
        """Who sent this header; raises Problem. It takes as long whoever it is."""
        scheme, _, given = authorization.partition(b" ")
        digest, found = _digest(given.strip()), None
        for known, caller in self.known:
            if hmac.compare_digest(known, digest):
                found = caller
        if found is None or scheme.lower() != b"bearer":
            raise Problem(
                401,
                "unknown-token",
                "this needs a token that the proxy knows",
                "send it as: Authorization: Bearer TOKEN",
            )
        return found


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _scopes(settings: TokenSettings) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for each in settings.allow:
        table, _, verbs = each.rpartition(":")
        named = frozenset(VERBS) if "*" in verbs.split(",") else frozenset(verbs.split(","))
        found[table] = found.get(table, frozenset()) | named
    return found
