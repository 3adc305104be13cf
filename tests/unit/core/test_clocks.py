"""A clock that was set back: nothing that is remembered lies in the future."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from controller.core.clocks import without_future
from controller.core.decision import Plan
from controller.core.model import (
    Busy,
    PoolMemory,
    Recommendation,
    Replica,
    ReplicaState,
    Shadow,
    Signal,
    Snapshot,
)
from controller.core.planner import plan
from controller.core.policy import ForecastPolicy, PoolPolicy
from tests.fakes.clock import START
from tests.unit.core.build import POOL, only, probe, readings, replica
from tests.unit.core.strategies import memories, replicas

HOUR = timedelta(hours=1)
LATER = START + HOUR


def snapshot(known: PoolMemory | None = None, *seen: Replica, at: datetime = START) -> Snapshot:
    return Snapshot(at, 1, seen, {} if known is None else {POOL: known}, {})


def times_of(known: object) -> list[datetime]:
    """Every time in a memory but the one that lies in the future on purpose."""
    found: list[datetime] = []
    for part in fields(known):  # type: ignore[arg-type]
        value = getattr(known, part.name)
        if part.name == "panic_until":
            continue
        if isinstance(value, datetime):
            found.append(value)
        elif part.name == "remediations":
            found += value
        elif isinstance(value, Busy):
            found += times_of(value)
        elif part.name in ("recommended", "counts"):
            found += [entry.at for entry in value]
        elif part.name == "demand":
            found += [at for at, _ in value]
        elif part.name == "over_since":
            found += value.values()
        elif isinstance(value, Shadow):
            found += times_of(value.memory)
    return found


def test_what_is_in_order_is_left_as_it_is() -> None:
    seen = replica("llama-1", ReplicaState.READY, probe(True), ready_at=START)
    known = PoolMemory(POOL, 3, history_since=START, recommended=(Recommendation(START, 3),), panic_until=LATER)
    before = snapshot(known, seen)

    after = without_future(before)

    assert after == before
    assert after.pools[POOL] is known
    assert after.replicas[0] is seen


def test_a_replica_without_a_memory_has_no_times() -> None:
    seen = replica("llama-1", None)

    assert without_future(snapshot(None, seen)).replicas == (seen,)


def test_every_time_of_a_replica_is_at_most_now() -> None:
    seen = replica(
        "llama-1", ReplicaState.DRAINING, since=LATER, terminated_at=LATER, retiring_since=LATER, seen_at=LATER
    )
    early = snapshot(None, seen, at=START - HOUR)

    (after,) = without_future(early).replicas

    assert after.memory is not None
    assert set(times_of(after.memory)) == {START - HOUR}
    assert without_future(snapshot(None, seen)).replicas[0].memory != seen.memory, "one of its times is enough"


def test_what_a_replica_never_had_stays_away() -> None:
    seen = replica("llama-1", ReplicaState.STARTING, since=LATER)

    (after,) = without_future(snapshot(None, seen)).replicas

    assert after.memory == replace(seen.memory, since=START)  # type: ignore[type-var]


def test_a_stall_that_a_clock_from_the_future_saw_begin_is_forgotten() -> None:
    for busy in (Busy(LATER), Busy(START, slow_since=LATER)):
        ahead = replica("llama-1", ReplicaState.READY, busy=busy, holds=2, ready_at=START)
        fine = replica("llama-2", ReplicaState.READY, busy=Busy(START, slow_since=START), ready_at=START)

        first, second = without_future(snapshot(None, ahead, fine)).replicas

        assert first.memory is not None
        assert (first.memory.busy, first.memory.holds) == (None, 2)
        assert second is fine


def test_a_fuse_and_a_crash_loop_last_no_longer_than_a_window_from_now() -> None:
    known = PoolMemory(
        POOL, 1, start_failures=5, last_start_failure_at=LATER, quarantined_since=LATER, fuse_since=LATER
    )
    policy = PoolPolicy(POOL, "llama", only(Signal.IN_FLIGHT, floor=1))

    def at(seconds: float, remembered: PoolMemory) -> Plan:
        return plan(snapshot(remembered, at=START + timedelta(seconds=seconds)), (policy,))

    first = at(0, known)
    assert first.decisions == ()
    after = at(300, first.memory.pools[POOL])
    assert [item.kind for item in after.decisions] == ["start_replica"]
    assert at(599, first.memory.pools[POOL]).memory.pools[POOL].fuse_since == START
    assert at(600, first.memory.pools[POOL]).memory.pools[POOL].fuse_since is None


def whole(at: datetime) -> PoolMemory:
    """A memory with every time there is, all of them `at`."""
    history = (Recommendation(START - HOUR, 4), Recommendation(at, 3))
    inner = PoolMemory(POOL, 2, recommended=history)
    return PoolMemory(
        POOL,
        3,
        start_failures=2,
        last_start_failure_at=at,
        last_recycle_at=at,
        zero_since=at,
        remediations=(START - HOUR, at),
        fuse_since=at,
        quarantined_since=at,
        history_since=at,
        recommended=history,
        counts=history,
        over_since={"latency": at},
        panic_until=at + timedelta(seconds=60),
        demand=((START - HOUR, 1.0), (at, 2.0)),
        shadow=Shadow(inner, START, START),
    )


def test_every_time_of_a_pool_is_at_most_now() -> None:
    after = without_future(snapshot(whole(LATER))).pools[POOL]

    assert max(times_of(after)) <= START
    assert (after.desired, after.start_failures) == (3, 2)
    assert [entry.replicas for entry in after.recommended] == [4, 3]
    assert after.shadow is not None
    assert [entry.at for entry in after.shadow.memory.recommended] == [START - HOUR, START]
    assert after.panic_until is None, "nobody knows how far the clock was set back"
    assert after.demand == ()


def test_one_time_in_the_future_is_enough() -> None:
    plain = PoolMemory(POOL, 3)
    for part in (
        "last_start_failure_at",
        "last_recycle_at",
        "zero_since",
        "history_since",
        "fuse_since",
        "quarantined_since",
    ):
        known = replace(plain, **{part: LATER})
        assert getattr(without_future(snapshot(known)).pools[POOL], part) == START
    spent = replace(plain, remediations=(START - HOUR, LATER))
    assert without_future(snapshot(spent)).pools[POOL].remediations == (START - HOUR, START)
    entry = (Recommendation(LATER, 3),)
    assert without_future(snapshot(replace(plain, recommended=entry))).pools[POOL].recommended[0].at == START
    assert without_future(snapshot(replace(plain, counts=entry))).pools[POOL].counts[0].at == START
    assert without_future(snapshot(replace(plain, over_since={"panic": LATER}))).pools[POOL].over_since == {
        "panic": START
    }
    assert without_future(snapshot(replace(plain, demand=((LATER, 1.0),)))).pools[POOL].demand == ()


def test_a_panic_lasts_no_longer_than_its_hold_whatever_the_clock_did() -> None:
    """Nothing else was noted down in the hour that is gone."""
    policy = only(Signal.IN_FLIGHT, scale_down_window=timedelta(0))
    known = PoolMemory(POOL, 5, history_since=START - HOUR, panic_until=LATER + timedelta(seconds=60))
    seen = Snapshot(START, 1, (), {POOL: known}, {POOL: readings({Signal.IN_FLIGHT: 4})})

    after = plan(seen, (PoolPolicy(POOL, "llama", policy),)).memory.pools[POOL]

    assert after.desired == 5
    assert after.panic_until == START + timedelta(seconds=60)


def test_a_forecast_of_a_clock_that_was_ahead_is_forgotten() -> None:
    policy = only(Signal.IN_FLIGHT, forecast=ForecastPolicy(enabled=True))
    rising = tuple((LATER - timedelta(seconds=2 * (20 - number)), 1.0 * number) for number in range(20))
    known = PoolMemory(POOL, 3, history_since=START - HOUR, cold_start_s=60.0, demand=rising)
    seen = Snapshot(START, 1, (), {POOL: known}, {POOL: readings({Signal.IN_FLIGHT: 12})})

    after = plan(seen, (PoolPolicy(POOL, "llama", policy),)).memory.pools[POOL]

    assert (after.desired, after.demand) == (3, ((START, 12.0),))


@given(memories(3), replicas(), st.integers(0, 3000))
def test_whatever_was_remembered_nothing_lies_ahead(known: PoolMemory, seen: tuple[Replica, ...], back_s: int) -> None:
    at = START - timedelta(seconds=back_s)
    shadowed = replace(known, shadow=Shadow(known, START, START))

    after = without_future(Snapshot(at, 1, seen, {POOL: shadowed}, {}))

    assert max(times_of(after.pools[POOL]), default=at) <= at
    assert all(max(times_of(item.memory)) <= at for item in after.replicas if item.memory)
    assert without_future(after) == after
