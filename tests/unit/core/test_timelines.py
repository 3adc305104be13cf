"""decide_scale over time: each line is one tick, and what it decides is what the next one finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from controller.core.cron import FloorWindow
from controller.core.decision import ReasonCode as R
from controller.core.evaluation import Evaluation
from controller.core.model import PoolMemory, Signal
from controller.core.policy import ForecastPolicy, PanicPolicy, RateLimit, ScalingPolicy
from controller.core.scaling import decide_scale
from controller.core.votes import PoolView
from tests.fakes.clock import START, FakeClock
from tests.unit.core.build import LONG_AGO, POOL, names, only, readings

F, U, K, L = Signal.IN_FLIGHT, Signal.UTILIZATION, Signal.KV_CACHE, Signal.LATENCY
FREE = RateLimit(100, 100, timedelta(seconds=15))
PLAIN = only(F, ceiling=8)


@dataclass
class Pool:
    """A pool whose replicas serve as soon as they are wanted, unless a tick says how many do."""

    policy: ScalingPolicy = PLAIN
    desired: int = 3
    clock: FakeClock = field(default_factory=FakeClock)
    new: bool = False

    def __post_init__(self) -> None:
        self.memory = PoolMemory(POOL, self.desired, history_since=None if self.new else LONG_AGO)

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def tick(
        self,
        advance_s: float,
        load: float | None = None,
        *,
        ready: int | None = None,
        starting: int = 0,
        each: dict[Signal, float] | None = None,
        latency: float | None = None,
        last_s: float | None = None,
    ) -> Evaluation:
        """`each` is the same for every replica."""
        now = self.clock.advance(advance_s)
        serving = self.memory.desired if ready is None else ready
        values = {signal: [value] * serving for signal, value in (each or {}).items()}
        seen = readings({F: load, L: latency}, values, last_s=last_s, now=now)
        view = PoolView(self.memory, names(serving), starting, 0, seen)
        evaluation, context = decide_scale(view, self.policy, now)
        self.memory = context.memory
        return evaluation

    def play(self, timeline: Sequence[tuple[float, float | None, int]]) -> None:
        """(advance_s, load, want) of each tick."""
        for advance_s, load, want in timeline:
            found = self.tick(advance_s, load)
            told = [reason.text for reason in found.reasons]
            assert found.desired == want, f"at {(self.now - START).total_seconds():g} s: {told}"


def test_scale_down_waits_until_the_peak_has_left_the_window_and_then_goes_one_by_one() -> None:
    Pool(desired=6).play(
        [
            (0, 24, 6),
            (30, 2, 6),  # the 6 of 30 s ago still counts
            (240, 2, 6),
            (59, 2, 6),  # 5:29 after the peak began, 4:59 after it ended
            (1, 2, 5),  # 5:00 after it ended: out
            (2, 2, 5),  # one in 15 s
            (12, 2, 5),
            (1, 2, 4),
            (15, 2, 3),
            (60, 2, 3),  # the floor
        ]
    )


def test_a_peak_in_between_begins_the_wait_anew() -> None:
    Pool(desired=6).play([(0, 24, 6), (30, 2, 6), (200, 24, 6), (2, 2, 6), (299, 2, 6), (1, 2, 5)])


def test_down_to_what_was_needed_at_most_within_the_window() -> None:
    pool = Pool(replace(PLAIN, rate_down=FREE), 7)
    pool.play([(0, 28, 7), (10, 20, 7), (100, 12, 7), (200, 12, 5), (99, 12, 5), (1, 12, 3)])


def test_a_gap_in_the_data_counts_as_need() -> None:
    Pool(desired=5).play(
        [
            (0, 2, 4),  # the first entry stands for all before it
            (100, None, 4),  # Prometheus is gone: what ran was needed, as far as anybody knows
            (100, 2, 4),
            (299, 2, 4),
            (1, 2, 3),
        ]
    )


def test_a_load_that_goes_up_and_down_moves_the_pool_once() -> None:
    pool = Pool()
    for number in range(200):
        pool.tick(2, 12 if number % 2 else 20)

    assert [entry.replicas for entry in pool.memory.counts] == [5]
    assert pool.memory.desired == 5


def test_history_keeps_changes_only() -> None:
    pool = Pool(desired=4)
    for _ in range(1000):
        pool.tick(2, 16)

    assert len(pool.memory.recommended) == len(pool.memory.counts) == 1


def test_up_waits_for_as_long_as_the_window_and_starts_anew_after_a_dip() -> None:
    Pool(replace(PLAIN, scale_up_window=timedelta(seconds=30))).play(
        [(0, 12, 3), (2, 23, 3), (28, 23, 3), (1, 12, 3), (1, 23, 3), (29, 23, 3), (1, 23, 6)]
    )


def test_a_spike_grows_by_four_then_doubles() -> None:
    Pool(replace(PLAIN, ceiling=40), 2).play(
        [(0, 150, 6), (2, 150, 6), (12, 150, 6), (1, 150, 12), (15, 150, 24), (15, 150, 38)]
    )


def test_a_new_controller_holds_for_the_panic_and_then_for_the_window() -> None:
    pool = Pool(desired=6, new=True)
    timeline = [
        (0, 6, R.PANIC),
        (59, 6, R.PANIC),
        (1, 6, R.WARMING_UP),
        (239, 6, R.WARMING_UP),
        (1, 5, R.RATE_LIMITED),
    ]
    for advance_s, want, why in timeline:
        found = pool.tick(advance_s, 2)
        assert (found.desired, found.reasons[-1].code) == (want, why)


def test_a_panic_begins_after_ten_seconds_and_ends_a_minute_after_the_last_of_it() -> None:
    policy = replace(PLAIN, ceiling=3, scale_down_window=timedelta(0), floor=1, rate_down=FREE)
    pool = Pool(policy)
    timeline = [
        # advance_s load want: three replicas, of which each is to have 4
        (0, 24, 3),
        (8, 24, 3),
        (2, 24, 3),  # ten seconds of twice the target
        (10, 24, 3),  # the panic is extended
        (1, 1, 3),
        (58, 1, 3),
        (1, 1, 1),  # a minute after the last of it
    ]
    pool.play(timeline)


def test_nine_seconds_of_twice_the_target_are_no_panic() -> None:
    policy = replace(PLAIN, ceiling=3, scale_down_window=timedelta(0), floor=1, rate_down=FREE)
    Pool(policy).play([(0, 24, 3), (9, 24, 3), (2, 23, 3), (2, 24, 3), (9, 24, 3), (1, 1, 1)])


def test_a_panic_skips_the_delay_upwards() -> None:
    policy = replace(PLAIN, scale_up_window=timedelta(seconds=60), panic=PanicPolicy(after=timedelta(seconds=10)))
    Pool(policy).play([(0, 12, 3), (2, 30, 3), (8, 30, 3), (2, 30, 7)])


def test_latency_adds_one_at_a_time_and_gives_each_its_time() -> None:
    pool = Pool(only(F, L, ceiling=8))
    timeline = [(0, 3), (14, 3), (1, 4), (2, 4), (14, 4), (1, 5), (2, 5)]
    for advance_s, want in timeline:
        found = pool.tick(advance_s, 10, latency=0.9)
        assert found.desired == want, f"at {(pool.now - START).total_seconds():g} s"


def test_latency_that_drops_for_a_moment_begins_anew() -> None:
    pool = Pool(only(F, L, ceiling=8))
    for advance_s, latency, want in ((0, 0.9, 3), (14, 0.9, 3), (1, 0.5, 3), (1, 0.9, 3), (14, 0.9, 3), (1, 0.9, 4)):
        assert pool.tick(advance_s, 10, latency=latency).desired == want


def test_busy_gpus_add_one_replica_and_no_more() -> None:
    pool = Pool(only(F, U, ceiling=20), 6)
    wants = [pool.tick(2, 24, each={U: 1.0}).desired for _ in range(300)]

    assert sorted(set(wants)) == [7]


def test_while_one_starts_busy_gpus_ask_for_no_further_one() -> None:
    pool = Pool(only(F, U, ceiling=20), 6)
    wants = [pool.tick(2, 26, each={U: 1.0}, ready=6, starting=1).desired for _ in range(60)]

    assert sorted(set(wants)) == [7]


def test_a_slow_start_is_waited_for() -> None:
    """2 serve and 4 are needed: those that load for ten minutes have no reading of their own."""
    pool = Pool(only(K, ceiling=20, floor=1), 2)
    assert pool.tick(0, each={K: 1.5}).desired == 4
    for _ in range(300):
        assert pool.tick(2, each={K: 1.5}, ready=2, starting=2).desired == 4
    assert pool.tick(2, each={K: 0.75}).desired == 4


def test_to_zero_and_back() -> None:
    pool = Pool(only(F, floor=0, ceiling=4, zero_after=timedelta(seconds=600)), 1)
    timeline = [
        # advance_s load last_s want
        (0, 0, 590, 1),
        (9, 0, 599, 1),
        (1, 0, 600, 0),
        (500, 0, 1100, 0),
        (2, 0, 1, 1),  # its answer was a 503
        (2, 0, 3, 1),
        (596, 0, 599, 1),
        (2, 0, 601, 0),
    ]
    for advance_s, load, last_s, want in timeline:
        found = pool.tick(advance_s, load, last_s=last_s)
        assert found.desired == want, f"at {(pool.now - START).total_seconds():g} s"


def test_the_floor_of_the_day_comes_and_goes() -> None:
    day = FloorWindow("1 12 * * *", timedelta(minutes=10), 6)
    pool = Pool(replace(PLAIN, schedule=(day,), scale_down_window=timedelta(0), rate_down=FREE))
    pool.play([(0, 4, 3), (59, 4, 3), (1, 4, 6), (599, 4, 6), (1, 4, 3)])


def test_a_ramp_is_met_before_it_comes() -> None:
    """One request more every five seconds, and replicas that need a minute: with the forecast none is late."""
    late = {}
    for enabled in (False, True):
        policy = replace(PLAIN, ceiling=20, forecast=ForecastPolicy(enabled=enabled))
        pool = Pool(policy)
        pool.memory = replace(pool.memory, cold_start_s=60.0)
        wanted: list[tuple[datetime, int]] = []
        late[enabled] = 0
        for number in range(150):
            load = 12 + 0.4 * max(number - 10, 0)
            serving = max([3, *(count for at, count in wanted if (pool.now - at).total_seconds() >= 60)])
            found = pool.tick(2, load, ready=serving, starting=max(pool.memory.desired - serving, 0))
            wanted.append((pool.now, found.desired))
            late[enabled] += load > serving * 4 * 1.1
    assert late[True] < late[False] / 3


loads = st.one_of(st.none(), st.floats(min_value=0, max_value=10_000))
ticks = st.lists(st.tuples(st.floats(0, 400), loads, st.integers(0, 2)), min_size=1, max_size=40)


@given(ticks)
def test_whatever_comes_the_bounds_hold_and_every_tick_says_why(
    ticks: list[tuple[float, float | None, int]],
) -> None:
    pool = Pool(new=True)
    for advance_s, load, starting in ticks:
        before = pool.memory.desired
        found = pool.tick(advance_s, load, starting=starting)
        assert PLAIN.floor <= found.desired <= PLAIN.ceiling
        assert found.desired >= before - 1
        assert found.reasons
        if load is None or starting:
            assert found.desired >= before


@given(st.floats(min_value=0, max_value=28))
def test_what_was_chosen_holds_the_load_and_stays(load: float) -> None:
    pool = Pool()
    first = pool.tick(0, load)
    again = pool.tick(3600, load)

    assert load <= first.desired * 4 * 1.1 + 1e-6
    assert again.desired == first.desired


@given(st.lists(st.floats(min_value=0, max_value=40), min_size=1, max_size=60))
def test_it_never_asks_for_more_than_the_highest_demand_does(demands: list[float]) -> None:
    pool = Pool()
    most = max(max(-(-demand // 4) for demand in demands), 3)

    for demand in demands:
        assert pool.tick(2, demand).desired <= min(most, 8)
