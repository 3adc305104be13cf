"""A second policy beside the live one: what it sees, and how both are scored."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.core.evaluation import Evaluation
from controller.core.model import PoolReadings, Shadow, Signal, Snapshot
from controller.core.planner import plan
from controller.core.policy import Mode, PoolPolicy, ScalingPolicy, TargetPolicy
from controller.core.scaling import decide_scale
from controller.core.shadow import cast
from controller.core.votes import PoolView
from tests.fakes.clock import START, FakeClock
from tests.unit.core.build import POOL, only, readings, view

S = Signal
F, U = S.IN_FLIGHT, S.UTILIZATION
AT_ONCE = {"scale_down_window": timedelta(0)}
LIVE = only(F, floor=2, ceiling=8, **AT_ONCE)
EAGER = replace(LIVE, in_flight=TargetPolicy(2.0))


def evaluated(seen: PoolView, now_s: float = 0.0, policy: ScalingPolicy = LIVE) -> Evaluation:
    return decide_scale(seen, policy, START + timedelta(seconds=now_s))[0]


def busy(desired: int, in_flight: float | None, now_s: float = 0.0) -> PoolView:
    return view(desired, readings({F: in_flight}, now=START + timedelta(seconds=now_s)))


def test_a_shadow_begins_at_the_live_count_and_what_was_remembered() -> None:
    live = evaluated(busy(3, 12))

    shadow = cast(live, LIVE, None)

    assert shadow.since == shadow.at == START
    assert (shadow.memory.desired, shadow.memory.history_since) == (3, live.view.memory.history_since)
    assert (shadow.replica_s, shadow.short_s, shadow.changes) == (0, 0, 0)
    assert (shadow.live_replica_s, shadow.live_short_s, shadow.live_changes) == (0, 0, 0)


def test_it_decides_by_its_own_policy() -> None:
    shadow = cast(evaluated(busy(3, 12)), EAGER, None)

    assert shadow.memory.desired == 6
    assert shadow.memory.shadow is None
    assert shadow.changes == 1
    assert shadow.live_changes == 0


def test_both_are_scored_by_the_same_measure_over_the_same_time() -> None:
    clock = FakeClock()
    shadow: Shadow | None = None
    timeline = [
        # advance_s live in_flight -> shadow; live and shadow short of what the live target allows
        (0, 3, 12, 6),
        (2, 3, 14, 7),  # 14 are more than 3 * 4 * 1.1: 2 s short for the live one
        (2, 4, 32, 7),  # 32 are more than 4 * 4.4 and more than 7 * 4.4 = 30.8; four more in 15 s are allowed
        (2, 4, 4, 6),  # 4 on 4: none is short, and the shadow goes back by one
    ]
    for advance_s, live, in_flight, want in timeline:
        now = clock.advance(advance_s)
        shadow = cast(
            evaluated(busy(live, in_flight, (now - START).total_seconds()), (now - START).total_seconds()),
            EAGER,
            shadow,
        )
        assert shadow.memory.desired == want, f"at {now:%S}"

    assert shadow is not None
    assert shadow.replica_s == 2 * 6 + 2 * 7 + 2 * 7
    assert shadow.live_replica_s == 2 * 3 + 2 * 4 + 2 * 4
    assert (shadow.short_s, shadow.live_short_s) == (2, 4)
    assert (shadow.changes, shadow.live_changes) == (3, 3)
    assert (shadow.since, shadow.at) == (START, clock.now())


@pytest.mark.parametrize(("passed_s", "scored_s"), [(0, 0), (59, 59), (60, 60), (3600, 60), (-30, 0)])
def test_a_controller_that_was_away_scores_no_more_than_a_minute(passed_s: float, scored_s: float) -> None:
    first = cast(evaluated(busy(3, 12)), LIVE, None)

    second = cast(evaluated(busy(3, 12, passed_s), passed_s), LIVE, first)

    assert (second.replica_s, second.live_replica_s) == (3 * scored_s, 3 * scored_s)


def test_without_a_count_of_the_demand_none_is_short() -> None:
    shadow = cast(evaluated(busy(3, None)), LIVE, None)
    shadow = cast(evaluated(busy(3, None, 2), 2), LIVE, shadow)

    assert (shadow.short_s, shadow.live_short_s) == (0, 0)


def test_the_edge_of_the_tolerance_is_not_short() -> None:
    shadow = cast(evaluated(busy(5, 22)), LIVE, None)
    assert cast(evaluated(busy(5, 22, 2), 2), LIVE, shadow).live_short_s == 0
    assert cast(evaluated(busy(5, 22.1, 2), 2), LIVE, shadow).live_short_s == 2


def test_its_replicas_share_what_the_live_ones_carry() -> None:
    policy = only(U, floor=1, ceiling=8, **AT_ONCE)
    three = Shadow(replace(view(3).memory, desired=3), START, START)
    # six live ones at 35 % are three at 70 %
    seen = view(6, readings(each={U: [0.35] * 6}))
    assert cast(evaluated(seen), policy, three).memory.desired == 3
    # and at 49 % three have 98 %: five
    seen = view(6, readings(each={U: [0.49] * 6}))
    assert cast(evaluated(seen), policy, three).memory.desired == 4, "alone it asks for one more than serve"


def test_one_that_does_not_tell_is_taken_for_the_mean_of_the_others() -> None:
    policy = only(S.KV_CACHE, floor=1, ceiling=9, **AT_ONCE)
    three = Shadow(view(3).memory, START, START)
    seen = view(4, readings(each={S.KV_CACHE: [0.9, None, 0.9, 0.9]}))

    assert cast(evaluated(seen), policy, three).memory.desired == 5, "4 * 0.9 on 3 are 1.2 each, at 0.8: 4.5"


@pytest.mark.parametrize("seen", [PoolReadings(), readings(each={U: [None, None, None]})])
def test_what_is_unknown_of_all_is_unknown_of_the_shadow(seen: PoolReadings) -> None:
    policy = only(U, floor=1, ceiling=8, **AT_ONCE)
    five = Shadow(view(5).memory, START, START)

    assert cast(evaluated(view(3, seen)), policy, five).memory.desired == 5


def test_a_reading_is_as_old_as_the_oldest_that_it_is_made_of() -> None:
    policy = only(U, floor=1, ceiling=8, **AT_ONCE)
    five = Shadow(view(5).memory, START, START)
    fresh, old = readings(each={U: [0.1, 0.1]}), readings(each={U: [0.1]}, now=START - timedelta(seconds=2.5))
    mixed = PoolReadings({}, {U: {**fresh.replicas[U], **old.replicas[U]}})

    assert cast(evaluated(view(2, fresh)), policy, five).memory.desired == 4
    assert cast(evaluated(view(2, mixed)), policy, five).memory.desired == 5, "3.5 s old: unknown"


def test_the_plan_carries_it_and_the_live_decisions_stay_as_they_were() -> None:
    alone = PoolPolicy(POOL, "llama", LIVE)
    beside = PoolPolicy(POOL, "llama", LIVE, mode=Mode.SHADOW, shadow=EAGER)
    seen = Snapshot(START, 1, (), {POOL: view(3).memory}, {POOL: readings({F: 12})})

    with_shadow, without = plan(seen, (beside,)), plan(seen, (alone,))

    known = with_shadow.memory.pools[POOL].shadow
    assert with_shadow.decisions == without.decisions
    assert known is not None
    assert known.memory.desired == with_shadow.evaluations[POOL].shadow == 6
    assert without.memory.pools[POOL].shadow is without.evaluations[POOL].shadow is None
    again = plan(replace(seen, pools=with_shadow.memory.pools), (beside,))
    shadow = again.memory.pools[POOL].shadow
    assert shadow is not None
    assert replace(shadow, memory=known.memory) == known, "in the same moment nothing more is scored"
