"""ENUM and SET in all their forms."""

from __future__ import annotations

from tests.contract.harness import Bench, Case, check

NASTY = [
    "new",
    "paid",
    "a,b",
    "it's",
    'quote"',
    "back\\slash",
    "tab\there",
    "line\nfeed",
    "ä",
    "日本",
]
NASTY += ["{}", "NULL", "null", " lead", "%", "\r", "\\N", "a b", "(x)", "\v", "why?", "`", "\\\\"]
PLAIN = [f"label{place}" for place in range(300)]


def column(kind: str, labels: list[str]) -> str:
    quoted = ", ".join(
        "'" + label.replace("\\", "\\\\").replace("'", "''") + "'" for label in labels
    )
    return f"{kind}({quoted})"


def test_enums(bench: Bench) -> None:
    """0 is the empty text that an invalid value becomes."""
    everything = range(len(NASTY) + 1)
    check(
        bench.run(
            [
                Case(column("enum", NASTY), "text", everything),
                Case(column("enum", NASTY), "varchar(10)", everything),
                Case(column("enum", ["", *NASTY]), "text", range(len(NASTY) + 2)),
                Case(column("enum", ["é", "ü", "€"]) + " CHARACTER SET latin1", "text", range(4)),
                Case(column("enum", PLAIN), "text", range(301)),
                Case(column("enum", ["x"]), "text", [0, 1]),
            ]
        )
    )


def test_sets(bench: Bench) -> None:
    labels = [label for label in NASTY if "," not in label]
    bits = [0, 1, 2, 3, 2 ** len(labels) - 1, *(2**place for place in range(len(labels)))]
    many = [f"m{place}" for place in range(64)]
    cases = []
    for target in ("text[]", "text"):
        cases += [
            Case(column("set", labels), target, bits),
            Case(column("set", many), target, [0, 1, 2**63, 2**64 - 1, 2**40 + 5]),
            Case(column("set", many[:20]), target, [0, 2**20 - 1]),
            Case(column("set", many[:9]), target, range(0, 512, 5)),
            Case(column("set", many[:8]), target, range(256)),
            Case(column("set", many[:40]), target, [0, 1, 2**40 - 1]),
            Case(column("set", ["x"]), target, [0, 1]),
        ]
    cases.append(Case(column("set", ["", "a"]), "text[]", [0, 1, 2, 3]))
    check(bench.run(cases))


def test_a_set_is_an_array(bench: Bench) -> None:
    outcomes = bench.run([Case(column("set", NASTY[3:]), "text[]", [2**20 - 1, 0])])
    found = bench.target.execute("SELECT c0 FROM " + bench.last + " ORDER BY id").fetchall()
    assert [row[0] for row in found] == [None, NASTY[3:], []]
    assert len(outcomes) == 2


def test_labels_that_the_catalogue_cannot_print(bench: Bench) -> None:
    """It prints a question mark; the copy quarantines the value rather than believe it."""
    cases = [Case("enum('a','?','😀')", "text", [1, 2, 3]), Case("set('x','😀')", "text[]", [1, 2])]
    assert [each.bad for each in bench.run(cases)] == [False, False, True, False, True]
