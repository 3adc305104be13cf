"""An alarm over time: pending, firing, resolved, unknown; and what the receiver has to be told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from controller.core.alarm import Alarm, Finding, Key, Severity, Standing, Told, due, follow, took
from tests.fakes.clock import START

HIGH = Finding(
    "StokerLatencyHigh", Severity.WARNING, (("pool", "llama"),), "Slow.", "p95 is 2 s.", timedelta(seconds=15)
)
PENDING, FIRING, RESOLVED = Standing.PENDING, Standing.FIRING, Standing.RESOLVED
HOUR = timedelta(hours=1)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def play(looks: str, finding: Finding = HIGH, every_s: float = 5) -> list[Standing | None]:
    """What stands after each look: `x` it holds, `.` it does not, `?` nobody knows; nobody is told of anything."""
    standing: Mapping[Key, Alarm] = {}
    seen: list[Standing | None] = []
    for number, look in enumerate(looks):
        found, unknown = [finding] if look == "x" else [], {finding.key} if look == "?" else set()
        standing = follow(standing, found, unknown, at(number * every_s))
        seen.append(standing[finding.key].standing if finding.key in standing else None)
    return seen


@pytest.mark.parametrize(
    ("looks", "after"),
    [
        pytest.param("xxx", [PENDING] * 3, id="a look too short"),
        pytest.param("xxxx", [PENDING] * 3 + [FIRING], id="fires at its duration"),
        pytest.param("xxx.xxxx", [PENDING] * 3 + [None] + [PENDING] * 3 + [FIRING], id="a break begins anew"),
        pytest.param("xxxx..", [PENDING] * 3 + [FIRING, RESOLVED, None], id="resolves once, then it is gone"),
        pytest.param("xxxx.x", [PENDING] * 3 + [FIRING, RESOLVED, PENDING], id="comes back"),
        pytest.param("xxxx????", [PENDING] * 3 + [FIRING] * 5, id="unknown does not resolve"),
        pytest.param("xxxx??.", [PENDING] * 3 + [FIRING] * 3 + [RESOLVED], id="known again, and over"),
        pytest.param("xx??????", [PENDING] * 8, id="unknown does not fire"),
        pytest.param("xx???x", [PENDING] * 6, id="the time in which nobody knew does not count"),
        pytest.param("xx???xx", [PENDING] * 6 + [FIRING], id="and what came before it does"),
        pytest.param("xx???.", [PENDING] * 5 + [None], id="unknown, then over"),
        pytest.param("????", [None] * 4, id="unknown begins nothing"),
    ],
)
def test_over_time(looks: str, after: Sequence[Standing | None]) -> None:
    assert play(looks) == after


def test_one_without_a_duration_fires_at_once() -> None:
    assert play("x.", replace(HIGH, lasts=timedelta(0))) == [FIRING, RESOLVED]


def test_it_has_the_newest_words_and_the_oldest_beginning() -> None:
    first = follow({}, [HIGH], (), START)
    after = follow(first, [replace(HIGH, description="p95 is 3 s.")], (), at(20))[HIGH.key]

    assert after.finding.description == "p95 is 3 s."
    assert (after.since, after.changed_at, after.standing) == (START, at(20), FIRING)


def test_a_clock_that_is_set_back_neither_fires_nor_hides_it() -> None:
    standing = follow({}, [HIGH], (), at(3600))
    standing = follow(standing, [HIGH], (), START)
    assert standing[HIGH.key].standing is PENDING
    assert follow(standing, [HIGH], (), at(15))[HIGH.key].standing is FIRING


def alarm(standing: Standing, told: Told | None = None, changed_s: float = 0) -> Alarm:
    return Alarm(HIGH, standing, START, at(changed_s), at(changed_s), told)


@pytest.mark.parametrize(
    ("known", "now_s", "is_due"),
    [
        pytest.param(alarm(PENDING), 0, False, id="pending is nobody's business"),
        pytest.param(alarm(FIRING), 0, True, id="firing"),
        pytest.param(alarm(FIRING, Told(FIRING, START)), 3599, False, id="told already"),
        pytest.param(alarm(FIRING, Told(FIRING, START)), 3600, True, id="repeated"),
        pytest.param(alarm(FIRING, Told(RESOLVED, START)), 1, True, id="fires again"),
        pytest.param(alarm(RESOLVED), 1, False, id="nobody knew of it"),
        pytest.param(alarm(RESOLVED, Told(FIRING, START)), 1, True, id="resolved"),
        pytest.param(alarm(RESOLVED, Told(RESOLVED, START)), 9999, False, id="done with"),
        pytest.param(
            alarm(PENDING, Told(FIRING, START)), 9999, False, id="about to fire again before its end was told"
        ),
    ],
)
def test_what_is_due(known: Alarm, now_s: float, is_due: bool) -> None:
    assert due([known], HOUR, at(now_s)) == ([known] if is_due else [])


def test_what_changed_first_is_told_first() -> None:
    other = replace(alarm(FIRING, changed_s=5), finding=replace(HIGH, name="StokerErrorsHigh"))
    late = alarm(FIRING, changed_s=9)

    assert due([late, other], HOUR, at(10)) == [other, late]


def test_what_was_taken_is_remembered_until_its_end_was() -> None:
    standing = follow({}, [replace(HIGH, lasts=timedelta(0))], (), START)
    fired = standing[HIGH.key]
    standing = took(standing, [replace(fired, told=Told(FIRING, at(1)))], at(2))
    assert standing[HIGH.key].told == Told(FIRING, at(1))

    for seconds in (10, 20, 30):
        standing = follow(standing, [], (), at(seconds))
        assert due(standing.values(), HOUR, at(seconds)) == [standing[HIGH.key]]
        assert standing[HIGH.key].changed_at == at(10)
    standing = took(standing, [replace(standing[HIGH.key], told=Told(RESOLVED, at(31)))], at(32))
    assert follow(standing, [], (), at(40)) == {}


def test_one_that_was_over_before_it_was_known_to_be_taken_is_told_to_be_over() -> None:
    fired = alarm(FIRING)
    standing = took({}, [replace(fired, told=Told(FIRING, at(1)))], at(9))

    assert [item.standing for item in due(standing.values(), HOUR, at(9))] == [RESOLVED]
    assert took({}, [replace(alarm(RESOLVED), told=Told(RESOLVED, at(1)))], at(9)) == {}


def test_its_end_is_told_though_it_was_about_to_fire_again() -> None:
    standing = {HIGH.key: alarm(RESOLVED, Told(FIRING, START))}
    again = follow(standing, [HIGH], (), at(5))
    assert again[HIGH.key].standing is PENDING
    over = follow(again, [], (), at(10))

    assert due(over.values(), HOUR, at(10)) == [over[HIGH.key]]


def test_one_that_nobody_takes_is_forgotten_after_a_day() -> None:
    standing = {HIGH.key: alarm(RESOLVED, Told(FIRING, START))}

    assert follow(standing, [], (), START + timedelta(hours=23)) == standing
    assert follow(standing, [], (), START + timedelta(hours=24)) == {}
