"""What the fences changed is remembered as it was found at first."""

from __future__ import annotations

import pytest

from bridge.cutover.evidence import fingerprint, merged


@pytest.mark.parametrize(
    ("known", "found", "both"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"read_only": 0}, {"read_only": 1}, {"read_only": 0}),
        ({"grants": ["a"]}, {"grants": []}, {"grants": ["a"]}),
        ({"grants": ["a"]}, {"grants": ["b", "a"]}, {"grants": ["a", "b"]}),
        ({"fence": {"x": {"old": 1}}}, {"fence": {"x": {"new": 2}, "y": 3}}, None),
        ({"a": [1]}, {"a": "text"}, {"a": [1]}),
        ({"a": None}, {"a": 1}, {"a": None}),
    ],
)
def test_merging_loses_nothing(
    known: dict[str, object], found: dict[str, object], both: dict[str, object] | None
) -> None:
    expected = both or {"fence": {"x": {"old": 1, "new": 2}, "y": 3}}
    before = repr(known)
    assert merged(known, found) == expected
    assert merged(merged(known, found), found) == expected
    assert repr(known) == before


def test_fingerprints_tell_values_apart_and_not_their_order() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": [1, 2]}) != fingerprint({"a": [2, 1]})
    assert fingerprint("ä") != fingerprint("a")
