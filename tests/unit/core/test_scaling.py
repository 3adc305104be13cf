"""decide_scale: a table of single ticks, timelines of many, and what holds for every input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.decision import ReasonCode as R
from controller.core.model import PoolMemory, Recommendation
from controller.core.policy import ScalingPolicy
from controller.core.scaling import PoolView, decide_scale
from controller.core.signals import Demand
from tests.fakes.clock import START, FakeClock
from tests.unit.core.build import POOL

POLICY = ScalingPolicy(floor=3, ceiling=8, target_in_flight=10, scale_down_window=timedelta(minutes=5))
LONG_AGO = START - timedelta(hours=1)


@dataclass(frozen=True)
class Case:
    name: str
    load: float | None
    want: int
    why: tuple[R, ...]
    desired: int = 4
    peak: int | None = None
    complete: bool = True
    moving: int = 0
    new: bool = False


CASES = [
    Case("exactly on target", 40, 4, (R.ON_TARGET,)),
    Case("inside the tolerance band", 44, 4, (R.ON_TARGET,)),
    Case("just outside it", 44.1, 5, (R.ABOVE_TARGET,)),
    Case("a spike is met at once", 75, 8, (R.ABOVE_TARGET,)),
    Case("a spike beyond the ceiling", 200, 8, (R.ABOVE_TARGET, R.AT_CEILING)),
    Case("load falls, quiet window", 25, 3, (R.BELOW_TARGET,)),
    Case("falls by much: one at a time", 31, 6, (R.BELOW_TARGET, R.ONE_AT_A_TIME), desired=7),
    Case("falls, but a peak is in the window", 25, 4, (R.BELOW_TARGET, R.STABILIZED), peak=4),
    Case("an old peak never scales up", 25, 4, (R.BELOW_TARGET, R.STABILIZED), peak=8),
    Case("falls while another drains", 25, 4, (R.BELOW_TARGET, R.ONE_AT_A_TIME), moving=1),
    Case("rises while another drains", 50, 5, (R.ABOVE_TARGET,), moving=1),
    Case("falls, a new controller", 25, 4, (R.BELOW_TARGET, R.WARMING_UP), new=True),
    Case("rises, a new controller", 61, 7, (R.ABOVE_TARGET,), new=True),
    Case("idle never goes below the floor", 0, 3, (R.BELOW_TARGET, R.AT_FLOOR), desired=3),
    Case("no data holds", None, 4, (R.NO_DATA,)),
    Case("no data still repairs to the floor", None, 3, (R.NO_DATA, R.AT_FLOOR), desired=0),
    Case("no data still keeps the ceiling", None, 8, (R.NO_DATA, R.AT_CEILING), desired=9),
    Case("a part missing holds", 25, 4, (R.BELOW_TARGET, R.PARTIAL_DATA), complete=False),
    Case("a part missing may grow", 50, 5, (R.ABOVE_TARGET,), complete=False),
    Case("one more would do nothing", 39, 4, (R.ON_TARGET,)),
    Case("same count outside the band", 35, 4, (R.ON_TARGET,)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_decide_scale(case: Case) -> None:
    past = () if case.peak is None else (Recommendation(START - timedelta(minutes=1), case.peak),)
    memory = PoolMemory(POOL, case.desired, history_since=None if case.new else LONG_AGO, recommended=past)
    demand = None if case.load is None else Demand(case.load, case.complete, 1.0)

    step, after = decide_scale(PoolView(memory, demand, case.moving), POLICY, START)

    codes = tuple(reason.code for reason in step.reasons)
    assert (step.replicas, codes, after.desired) == (case.want, case.why, case.want)


def test_scale_down_waits_until_the_peak_has_left_the_window_and_then_goes_one_by_one() -> None:
    clock, memory = FakeClock(), PoolMemory(POOL, 6, history_since=LONG_AGO)
    timeline = [
        # advance_s load want
        (0, 60, 6),
        (30, 5, 6),  # the 6 of 30 s ago still counts
        (240, 5, 6),
        (59, 5, 6),  # 5:29 after the peak began, 4:59 after it ended
        (2, 5, 5),  # 5:01 after it ended: out
        (2, 5, 4),
        (2, 5, 3),
        (2, 5, 3),  # the floor
    ]
    for advance_s, load, want in timeline:
        now = clock.advance(advance_s)
        step, memory = decide_scale(PoolView(memory, Demand(load, True, 1), 0), POLICY, now)
        assert step.replicas == want, f"at {now:%M:%S}: {step}"


def test_a_gap_in_the_data_counts_as_need() -> None:
    clock, memory = FakeClock(), PoolMemory(POOL, 5, history_since=LONG_AGO)
    timeline: list[tuple[float, float | None, int]] = [
        (0, 5, 5),  # the first entry stands for all before it
        (100, None, 5),  # Prometheus is gone: what ran was needed, as far as anybody knows
        (100, 5, 5),
        (299, 5, 5),
        (2, 5, 4),
    ]
    memory = replace(memory, recommended=(Recommendation(START - timedelta(seconds=10), 5),))
    for advance_s, load, want in timeline:
        now = clock.advance(advance_s)
        demand = None if load is None else Demand(load, True, 1)
        step, memory = decide_scale(PoolView(memory, demand, 0), POLICY, now)
        assert step.replicas == want, f"at {now:%M:%S}: {step}"


def test_history_keeps_changes_only() -> None:
    clock, memory = FakeClock(), PoolMemory(POOL, 4, history_since=LONG_AGO)
    for _ in range(1000):
        _, memory = decide_scale(PoolView(memory, Demand(40, True, 1), 0), POLICY, clock.advance(2))

    assert len(memory.recommended) == 1


loads = st.one_of(st.none(), st.floats(min_value=0, max_value=10_000))


@given(st.lists(st.tuples(st.floats(0, 400), loads, st.booleans(), st.integers(0, 2)), min_size=1, max_size=60))
def test_whatever_comes_the_bounds_hold_and_every_change_has_its_reason(
    ticks: list[tuple[float, float | None, bool, int]],
) -> None:
    clock, memory = FakeClock(), PoolMemory(POOL, 3)
    for advance_s, load, complete, moving in ticks:
        before = memory.desired
        demand = None if load is None else Demand(load, complete, 1)
        step, memory = decide_scale(PoolView(memory, demand, moving), POLICY, clock.advance(advance_s))
        assert POLICY.floor <= step.replicas <= POLICY.ceiling
        assert step.replicas >= before - 1
        assert step.reasons
        if load is None or not complete or moving:
            assert step.replicas >= before


@given(st.floats(min_value=0, max_value=80))
def test_what_was_chosen_is_within_the_target_and_stays(load: float) -> None:
    memory = PoolMemory(POOL, 3, history_since=LONG_AGO)
    step, memory = decide_scale(PoolView(memory, Demand(load, True, 1), 0), POLICY, START)
    again, _ = decide_scale(PoolView(memory, Demand(load, True, 1), 0), POLICY, START + timedelta(hours=1))

    assert load <= step.replicas * POLICY.target_in_flight * (1 + POLICY.tolerance) + 1e-9
    assert again.replicas == step.replicas
