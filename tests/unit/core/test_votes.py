"""What each signal says of a pool, and the count that it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from controller.core.model import Known, PoolReadings, Reading, Signal
from controller.core.policy import ScalingPolicy, TargetPolicy
from controller.core.votes import Moment, PoolView, Vote, votes_of
from tests.fakes.clock import START
from tests.unit.core.build import names, only, reading, readings, view

S = Signal
F, U, K, T, L = S.IN_FLIGHT, S.UTILIZATION, S.KV_CACHE, S.TOKENS, S.LATENCY


@dataclass(frozen=True)
class Says:
    """The parts of a vote that a case is about."""

    known: Known = Known.VALUE
    value: float | None = None
    load: float | None = None
    wanted: int | None = None
    unguarded: int | None = None


def says(vote: Vote) -> Says:
    rounded = [None if number is None else round(number, 6) for number in (vote.value, vote.load)]
    return Says(vote.known, rounded[0], rounded[1], vote.wanted, vote.unguarded)


def voted(seen: PoolView, policy: ScalingPolicy, *over: str) -> dict[Signal, Vote]:
    return {vote.signal: vote for vote in votes_of(Moment(seen, policy, START, frozenset(over)))}


@dataclass(frozen=True)
class Case:
    name: str
    view: PoolView
    want: Says
    signal: Signal = F
    over: bool = False
    also: tuple[Signal, ...] = ()
    tolerance: float = 0.1


def mean(desired: int, *values: float | None, ready: int | None = None, of: Signal = U) -> PoolView:
    return view(desired, readings(each={of: values}), ready=ready if ready is not None else len(values))


IDLE, UNKNOWN = Known.IDLE, Known.UNKNOWN
CASES = [
    # requests in flight: the whole demand, from the gateway or the replicas, whichever sees more
    Case("gateway alone", view(3, readings({F: 21})), Says(value=7, load=21, wanted=6, unguarded=6)),
    Case("gateway idle", view(3, readings({F: 0})), Says(IDLE, 0, 0, 0, 0)),
    Case(
        "the replicas see more",
        view(3, readings({F: 10}, {F: [5, 6, 7]})),
        Says(value=6, load=18, wanted=5, unguarded=5),
    ),
    Case(
        "the gateway sees more, and one replica is silent",
        view(3, readings({F: 18}, {F: [5, None, 7]})),
        Says(value=6, load=18, wanted=5, unguarded=5),
    ),
    Case("an idle gateway over busy replicas", view(2, readings({F: 0}, {F: [5, 5]})), Says(Known.VALUE, 5, 10, 3, 3)),
    Case("inside the tolerance", view(3, readings({F: 13.2})), Says(value=4.4, load=13.2, wanted=3, unguarded=3)),
    Case(
        "its own tolerance",
        view(3, readings({F: 14})),
        Says(value=4.666667, load=14, wanted=3, unguarded=3),
        tolerance=0.2,
    ),
    Case(
        "those to come count", view(5, readings({F: 20}), ready=3), Says(value=6.666667, load=20, wanted=5, unguarded=5)
    ),
    Case("none serves", view(0, readings({F: 3})), Says(value=3, load=3, wanted=1, unguarded=1)),
    Case("nobody says anything", view(3), Says(UNKNOWN)),
    Case(
        "without the gateway the replicas' mean",
        view(3, readings(each={F: [6, 7, 8]})),
        Says(value=7, load=21, wanted=6, unguarded=6),
    ),
    Case(
        "without the gateway, one missing is full when shrinking",
        view(3, readings(each={F: [0, 1, None]})),
        Says(value=0.5, load=5, wanted=2, unguarded=2),
    ),
    Case(
        "without the gateway, one missing is empty when growing",
        view(3, readings(each={F: [8, 8, None]})),
        Says(value=8, load=20, wanted=4, unguarded=4),
    ),
    # the mean of a signal of the replicas
    Case("on target", mean(3, 0.7, 0.7, 0.7), Says(value=0.7, load=2.1, wanted=3, unguarded=3), U),
    Case("above target", mean(3, 0.9, 0.9, 0.9), Says(value=0.9, load=2.7, wanted=4, unguarded=4), U),
    Case("below target", mean(4, 0.1, 0.1, 0.1, 0.1), Says(value=0.1, load=0.4, wanted=1, unguarded=1), U),
    Case("all idle", mean(2, 0.0, 0.0), Says(IDLE, 0, 0, 0, 0), U),
    Case(
        "one missing, filled up to full", mean(3, 0.2, 0.2, None), Says(value=0.2, load=1.4, wanted=2, unguarded=2), U
    ),
    Case("all missing", mean(3, None, None, None), Says(UNKNOWN), U),
    Case("nothing of the signal at all", view(3), Says(UNKNOWN), U),
    Case("none serves, of a mean", view(3, readings(each={U: [0.9]}), ready=0), Says(UNKNOWN), U),
    Case(
        "missing tokens are a whole target",
        mean(3, 900, 0, None, of=T),
        Says(value=450, load=1900, wanted=2, unguarded=2),
        T,
    ),
    Case(
        "missing tokens, and less of them",
        mean(3, 400, 0, None, of=T),
        Says(value=200, load=1400, wanted=2, unguarded=2),
        T,
    ),
    Case("KV cache", mean(2, 0.9, 1.0, of=K), Says(value=0.95, load=1.9, wanted=3, unguarded=3), K),
    # replicas that are to come: with them, and without
    Case("two to come cover it", mean(5, 0.9, 0.9, 0.9), Says(value=0.9, load=2.7, wanted=5, unguarded=5), U),
    Case("one to come does not", mean(3, 1.4, 1.4), Says(value=1.4, load=2.8, wanted=4, unguarded=4), U),
    Case(
        "one to come, and it covers part", mean(4, 1.4, 1.4, 1.4), Says(value=1.4, load=4.2, wanted=6, unguarded=6), U
    ),
    Case(
        "on target holds what is desired", mean(5, 0.7, 0.7, 0.7), Says(value=0.7, load=2.1, wanted=5, unguarded=5), U
    ),
    Case(
        "to come, and shrinking all the same",
        mean(5, 0.1, 0.1, 0.1),
        Says(value=0.1, load=0.3, wanted=1, unguarded=1),
        U,
    ),
    Case("to come, and nearly at target", mean(5, 0.6, 0.6, 0.6), Says(value=0.6, load=1.8, wanted=3, unguarded=5), U),
    # more serve than are desired: those that stay take over
    Case("more than desired, all busy", mean(3, *[0.7] * 5), Says(value=0.7, load=3.5, wanted=5, unguarded=5), U),
    Case("more than desired, and busier", mean(3, *[0.8] * 5), Says(value=0.8, load=4.0, wanted=6, unguarded=6), U),
    Case(
        "more than desired, three would do", mean(3, *[0.44] * 5), Says(value=0.44, load=2.2, wanted=3, unguarded=3), U
    ),
    Case("more than desired, one would do", mean(3, *[0.1] * 5), Says(value=0.1, load=0.5, wanted=1, unguarded=1), U),
    Case(
        "more than desired, the missing one may be anything",
        mean(3, 0.4, 0.4, 0.4, 0.4, None),
        Says(value=0.4, load=2.6, wanted=3, unguarded=3),
        U,
    ),
    Case(
        "more than desired, not needed even if it is full",
        mean(4, 0.1, 0.1, 0.1, 0.1, None),
        Says(value=0.1, load=1.4, wanted=2, unguarded=2),
        U,
    ),
    Case(
        "more than desired, the tolerance holds",
        mean(6, *[0.43] * 8),
        Says(value=0.43, load=3.44, wanted=6, unguarded=6),
        U,
        tolerance=0.2,
    ),
    # utilisation above its threshold for its time: one more
    Case(
        "over, inside the tolerance", mean(3, 0.7, 0.7, 0.7), Says(value=0.7, load=2.1, wanted=4, unguarded=4), U, True
    ),
    Case(
        "over, and more by the target",
        mean(3, 1.4, 1.4, 1.4),
        Says(value=1.4, load=4.2, wanted=6, unguarded=6),
        U,
        True,
    ),
    Case(
        "over, one is to come", mean(4, 0.75, 0.75, 0.75), Says(value=0.75, load=2.25, wanted=4, unguarded=4), U, True
    ),
    Case(
        "over, more serve than are desired",
        mean(3, *[0.4] * 5),
        Says(value=0.4, load=2, wanted=4, unguarded=4),
        U,
        True,
    ),
    Case(
        "over, one does not tell",
        mean(3, 0.9, 0.9, None),
        Says(value=0.9, load=2.8, wanted=4, unguarded=4),
        U,
        over=True,
    ),
    # latency: one more above, in proportion below
    Case(
        "latency above, not for long, three to come",
        view(5, readings({L: 0.75}), ready=2),
        Says(value=0.75, load=1.5, wanted=5, unguarded=5),
        L,
    ),
    Case("ten in the tolerance", view(10, readings({L: 0.45})), Says(value=0.45, load=4.5, wanted=10, unguarded=10), L),
    Case("latency unknown", view(3), Says(UNKNOWN), L),
    Case("latency unknown, though over", view(3), Says(UNKNOWN), L, True),
    Case(
        "latency above, not for long", view(3, readings({L: 0.9})), Says(value=0.9, load=2.7, wanted=3, unguarded=3), L
    ),
    Case(
        "latency above for its time",
        view(3, readings({L: 0.9})),
        Says(value=0.9, load=2.7, wanted=4, unguarded=4),
        L,
        True,
    ),
    Case(
        "latency above, two are to come",
        view(5, readings({L: 0.9}), ready=3),
        Says(value=0.9, load=2.7, wanted=5, unguarded=5),
        L,
        True,
    ),
    Case(
        "latency inside the tolerance",
        view(4, readings({L: 0.46})),
        Says(value=0.46, load=1.84, wanted=4, unguarded=4),
        L,
    ),
    Case("latency a fifth of it", view(5, readings({L: 0.1})), Says(value=0.1, load=0.5, wanted=1, unguarded=1), L),
    Case(
        "latency never asks for more below",
        view(3, readings({L: 0.4}), ready=5),
        Says(value=0.4, load=2, wanted=3, unguarded=3),
        L,
    ),
    Case("latency of nobody", view(3, readings({L: 0})), Says(IDLE, 0, 0, 0, 0), L),
    Case("slow with little to do", view(3, readings({L: 0.9, F: 5.9})), Says(value=0.9), L, True, (F,)),
    Case(
        "slow at half of the target",
        view(3, readings({L: 0.9, F: 6})),
        Says(value=0.9, load=2.7, wanted=4, unguarded=4),
        L,
        True,
        (F,),
    ),
    Case("fast with little to do", view(3, readings({L: 0.1, F: 5.9})), Says(value=0.1), L, False, (F,)),
    Case(
        "slow, and nobody knows the load",
        view(3, readings({L: 0.9})),
        Says(value=0.9, load=2.7, wanted=4, unguarded=4),
        L,
        True,
        (F,),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_vote(case: Case) -> None:
    policy = only(case.signal, *case.also, tolerance=case.tolerance)
    found = voted(case.view, policy, *([case.signal.value] if case.over else []))

    assert says(found[case.signal]) == case.want


def test_only_enabled_signals_vote_and_memory_and_errors_never_do() -> None:
    everything = only(*S)
    seen = view(3, readings({F: 12, L: 0.4}, {signal: [0.5] * 3 for signal in (U, K, T, S.ERRORS, S.MEMORY)}))

    assert list(voted(seen, everything)) == [F, U, K, T, L]
    for signal in (F, U, K, T, L):
        assert list(voted(seen, only(signal))) == [signal]
    assert voted(seen, only(S.MEMORY, S.ERRORS, ceiling=3)) == {}


def test_each_is_measured_against_its_own_target() -> None:
    policy = replace(only(*S), in_flight=TargetPolicy(6), kv_cache=TargetPolicy(0.5), tokens=TargetPolicy(10))

    assert {signal: vote.target for signal, vote in voted(view(3), policy).items()} == {
        F: 6,
        U: 0.7,
        K: 0.5,
        T: 10,
        L: 0.5,
    }


def _aged(ages: Mapping[str, float]) -> PoolReadings:
    each = {name: reading(1, ages[name]) for name in names(3) if name in ages}
    return PoolReadings({S.IN_FLIGHT: reading(5, ages["pool"])} if "pool" in ages else {}, {F: each, U: each})


@pytest.mark.parametrize(
    ("ages", "of_demand", "of_mean"),
    [
        pytest.param({"pool": 1.0}, 1.0, None, id="gateway"),
        pytest.param({"pool": 1.0, "llama-1": 2.5, "llama-2": 0.5}, 2.5, 2.5, id="the oldest counts"),
        pytest.param({"pool": 3.0, "llama-1": 2.5}, 3.0, 2.5, id="the gateway is the oldest"),
        pytest.param({"llama-1": 1.0, "llama-2": 2.0}, 2.0, 2.0, id="replicas"),
        pytest.param({"pool": 1.0, "llama-1": 3.1}, 1.0, None, id="too old is not there"),
        pytest.param({"pool": -2.0, "llama-1": -2.0}, 0.0, 0.0, id="a clock that is ahead"),
    ],
)
def test_the_age_is_that_of_the_oldest_that_was_used(
    ages: dict[str, float], of_demand: float, of_mean: float | None
) -> None:
    found = voted(view(3, _aged(ages)), only(F, U))

    assert (found[F].age_s, found[U].age_s) == (of_demand, of_mean)


def test_the_age_of_a_latency_and_of_one_more() -> None:
    for policy, over in ((only(L), ()), (only(L), ("latency",)), (only(U), ("utilization",))):
        seen = view(3, PoolReadings({L: reading(0.9, 2.0)}, {U: dict.fromkeys(names(3), reading(0.9, 2.0))}))
        assert [vote.age_s for vote in voted(seen, policy, *over).values()] == [2.0]
    idle_replicas = view(3, readings({L: 0.9, F: 1}))
    assert voted(idle_replicas, only(F, L))[L].age_s == 1.0
    assert Moment(idle_replicas, only(L), START).age_s([]) == 0.0


def test_a_replicas_reading_is_good_for_three_scrapes() -> None:
    seen = [view(1, PoolReadings({}, {U: {names(1)[0]: reading(0.9, age_s)}})) for age_s in (3, 3.1)]

    assert [voted(one, only(U))[U].known for one in seen] == [Known.VALUE, UNKNOWN]


def test_a_reading_is_good_for_three_scrapes() -> None:
    policy = only(F, scrape_interval=timedelta(seconds=5))
    seen = [view(3, PoolReadings({F: reading(12, age_s)})) for age_s in (15, 15.1)]

    assert [voted(one, policy)[F].known for one in seen] == [Known.VALUE, UNKNOWN]


def test_one_that_does_not_serve_is_not_asked() -> None:
    found = readings(each={U: [0.7, 0.7, 0.7, 9.0]})

    assert voted(view(3, found), only(U))[U].value == pytest.approx(0.7)


def test_pending_are_those_wanted_that_do_not_serve() -> None:
    assert [view(3, ready=count).pending for count in (0, 1, 3, 5)] == [3, 2, 0, 0]


def test_a_reading_without_its_time_is_unknown() -> None:
    moment = Moment(
        view(1, PoolReadings({F: Reading(Known.VALUE, 9.0)}, {F: {names(1)[0]: Reading(Known.VALUE, 9.0)}})),
        only(F),
        START,
    )

    assert voted(moment.view, moment.policy)[F].known is UNKNOWN
