"""What was found and changed, as JSON: remembered so that nothing is lost, and told apart. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Evidence = Mapping[str, Any]
"""Whatever JSON holds."""


def merged(known: Evidence, found: Evidence) -> dict[str, Any]:
    """All of `known`, and what `found` adds: new keys, in objects at any depth, and new items.

    What is known stays as it is, whatever `found` says. A step that is done again finds its own
    traces: the privileges are revoked and the server is read-only by then, and to undo it takes
    what was there at the first time.
    """
    both = dict(known)
    for key, value in found.items():
        if key not in both:
            both[key] = value
            continue
        old = both[key]
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            both[key] = merged(old, value)
        elif isinstance(old, list) and isinstance(value, list | tuple):
            both[key] = [*old, *(item for item in value if item not in old)]
    return both


def fingerprint(evidence: object) -> str:
    """The same for the same values, whatever the order of keys: SHA-256 in hexadecimal digits."""
    text = json.dumps(evidence, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
