"""Thresholds with durations: what is crossed, since when, and for long enough."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from controller.core.model import PoolReadings, Signal
from controller.core.policy import (
    ErrorsPolicy,
    LatencyPolicy,
    MemoryPolicy,
    PanicPolicy,
    ScalingPolicy,
    UtilizationPolicy,
)
from controller.core.thresholds import PANIC, crossed_by, durations_of, key_of, long_enough, next_due, watch
from controller.core.votes import Moment
from tests.fakes.clock import START, FakeClock
from tests.unit.core.build import names, only, readings, view

S = Signal
F, U, L, E, M = S.IN_FLIGHT, S.UTILIZATION, S.LATENCY, S.ERRORS, S.MEMORY
ALL = only(*S)


@dataclass(frozen=True)
class Case:
    name: str
    seen: PoolReadings
    want: list[str]
    ready: int = 3
    policy: ScalingPolicy = ALL


CASES = [
    Case("nothing known", PoolReadings(), []),
    Case("nothing known of none", PoolReadings(), [], ready=0),
    Case("latency at its threshold", readings({L: 0.5}), []),
    Case("latency above it", readings({L: 0.501}), ["latency"]),
    Case("latency idle", readings({L: 0}), []),
    Case("latency is off", readings({L: 9}), [], policy=only(F)),
    Case("utilization at its threshold", readings(each={U: [0.85, 0.85, 0.85]}), []),
    Case("utilization above it, on average", readings(each={U: [0.7, 0.9, 1.0]}), ["utilization"]),
    Case("utilization below it, on average", readings(each={U: [0.7, 0.7, 1.0]}), []),
    Case("utilization of those that tell", readings(each={U: [0.9, None, None]}), ["utilization"]),
    Case("utilization is off", readings(each={U: [1.0] * 3}), [], policy=only(F)),
    Case("utilization, none serves", readings(each={U: [1.0]}), [], ready=0),
    Case("demand below twice the target", readings({F: 23.9}), []),
    Case("demand at twice the target", readings({F: 24}), [PANIC]),
    Case("demand that the replicas tell", readings(each={F: [8, 8, 8]}), [PANIC]),
    Case("demand that one replica does not tell", readings(each={F: [8, 8, None]}), []),
    Case("the gateway and the replicas are not added", readings({F: 12}, {F: [4, 4, 4]}), []),
    Case("demand while none serves", readings({F: 8}), [PANIC], ready=0),
    Case("little demand while none serves", readings({F: 7}), [], ready=0),
    Case("demand is off", readings({F: 99}), [], policy=only(U)),
    Case("memory at its threshold", readings(each={M: [0.9, 0.1, 0.1]}), []),
    Case("memory of two above it", readings(each={M: [0.91, 0.1, 0.95]}), ["memory/llama-1", "memory/llama-3"]),
    Case("memory unknown", readings(each={M: [None, None, 0.95]}), ["memory/llama-3"]),
    Case("memory is off", readings(each={M: [0.99] * 3}), [], policy=only(F)),
    Case("errors at their threshold", readings(each={E: [0.01, 0, 0]}), []),
    Case("errors above it", readings(each={E: [0, 0.011, 0]}), ["errors/llama-2"]),
    Case("errors of the pool as a whole recycle nobody", readings({E: 0.5}), []),
    Case("errors are off", readings(each={E: [0.5] * 3}), [], policy=only(F)),
    Case("one that does not serve is not watched", readings(each={M: [0.1, 0.1, 0.1, 0.99]}), []),
    Case(
        "all at once, in a fixed order",
        readings({L: 1, F: 99}, {U: [1.0], M: [0.99], E: [0.5]}),
        ["latency", "utilization", PANIC, "memory/llama-1", "errors/llama-1"],
        ready=1,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_crossed(case: Case) -> None:
    assert crossed_by(Moment(view(3, case.seen, ready=case.ready), case.policy, START)) == case.want


def test_the_thresholds_are_those_of_the_policy() -> None:
    policy = replace(
        only(*S),
        latency=LatencyPolicy(2.0, timedelta(seconds=1)),
        utilization=UtilizationPolicy(0.5, 0.5, timedelta(seconds=2)),
        memory=MemoryPolicy(0.3, timedelta(seconds=3)),
        errors=ErrorsPolicy(0.2, timedelta(seconds=4)),
        panic=PanicPolicy(3.0, timedelta(seconds=5)),
    )
    above = readings({L: 2.1, F: 12}, {U: [0.51], M: [0.31], E: [0.21]})
    below = readings({L: 1.9, F: 11.9}, {U: [0.49], M: [0.29], E: [0.19]})
    moment = Moment(view(1, above), policy, START)

    assert len(crossed_by(moment)) == 5
    assert crossed_by(Moment(view(1, below), policy, START)) == []
    assert {key: held.total_seconds() for key, held in durations_of(moment.policy).items()} == {
        "latency": 1,
        "utilization": 2,
        "memory": 3,
        "errors": 4,
        PANIC: 5,
    }


def test_what_is_old_is_not_crossed() -> None:
    moment = Moment(view(1, readings({L: 9, F: 99}, {M: [1.0]})), ALL, START + timedelta(seconds=3))

    assert crossed_by(moment) == []


def test_a_threshold_counts_from_when_it_was_crossed_and_begins_anew_after_a_gap() -> None:
    clock, since = FakeClock(), {}
    durations = {"latency": timedelta(seconds=15), "memory": timedelta(seconds=60)}
    replica = key_of(M, names(1)[0])
    timeline = [
        # advance_s crossed long enough
        (0, ["latency"], set()),
        (14, ["latency", replica], set()),
        (1, ["latency", replica], {"latency"}),
        (1, ["latency", replica], {"latency"}),
        (1, [replica], set()),  # below, or unknown
        (1, ["latency", replica], set()),
        (14, ["latency", replica], set()),
        (1, ["latency", replica], {"latency"}),
        (41, [replica], {replica}),  # 14 s after the start, and now is 60 s after that
    ]
    for advance_s, crossed, want in timeline:
        now = clock.advance(advance_s)
        since = watch(since, crossed, now)
        assert set(since) == set(crossed)
        assert long_enough(since, durations, now) == want, f"at {now:%M:%S}"


def test_a_replica_has_its_own_threshold() -> None:
    assert key_of(M, names(2)[1]) == "memory/llama-2"


@pytest.mark.parametrize(
    ("since_s", "due_s"),
    [
        pytest.param({}, None, id="none is crossed"),
        pytest.param({"latency": 0}, 15, id="just now"),
        pytest.param({"latency": -14.5}, 0.5, id="half a second is missing"),
        pytest.param({"latency": -15}, None, id="for long enough"),
        pytest.param({"latency": -99, "memory/llama-1": -50, PANIC: -1}, 9, id="the next of several"),
    ],
)
def test_when_the_next_one_will_have_been_crossed_for_long_enough(
    since_s: dict[str, float], due_s: float | None
) -> None:
    since = {name: START + timedelta(seconds=at) for name, at in since_s.items()}

    due = next_due(since, ALL, START)

    assert due == (None if due_s is None else START + timedelta(seconds=due_s))
    if due is not None:
        assert long_enough(since, durations_of(ALL), due) > long_enough(since, durations_of(ALL), START)


def test_windows_of_a_policy_that_is_looked_at_less_often_are_as_long() -> None:
    short, second = timedelta(milliseconds=200), timedelta(seconds=1)
    quick = replace(ScalingPolicy(scrape_interval=short), scale_down_window=short, panic=PanicPolicy(after=short))
    slower = quick.scraped_every(second)

    assert slower == replace(quick, scale_down_window=second, panic=PanicPolicy(after=second), scrape_interval=second)
    assert slower.scale_up_window == timedelta(0), "none is none"
    assert all(window == 0 * second or window >= second for window in slower.windows().values())
