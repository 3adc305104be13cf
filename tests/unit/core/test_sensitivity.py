"""The smallest change that would have led to another count really does, and a smaller one does not."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from controller.core.evaluation import Evaluation, Flip
from controller.core.model import Known, PoolReadings, Reading, Signal
from controller.core.policy import Mode, ScalingPolicy
from controller.core.scaling import decide_scale
from controller.core.sensitivity import smallest_change, value_of, what_if, with_flip
from controller.core.votes import PoolView
from tests.fakes.clock import START
from tests.unit.core import strategies as some
from tests.unit.core.build import names, only, readings, view

S = Signal
F, U, K, T, L = S.IN_FLIGHT, S.UTILIZATION, S.KV_CACHE, S.TOKENS, S.LATENCY
AT_ONCE = {"scale_down_window": timedelta(0)}
WIDE = {"floor": 1, "ceiling": 9, **AT_ONCE}


def evaluated(seen: PoolView, policy: ScalingPolicy, mode: Mode = Mode.ACTIVE) -> Evaluation:
    return decide_scale(seen, policy, START, mode)[0]


@dataclass(frozen=True)
class Case:
    name: str
    seen: PoolView
    policy: ScalingPolicy
    want: Flip | None


CASES = [
    Case("one request more", view(3, readings({F: 13})), only(F, **WIDE), Flip(F, 13, 14, 4)),
    Case("one request less", view(3, readings({F: 11})), only(F, **WIDE), Flip(F, 11, 8, 2)),
    Case("whole requests", view(3, readings({F: 12})), only(F, **WIDE), Flip(F, 12, 14, 4)),
    Case("nothing in flight, and a first request", view(1, readings({F: 0})), only(F, **WIDE), Flip(F, 0, 5, 2)),
    Case(
        "at the ceiling only less matters", view(3, readings({F: 40})), only(F, floor=3, ceiling=4), Flip(F, 40, 13, 3)
    ),
    Case("floor and ceiling are one", view(3, readings({F: 12})), only(F, floor=3, ceiling=3), None),
    Case("nothing is known", view(3), only(F, **WIDE), None),
    Case(
        "a signal that is unknown does not hide the other",
        view(3, readings(each={U: [0.7] * 3})),
        only(F, U, **WIDE),
        Flip(U, 0.7, 0.771, 4),
    ),
    Case("a mean, upwards", view(3, readings(each={K: [0.8, 0.9, 0.85]})), only(K, **WIDE), Flip(K, 0.85, 0.881, 4)),
    Case("a mean, downwards", view(4, readings(each={K: [0.61] * 4})), only(K, **WIDE), Flip(K, 0.61, 0.6, 3)),
    Case(
        "a share is at most one",
        view(9, readings(each={K: [0.85] * 9})),
        only(K, floor=1, ceiling=9),
        Flip(K, 0.85, 0.711, 8),
    ),
    Case("tokens", view(3, readings(each={T: [1000] * 3})), only(T, **WIDE), Flip(T, 1000, 1101, 4)),
    Case("latency that is not high for long", view(3, readings({L: 0.6})), only(L, **WIDE), Flip(L, 0.6, 0.333, 2)),
    Case(
        "the nearest of several, by its target",
        view(3, readings({F: 12}, {K: [0.87] * 3})),
        only(F, K, **WIDE),
        Flip(K, 0.87, 0.881, 4),
    ),
    Case(
        "without the gateway, by the replicas",
        view(3, readings(each={F: [4, 4, 4]})),
        only(F, **WIDE),
        Flip(F, 12, 14, 4),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_smallest_change(case: Case) -> None:
    flip = smallest_change(evaluated(case.seen, case.policy))

    assert (flip and replace(flip, value=round(flip.value, 9))) == case.want


def unit_of(flip: Flip, target: float) -> float:
    """The last digit that it is given in (whole requests, three digits of anything else), or what is not told apart."""
    if flip.signal is F or flip.needed <= 0:
        return 1.0
    return max(10.0 ** -max(2 - math.floor(math.log10(flip.needed)), 0), 2e-5 * target)


@settings(max_examples=40)
@given(some.views(), some.policies(), st.integers(1, 99))
def test_the_flip_flips_and_anything_smaller_does_not(seen: PoolView, policy: ScalingPolicy, percent: int) -> None:
    found = evaluated(seen, policy)
    flip = smallest_change(found)
    assume(flip is not None)
    assert flip is not None

    beyond = what_if(found, flip.signal, flip.needed)
    assert beyond.desired == flip.replicas != found.desired
    assert (flip.replicas > found.desired) == (flip.needed > flip.value), "more load, more replicas"
    target = next(vote.target for vote in found.votes if vote.signal is flip.signal)
    room = abs(flip.needed - flip.value) - unit_of(flip, target)
    if room > 0:
        nearer = flip.value + math.copysign(room * percent / 100, flip.needed - flip.value)
        assert what_if(found, flip.signal, nearer).desired == found.desired


@settings(max_examples=40)
@given(some.views(), some.policies())
def test_the_very_same_value_changes_nothing(seen: PoolView, policy: ScalingPolicy) -> None:
    found = evaluated(seen, policy)

    for vote in found.votes:
        value = value_of(vote, len(seen.ready))
        if vote.known is not Known.UNKNOWN and value is not None:
            assert what_if(found, vote.signal, value).desired == found.desired, vote


@settings(max_examples=40)
@given(some.views(), some.policies(), st.sampled_from(some.LOAD))
def test_where_there_is_no_flip_no_value_of_any_signal_makes_a_difference(
    seen: PoolView, policy: ScalingPolicy, signal: Signal
) -> None:
    found = evaluated(seen, policy)
    assume(smallest_change(found) is None)
    vote = next((vote for vote in found.votes if vote.signal is signal and vote.known is not Known.UNKNOWN), None)
    if vote is not None and vote.value is not None:
        assert what_if(found, signal, 0.0).desired == found.desired
        assert what_if(found, signal, min(vote.target, 1.0)).desired == found.desired


def test_what_if_replaces_what_there_is() -> None:
    both = evaluated(view(3, readings({F: 12}, {F: [2, 4, None]})), only(F, **WIDE))
    told = what_if(both, F, 24).view.readings
    assert told.pool[F].value == 24
    assert {name: reading.value for name, reading in told.replicas[F].items()} == {
        names(2)[0]: pytest.approx(16 / 3),
        names(2)[1]: pytest.approx(32 / 3),
    }

    gateway = what_if(evaluated(view(3, readings({F: 12})), only(F, **WIDE)), F, 24).view.readings
    assert (gateway.pool[F].value, gateway.replicas) == (24, {})

    latency = what_if(evaluated(view(3), only(L, **WIDE)), L, 2).view.readings
    assert latency.pool[L] == Reading.of(2, START), "measured now, where there was none"

    unknown = what_if(evaluated(view(2), only(U, **WIDE)), U, 0.9).view.readings
    assert unknown.replicas == {U: dict.fromkeys(names(2), Reading.of(0.9, START))}
    idle = what_if(evaluated(view(2, readings(each={U: [0, None]})), only(U, **WIDE)), U, 0.9).view.readings
    assert idle.replicas == {U: {names(1)[0]: Reading.of(0.9, START - timedelta(seconds=1))}}
    stale = PoolReadings({}, {U: {names(1)[0]: Reading.of(0.4, START - timedelta(seconds=9))}})
    fresh = what_if(evaluated(view(1, stale), only(U, **WIDE)), U, 0.9).view.readings
    assert fresh.replicas == {U: {names(1)[0]: Reading.of(0.9, START)}}


def test_what_if_keeps_everything_else() -> None:
    found = evaluated(view(3, readings({F: 12, L: 0.4}, {K: [0.5] * 3}, last_s=5)), only(F, K, L, **WIDE), Mode.PAUSED)

    other = what_if(found, F, 24)

    assert (other.mode, other.policy, other.at) == (Mode.PAUSED, found.policy, START)
    assert other.view.memory == found.view.memory
    assert other.view.readings.pool[L] == found.view.readings.pool[L]
    assert other.view.readings.replicas[K] == found.view.readings.replicas[K]
    assert other.view.readings.last_request == found.view.readings.last_request


def test_with_flip_adds_it_and_nothing_else() -> None:
    found = evaluated(view(3, readings({F: 13})), only(F, **WIDE))

    assert with_flip(found) == replace(found, flip=Flip(F, 13, 14, 4))


def test_a_paused_pool_has_none() -> None:
    assert smallest_change(evaluated(view(3, readings({F: 13})), only(F, **WIDE), Mode.PAUSED)) is None
