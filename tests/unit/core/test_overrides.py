"""What people want of a pool while it runs, and what becomes of its policy."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.cron import FloorWindow
from controller.core.model import PoolMemory, PoolName, Snapshot
from controller.core.overrides import Bounds, Override, Pause, bounded, overridden
from controller.core.planner import plan
from controller.core.policy import ImpossiblePolicy, Mode, PoolPolicy, ScalingPolicy, TargetPolicy, UtilizationPolicy
from controller.core.reason import ReasonCode
from tests.fakes.clock import START
from tests.unit.core.build import POOL

SCALING = ScalingPolicy(floor=3, ceiling=6)
POLICY = PoolPolicy(POOL, "llama", SCALING)
MORNING = FloorWindow("0 8 * * *", timedelta(hours=10), 5)
BOUNDS = Bounds(4, 8, START, "alice", "launch day")
PAUSE = Pause(START, "bob", until=START + timedelta(minutes=10))


def in_force(
    policy: PoolPolicy = POLICY, *, pause: Pause | None = None, bounds: Bounds | None = None, later_s: float = 0
) -> PoolPolicy:
    wanted = [Override(PoolName("other"), PAUSE, BOUNDS), Override(POOL, pause, bounds)]
    (found,) = overridden([policy], wanted, START + timedelta(seconds=later_s))
    return found


def test_without_a_wish_the_policy_is_that_of_the_configuration() -> None:
    assert overridden([POLICY], [], START) == (POLICY,)
    assert in_force() == POLICY


def test_bounds_take_the_place_of_those_of_the_configuration_and_say_whose_they_are() -> None:
    found = in_force(bounds=BOUNDS)
    assert (found.scaling.floor, found.scaling.ceiling) == (4, 8)
    assert replace(found, scaling=SCALING, notes=()) == POLICY
    (note,) = found.notes
    assert (note.code, note.text) == (
        ReasonCode.BOUNDS_SET,
        "bounds 4 to 8, instead of 3 to 6, set by alice: launch day",
    )


@pytest.mark.parametrize(
    ("floor", "ceiling", "window"),
    [
        pytest.param(1, 8, 5, id="a-window-still-raises-the-floor"),
        pytest.param(1, 4, 4, id="and-no-further-than-the-ceiling"),
        pytest.param(6, 6, 5, id="and-is-nothing-beside-a-higher-floor"),
    ],
)
def test_floors_by_the_calendar_stay_within_the_new_bounds(floor: int, ceiling: int, window: int) -> None:
    found = bounded(replace(SCALING, schedule=(MORNING,)), floor, ceiling)
    assert (found.floor, found.ceiling, found.schedule[0].floor) == (floor, ceiling, window)


@pytest.mark.parametrize(
    ("floor", "ceiling", "sentence"),
    [
        (5, 3, "floor 5 is above ceiling 3; make the floor at most the ceiling"),
        (-1, 3, "floor is -1; it must be at least 0"),
        (0, 0, "ceiling is 0; it must be at least 1"),
    ],
)
def test_bounds_that_can_never_hold_are_refused(floor: int, ceiling: int, sentence: str) -> None:
    with pytest.raises(ImpossiblePolicy, match=sentence):
        bounded(replace(SCALING, schedule=(MORNING,)), floor, ceiling)


def test_bounds_that_a_changed_configuration_does_not_allow_are_left_out_and_that_is_said() -> None:
    off = TargetPolicy(1.0, enabled=False)
    fixed = replace(
        SCALING,
        floor=3,
        ceiling=3,
        in_flight=off,
        utilization=UtilizationPolicy(enabled=False),
        latency=replace(SCALING.latency, enabled=False),
    )
    found = in_force(replace(POLICY, scaling=fixed), bounds=BOUNDS)
    assert found.scaling == fixed
    assert [note.code for note in found.notes] == [ReasonCode.BOUNDS_REFUSED]
    assert "not in force, since no signal is enabled" in found.notes[0].text


@pytest.mark.parametrize(("later_s", "mode"), [(0, Mode.PAUSED), (599, Mode.PAUSED), (600, Mode.SHADOW)])
def test_a_pause_holds_until_its_time_is_up_and_no_second_policy_is_scored_meanwhile(later_s: int, mode: Mode) -> None:
    shadowed = replace(POLICY, mode=Mode.SHADOW, shadow=SCALING)
    found = in_force(shadowed, pause=PAUSE, later_s=later_s)
    assert (found.mode, found.shadow is None) == (mode, mode is Mode.PAUSED)
    assert [note.text for note in found.notes] == (
        ["paused by bob until 2026-01-05 12:10:00 UTC"] if mode is Mode.PAUSED else []
    )


def planned(policy: PoolPolicy, desired: int) -> tuple[int, list[str], list[ReasonCode]]:
    """The count, what its decision says, and what stands over the pool."""
    snapshot = Snapshot(START, 1, (), {POOL: PoolMemory(POOL, desired, history_since=START)}, {})
    made = plan(snapshot, [policy])
    told = [reason.text for decision in made.decisions[:1] for reason in decision.reasons]
    return made.memory.pools[POOL].desired, told, [reason.code for reason in made.standing[POOL]]


def test_the_decision_says_who_set_the_bounds_that_led_to_it() -> None:
    count, told, standing = planned(in_force(bounds=BOUNDS), desired=3)
    assert count == 4
    assert told[-2:] == ["the floor is 4", "bounds 4 to 8, instead of 3 to 6, set by alice: launch day"]
    assert standing.count(ReasonCode.BOUNDS_SET) == 1


def test_bounds_that_moved_nothing_are_no_reason_and_stand_over_the_pool_all_the_same() -> None:
    count, told, standing = planned(in_force(bounds=BOUNDS), desired=5)
    assert count == 5
    assert not any("alice" in text for text in told)
    assert standing.count(ReasonCode.BOUNDS_SET) == 1


@given(
    floor=st.integers(0, 9),
    more=st.integers(0, 9),
    desired=st.integers(0, 20),
    window=st.integers(1, 6),
    paused=st.booleans(),
)
def test_bounds_hold_whatever_else_is_wanted(floor: int, more: int, desired: int, window: int, paused: bool) -> None:
    ceiling = max(floor + more, 1)
    always = FloorWindow("* * * * *", timedelta(hours=1), window)
    policy = replace(POLICY, scaling=replace(SCALING, schedule=(always,)))
    wish = Bounds(floor, ceiling, START, "alice")
    count, _, _ = planned(in_force(policy, bounds=wish, pause=PAUSE if paused else None), desired)
    assert floor <= count <= ceiling
    assert paused or count >= min(window, ceiling)
