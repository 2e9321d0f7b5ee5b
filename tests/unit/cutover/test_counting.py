from __future__ import annotations

from bridge.cutover.counting import Look, Who, between, latest

APP, CRON = Who("app", "web"), Who("cron", "batch")


def test_the_first_look_tells_only_who_is_met() -> None:
    assert between(None, Look({APP: 900}, {}, (CRON,))) == {CRON: 1}


def test_what_was_written_since() -> None:
    before = Look({APP: 10, CRON: 5})
    assert between(before, Look({APP: 12, CRON: 5})) == {APP: 2}
    assert between(before, Look({APP: 3, CRON: 5})) == {APP: 3}  # the server began anew
    assert between(before, Look({APP: 10, CRON: 5, Who("new", "x"): 4})) == {Who("new", "x"): 4}


def test_a_look_that_told_of_no_counters_is_passed_over() -> None:
    blind, first = Look(None, {}, (CRON,)), Look({APP: 900})
    assert between(blind, first) == {}  # of old, nobody knows when
    assert between(first, blind) == {CRON: 1}
    assert latest(None, blind) is None
    assert latest(blind, first) == latest(first, blind) == first


def test_programs_are_told_by_sessions_that_are_still_there() -> None:
    php = Who("app", "web", "php")
    before = Look({APP: 10}, {7: (php, 4)})
    assert between(before, Look({APP: 15}, {7: (php, 7)})) == {php: 3, APP: 2}
    # The session's number is another one's now.
    assert between(before, Look({APP: 12}, {7: (Who("app", "web", "mysql"), 1)})) == {
        Who("app", "web", "mysql"): 1,
        APP: 1,
    }


def test_who_is_met_is_not_counted_twice() -> None:
    assert between(Look({APP: 1}), Look({APP: 3}, {}, (APP, CRON))) == {APP: 2, CRON: 1}
