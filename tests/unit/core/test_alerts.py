"""What is known of an alert after each word of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from controller.core.alerts import BELIEVED_AFTER, FORGOTTEN_AFTER, RESOLVED_KEPT, Alert, KnownAlert, hear
from tests.fakes.clock import START

FIRST, SECOND = START - timedelta(hours=1), START - timedelta(minutes=1)


def word(firing: bool, start: datetime = FIRST, **labels: str) -> Alert:
    return Alert("aa", firing, start, labels)


FIRING, RESOLVED = word(True), word(False)
AGAIN, OVER = word(True, SECOND), word(False, SECOND)
LATER = START + timedelta(minutes=1)
GUESS = replace(word(True, START), presumed=True)
GUESS_OVER, COMES_BACK = replace(GUESS, firing=False), replace(GUESS, starts_at=LATER)


@dataclass(frozen=True)
class Case:
    name: str
    words: tuple[tuple[float, Alert], ...]  # seconds after the start, and what was said
    news: tuple[bool, ...]
    known: Alert  # in the end


CASES = (
    Case("the first word", ((0, FIRING),), (True,), FIRING),
    Case("an end that nobody saw begin", ((0, RESOLVED),), (True,), RESOLVED),
    Case("said again", ((0, FIRING), (60, FIRING), (120, FIRING)), (True, False, False), FIRING),
    Case("it ends", ((0, FIRING), (5, RESOLVED)), (True, True), RESOLVED),
    Case("it ends, said twice", ((0, FIRING), (5, RESOLVED), (6, RESOLVED)), (True, True, False), RESOLVED),
    Case("it comes back", ((0, FIRING), (5, RESOLVED), (9, AGAIN)), (True, True, True), AGAIN),
    Case("it comes back and nobody heard of its end", ((0, FIRING), (9, AGAIN)), (True, True), AGAIN),
    Case("a replay after the end", ((0, FIRING), (5, RESOLVED), (6, FIRING)), (True, True, False), RESOLVED),
    Case("a replay of the one before", ((0, AGAIN), (5, FIRING), (6, RESOLVED)), (True, False, False), AGAIN),
    Case(
        "replays for less than half a minute",
        ((0, OVER), (1, FIRING), (15, FIRING), (30, FIRING)),
        (True, False, False, False),
        OVER,
    ),
    Case("insisted on: a clock was set back", ((0, OVER), (1, FIRING), (61, FIRING)), (True, False, True), FIRING),
    Case("two replays hours apart", ((0, OVER), (1, FIRING), (3000, FIRING)), (True, False, False), OVER),
    Case("goes on, its start presumed", ((0, GUESS), (60, replace(GUESS, starts_at=LATER))), (True, False), GUESS),
    Case("and ends", ((0, GUESS), (60, replace(GUESS, starts_at=LATER, firing=False))), (True, True), GUESS_OVER),
    Case("an end, twice", ((0, GUESS_OVER), (60, replace(GUESS_OVER, starts_at=LATER))), (True, False), GUESS_OVER),
    Case("it comes back then", ((0, GUESS_OVER), (60, COMES_BACK)), (True, True), COMES_BACK),
    Case(
        "its own word ends the doubt",
        ((0, OVER), (1, FIRING), (20, OVER), (61, FIRING)),
        (True, False, False, False),
        OVER,
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hear(case: Case) -> None:
    known: KnownAlert | None = None
    news = []
    for seconds, said in case.words:
        known, new = hear(known, said, START + timedelta(seconds=seconds))
        news.append(new)

    assert known is not None
    assert (tuple(news), known.alert) == (case.news, case.known)


def test_when_it_came_changed_and_was_heard_of() -> None:
    def at(seconds: float) -> datetime:
        return START + timedelta(seconds=seconds)

    known, _ = hear(None, FIRING, START)
    known, _ = hear(known, FIRING, START + timedelta(seconds=60))
    assert (known.came_at, known.changed_at, known.heard_at) == (at(0), at(0), at(60))
    known, _ = hear(known, RESOLVED, START + timedelta(seconds=70))
    assert (known.came_at, known.changed_at, known.heard_at) == (at(0), at(70), at(70))
    known, _ = hear(known, AGAIN, START + timedelta(seconds=80))
    assert (known.came_at, known.changed_at, known.heard_at) == (at(80), at(80), at(80))


def test_what_is_said_of_it_may_change_while_it_fires() -> None:
    known, _ = hear(None, Alert("aa", True, FIRST, {}, {"description": "it is 0.6 s"}), START)
    known, new = hear(known, Alert("aa", True, FIRST, {}, {"description": "it is 0.9 s"}), START)

    assert (known.alert.annotations["description"], new) == ("it is 0.9 s", False)


@pytest.mark.parametrize(
    ("said", "age", "kept"),
    [
        (FIRING, timedelta(0), True),
        (FIRING, FORGOTTEN_AFTER - timedelta(seconds=1), True),
        (FIRING, FORGOTTEN_AFTER, False),
        (RESOLVED, FORGOTTEN_AFTER, True),
        (RESOLVED, RESOLVED_KEPT - timedelta(seconds=1), True),
        (RESOLVED, RESOLVED_KEPT, False),
    ],
)
def test_how_long_it_is_kept(said: Alert, age: timedelta, kept: bool) -> None:
    known, _ = hear(None, said, START)

    assert known.worth_keeping(START + age) is kept


def test_an_end_that_is_said_again_and_again_is_forgotten_all_the_same() -> None:
    known, _ = hear(None, RESOLVED, START)
    known, _ = hear(known, RESOLVED, START + RESOLVED_KEPT - timedelta(seconds=1))

    assert not known.worth_keeping(START + RESOLVED_KEPT)


def test_alertmanager_repeats_often_enough_for_what_is_forgotten_and_believed() -> None:
    repeated = timedelta(minutes=1)  # stack/alertmanager_yml.py

    assert BELIEVED_AFTER < repeated < FORGOTTEN_AFTER / 2


def test_what_it_is_about() -> None:
    alert = word(True, alertname="StokerNodeDown", node="a", pool="")

    assert (alert.name, alert.pool, alert.node) == ("StokerNodeDown", None, "a")
    assert (word(True, pool="llama").pool, word(True).name, word(True).node) == ("llama", "", None)
