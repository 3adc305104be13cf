"""The promises: their limits, and that they follow the pool's settings."""

from __future__ import annotations

from datetime import timedelta

import pytest

from controller.core.policy import HealthPolicy
from controller.stack.drill.facts import Ending, Fault
from controller.stack.drill.measure import measure
from controller.stack.drill.promise import Pace, judge, patience_s, promises
from controller.stack.drill.result import Drill, Outcome
from tests.unit.stack.drill_samples import KILLED, changed, drilled, request

USUAL = Pace.of(HealthPolicy(), 2.0)
SLOWER = Pace.of(
    HealthPolicy(
        failures=5,
        probe_interval=timedelta(seconds=2),
        probe_timeout=timedelta(seconds=3),
        stall_timeout=timedelta(seconds=60),
        cold_start_deadline=timedelta(seconds=900),
        backoff_base=timedelta(seconds=20),
    ),
    4.0,
)
LIMITS = [
    #  fault                usual: detected, out, whole         slower
    (Fault.KILL, (2, 5, 300), (2, 7, 900)),
    (Fault.OOM, (2, 5, 300), (2, 7, 900)),
    (Fault.FREEZE, (6, 8, 300), (18, 22, 900)),
    (Fault.LOST_NODE, (11, 13, 311), (23, 27, 923)),
    (Fault.WEDGE, (33, 35, 330), (63, 67, 960)),
    (Fault.SLOW, (None, None, 300), (None, None, 900)),
    (Fault.EXIT_ON_START, (2, 5, 310), (2, 7, 920)),
    (Fault.DISK_FULL, (None, None, 315), (None, None, 915)),
    (Fault.HIDE_METRICS, (None, None, None), (None, None, None)),
    (Fault.ENGINE_DOWN, (None, None, None), (None, None, None)),
]


@pytest.mark.parametrize(("fault", "usual", "slower"), LIMITS)
def test_the_times_follow_the_settings(fault: Fault, usual: tuple[float | None], slower: tuple[float | None]) -> None:
    for pace, want in ((USUAL, usual), (SLOWER, slower)):
        limits = {promise.name: promise.limit for promise in promises(fault, pace)}
        assert tuple(limits.get(name) for name in ("detected_s", "out_s", "whole_s")) == want


@pytest.mark.parametrize("fault", list(Fault))
def test_no_request_fails_whatever_happens(fault: Fault) -> None:
    limits = {promise.name: promise.limit for promise in promises(fault, USUAL)}

    assert (limits["failed"], limits["cut_elsewhere"]) == (0, 0)
    assert all(promise.why for promise in promises(fault, USUAL))
    assert patience_s(fault, USUAL) > limits.get("whole_s", 0)


@pytest.mark.parametrize("fault", [Fault.HIDE_METRICS, Fault.ENGINE_DOWN])
def test_nothing_is_replaced_where_nothing_was_hit(fault: Fault) -> None:
    limits = {promise.name: promise.limit for promise in promises(fault, USUAL)}

    assert (limits["replaced"], limits["missing"]) == (0, 0)


def broken(drill: Drill) -> list[str]:
    return [verdict.promise.name for verdict in drill.verdicts if not verdict.kept]


def test_a_kill_that_went_as_it_should_keeps_all() -> None:
    assert (drilled().outcome, broken(drilled())) == (Outcome.PASSED, [])


def test_one_failed_request_breaks_it() -> None:
    drill = drilled(changed(requests=(*KILLED.requests, request(4.0, Ending.FAILED, first=False))))

    assert (drill.outcome, broken(drill)) == (Outcome.FAILED, ["failed"])


def test_what_never_happened_breaks_what_has_a_time() -> None:
    never = measure(changed(looks=KILLED.looks[:2], events=()))

    verdicts = judge(Fault.KILL, USUAL, never)

    assert [verdict.promise.name for verdict in verdicts if not verdict.kept] == ["detected_s", "out_s", "whole_s"]
    slow = judge(Fault.SLOW, USUAL, measure(changed(looks=KILLED.looks[:4], events=KILLED.events[:4])))
    assert [verdict.promise.name for verdict in slow if not verdict.kept] == ["whole_s"]
