"""decide_scale: what the signals ask for, step by step, and the order of all steps."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.core.decision import ReasonCode as R
from controller.core.evaluation import Step
from controller.core.limits import Context
from controller.core.model import Known, Signal
from controller.core.policy import ForecastPolicy, Mode, RateLimit, TargetPolicy
from controller.core.scaling import pending
from controller.core.votes import Moment, Vote
from tests.fakes.clock import START
from tests.unit.core.build import POOL, gpu, only, view
from tests.unit.core.cases import (
    BUSY,
    BY_DAY,
    DELAYED,
    LATE,
    NOON,
    ON_GPU,
    ONLY_K,
    ONLY_L,
    ONLY_U,
    PANIC,
    PLAIN,
    SLOW,
    TO_ZERO,
    WITH_K,
    WITH_L,
    WITH_U,
    Case,
    F,
    K,
    U,
    asked,
    had,
    rising,
)

ABOVE, BELOW, SAME = R.ABOVE_TARGET, R.BELOW_TARGET, R.ON_TARGET
ALONE = (ABOVE, R.UTILIZATION_ALONE)
AHEAD = replace(PLAIN, forecast=ForecastPolicy(enabled=True))
LOW_U = replace(WITH_U, floor=1)
IDLE_UL = only(U, Signal.LATENCY, floor=0)
LOOSE = replace(WITH_U, ceiling=20, tolerance=0.3)
TWENTY_U = replace(WITH_U, ceiling=20)
WITH_UL = replace(WITH_U, latency=WITH_L.latency)
ZERO_U, ZERO_K = replace(WITH_U, floor=0), replace(WITH_K, floor=0)
# Replicas that are to come cover what is within the tolerance: a wide one, so that there is something between.
WIDE = replace(AHEAD, kv_cache=TargetPolicy(0.8), tolerance=0.3)
HOT, FULL = (1.0,) * 4, (0.95,) * 4

SIGNALS = [
    Case("on target", 16, 4, (SAME,)),
    Case("inside the tolerance band", 17.6, 4, (SAME,)),
    Case("just outside it", 17.7, 5, (ABOVE,)),
    Case("same count outside the band", 14, 4, (SAME,)),
    Case("a spike is met at once", 31, 8, (ABOVE,)),
    Case("load falls, quiet window", 12, 3, (BELOW,)),
    Case("no data holds", None, 4, (R.NO_DATA,)),
    Case("nothing of two signals holds", None, 4, (R.NO_DATA,), WITH_K),
    Case("the highest of two signals", 12, 5, (ABOVE,), WITH_K, each={K: FULL}),
    Case("one signal falls, the other holds", 4, 4, (SAME,), WITH_K, each={K: (0.8,) * 4}),
    Case("one signal falls, the other is unknown", 24, 6, (ABOVE,), WITH_K),
    Case("high latency for long asks for one more", 16, 5, (ABOVE,), WITH_L, LATE, latency=0.9),
    Case("high latency, not for long", 16, 4, (SAME,), WITH_L, latency=0.9),
    Case("high latency on idle replicas", 7, 3, (BELOW, R.AT_FLOOR), WITH_L, LATE, latency=0.9),
    Case("high latency while two are to come", 16, 4, (SAME,), WITH_L, LATE, ready=2, latency=0.9),
    Case("latency by itself, of nobody", None, 3, (BELOW, R.AT_FLOOR), ONLY_L, latency=0),
    Case("in mode shadow the live policy acts", 24, 6, (ABOVE,), mode=Mode.SHADOW),
]

UTILIZATION = [
    Case("one more than the others", 16, 5, ALONE, WITH_U, each={U: HOT}),
    Case("just one more by itself", 16, 5, (ABOVE,), WITH_U, each={U: (0.8,) * 4}),
    Case("the others ask for more", 24, 6, (ABOVE,), WITH_U, each={U: (0.9,) * 4}),
    Case("holds no higher than one more", 12, 4, ALONE, WITH_U, desired=5, each={U: (1.0,) * 5}),
    Case("one more than the floor", 0, 4, ALONE, WITH_U, desired=5, each={U: (1.0,) * 5}),
    Case("no other signal: one more than serve", None, 5, ALONE, ONLY_U, each={U: HOT}),
    Case("no other signal: just one more", None, 5, (ABOVE,), ONLY_U, each={U: (0.8,) * 4}),
    Case("no other is known: one more than serve", None, 5, ALONE, WITH_U, each={U: HOT}),
    Case("no other signal, one is to come", None, 5, ALONE, ONLY_U, desired=5, ready=4, each={U: (1.3,) * 4}),
    Case("the others hold, one is to come", 26, 7, ALONE, WITH_U, desired=7, ready=6, each={U: (1.0,) * 6}),
    Case("the others hold, all serve", 26, 8, ALONE, WITH_U, desired=7, each={U: (1.0,) * 7}),
    Case("the others ask for more, one is to come", 32, 8, (ABOVE,), WITH_U, desired=7, ready=6, each={U: (0.9,) * 6}),
    Case(
        "high for long, in a wide tolerance",
        16,
        5,
        (ABOVE,),
        replace(WITH_U, tolerance=0.3),
        BUSY,
        each={U: (0.9,) * 4},
    ),
    Case("high, not for long", 16, 4, (SAME,), replace(WITH_U, tolerance=0.3), each={U: (0.9,) * 4}),
    Case("the others hold more than they need", 36, 10, ALONE, TWENTY_U, desired=10, each={U: (1.0,) * 10}),
    Case("the others hold many more than they need", 29, 10, ALONE, LOOSE, desired=10, each={U: (1.0,) * 10}),
    Case("nothing is wanted, and one serves", 0, 0, ALONE, ZERO_U, desired=0, ready=1, each={U: (0.5,)}),
    Case("a latency of nobody asks for none", None, 0, ALONE, IDLE_UL, desired=0, ready=1, each={U: (0.5,)}, latency=0),
    Case("more serve than the others ask for", 12, 3, ALONE, WITH_U, desired=2, ready=4, each={U: HOT}),
    Case("as many serve as the others ask for", 16, 5, ALONE, WITH_U, desired=3, ready=4, each={U: HOT}),
    Case("more serve, and the others hold", 12, 3, ALONE, WITH_U, desired=3, ready=4, each={U: HOT}),
    Case("more serve, and the others ask for fewer", 4, 2, ALONE, LOW_U, desired=3, ready=4, each={U: HOT}),
    Case("the others hold just what they need", 38, 11, ALONE, TWENTY_U, desired=10, each={U: (1.0,) * 10}),
    Case("a latency that is not high asks for none", 8, 4, ALONE, WITH_UL, each={U: HOT}, latency=0.48),
    Case("a latency that is high for long does", 8, 6, (ABOVE,), WITH_UL, LATE, each={U: HOT}, latency=0.9),
]

IDLE = [
    Case(
        "busy, and nothing in flight",
        0,
        1,
        (*ALONE, BELOW, R.RECENTLY_USED),
        ZERO_U,
        desired=2,
        each={U: HOT[:2]},
        last_s=9,
    ),
    Case("the last one has only its own noise", 0, 0, (SAME, BELOW), ZERO_U, desired=1, each={U: (0.01,)}, last_s=601),
    Case(
        "noise, but it was used", 0, 1, (SAME, BELOW, R.RECENTLY_USED), ZERO_U, desired=1, each={U: (0.01,)}, last_s=9
    ),
    Case("a floor keeps it", 0, 1, (SAME,), replace(WITH_U, floor=1), desired=1, each={U: (0.01,)}, last_s=601),
    Case("what would fill two is no noise", 0, 2, (SAME,), ZERO_K, desired=2, each={K: (0.8, 0.8)}, last_s=601),
    Case("a request is no noise", 1, 1, (SAME,), ZERO_U, desired=1, each={U: (0.01,)}, last_s=601),
    Case("nobody knows what is in flight", None, 1, (SAME,), ZERO_U, desired=1, each={U: (0.01,)}, last_s=601),
]

FORECAST = [
    Case("a rising trend, one cold start ahead", 12, 6, (BELOW, R.FORECAST), AHEAD, rising(0.2)),
    Case(
        "a fraction of a request", 12, 7, (BELOW, R.FORECAST), AHEAD, rising(12.12345 / 60.12345, cold_start_s=60.12345)
    ),
    Case("the signals ask for that already", 22, 6, (ABOVE,), AHEAD, rising(0.02, 22)),
    Case("a falling trend lowers nothing", 16, 4, (SAME,), AHEAD, rising(-0.2, 16)),
    Case("no cold start was seen yet", 12, 3, (BELOW,), AHEAD, rising(0.2, cold_start_s=None)),
    Case("no trend brings nobody back", 0, 0, (SAME,), replace(AHEAD, floor=0), {"cold_start_s": 9.0}, desired=0),
    Case("the forecast is off", 12, 3, (BELOW,), PLAIN, rising(0.2)),
    Case("the trend is all that there is", None, 8, (R.NO_DATA, R.FORECAST), AHEAD, rising(0.3)),
]

PENDING = [
    Case(
        "what is to come covers the need", None, 6, (ABOVE, R.PENDING), ONLY_K, desired=6, ready=3, each={K: (1.7,) * 3}
    ),
    Case("it does not", None, 6, (ABOVE,), ONLY_K, ready=3, starting=1, each={K: (1.4,) * 3}),
    Case("none is to come", None, 6, (ABOVE,), ONLY_K, desired=3, each={K: (1.4,) * 3}),
    Case("it holds no shrinking up", 8, 3, (BELOW, R.AT_FLOOR), desired=6, ready=3),
    Case("the whole demand counts them anyway", 24, 6, (SAME,), desired=6, ready=3, starting=3),
    Case("the trend counts them anyway", 12, 8, (BELOW, R.FORECAST), AHEAD, rising(0.3), desired=6, ready=3),
    Case(
        "they cover the mean, not the trend",
        12,
        6,
        (ABOVE, R.PENDING),
        WIDE,
        rising(0.2),
        5,
        3,
        each={K: (1.7067,) * 3},
    ),
]

ORDER = [
    Case(
        "a panic is told, not what else would hold",
        12,
        4,
        (BELOW, R.PANIC),
        memory=PANIC | asked((400, 4), (60, 3)),
        draining=1,
    ),
    Case(
        "the window, then the rate",
        4,
        6,
        (BELOW, R.AT_FLOOR, R.STABILIZED, R.RATE_LIMITED),
        SLOW,
        asked((400, 5), (60, 3)),
        7,
    ),
    Case(
        "the rate, then the unknown",
        4,
        7,
        (BELOW, R.AT_FLOOR, R.RATE_LIMITED, R.SIGNAL_UNKNOWN),
        only(F, K, ceiling=8),
        desired=7,
    ),
    Case(
        "up: the window, then the rate",
        40,
        7,
        (ABOVE, R.UP_STABILIZED, R.RATE_LIMITED),
        replace(DELAYED, ceiling=20),
        asked((60, 8)),
        3,
    ),
    Case(
        "up: the rate, then what fits",
        40,
        5,
        (ABOVE, R.RATE_LIMITED, R.NO_GPU_FITS),
        replace(ON_GPU, ceiling=20),
        gpus=(gpu(0, 20),),
    ),
    Case(
        "the schedule cannot make room",
        None,
        4,
        (R.NO_DATA, R.SCHEDULED_FLOOR, R.NO_GPU_FITS),
        replace(ON_GPU, schedule=(NOON,)),
        gpus=(gpu(0, 1),),
    ),
    Case(
        "the floor beats what fits",
        None,
        3,
        (R.NO_DATA, R.AT_FLOOR, R.NO_GPU_FITS, R.AT_FLOOR),
        ON_GPU,
        desired=1,
        gpus=(gpu(0, 1),),
    ),
    Case(
        "the floor beats the rate",
        None,
        7,
        (R.NO_DATA, R.AT_FLOOR, R.RATE_LIMITED, R.AT_FLOOR),
        replace(PLAIN, floor=7),
        desired=1,
    ),
    Case(
        "the hour's floor beats the rate",
        0,
        5,
        (SAME, R.SCHEDULED_FLOOR, R.RATE_LIMITED, R.SCHEDULED_FLOOR),
        replace(TO_ZERO, schedule=(NOON,)),
        desired=0,
    ),
    Case("the ceiling beats the panic", 12, 8, (BELOW, R.PANIC, R.AT_CEILING), memory=PANIC, desired=9),
    Case(
        "the ceiling beats the unknown", None, 8, (R.NO_DATA, R.AT_CEILING, R.SIGNAL_UNKNOWN, R.AT_CEILING), desired=9
    ),
    Case(
        "alone, then the forecast",
        16,
        7,
        (*ALONE, R.FORECAST),
        replace(WITH_U, forecast=ForecastPolicy(enabled=True)),
        rising(0.2, 16),
        each={U: HOT},
    ),
    Case("the hour's floor before the pool's", 0, 5, (BELOW, R.SCHEDULED_FLOOR), BY_DAY),
    Case(
        "pausing is last, within the bounds",
        4,
        3,
        (BELOW, R.AT_FLOOR, R.PAUSED, R.AT_FLOOR),
        desired=2,
        mode=Mode.PAUSED,
    ),
    Case("paused above the ceiling", 16, 8, (BELOW, R.PAUSED, R.AT_CEILING), desired=9, mode=Mode.PAUSED),
    Case("paused", 24, 4, (ABOVE, R.PAUSED), mode=Mode.PAUSED),
    Case("paused with nothing to do", 16, 4, (SAME,), mode=Mode.PAUSED),
    Case(
        "paused, and the hour's floor waits",
        None,
        4,
        (R.NO_DATA, R.SCHEDULED_FLOOR, R.PAUSED),
        BY_DAY,
        mode=Mode.PAUSED,
    ),
]


def of(*tables: list[Case]) -> pytest.MarkDecorator:
    """One test for each case."""
    cases = [case for table in tables for case in table]
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


@of(SIGNALS)
def test_the_strongest_signal(case: Case) -> None:
    case.check()


@of(UTILIZATION)
def test_utilization_alone(case: Case) -> None:
    case.check()


@of(IDLE)
def test_nothing_in_flight(case: Case) -> None:
    case.check()


@of(FORECAST)
def test_forecast(case: Case) -> None:
    case.check()


@of(PENDING)
def test_replicas_that_are_to_come(case: Case) -> None:
    case.check()


@of(ORDER)
def test_the_order_of_the_steps(case: Case) -> None:
    case.check()


def test_names_of_cases_are_unique() -> None:
    names = [case.name for table in (SIGNALS, UTILIZATION, IDLE, FORECAST, PENDING, ORDER) for case in table]

    assert len(set(names)) == len(names)


def test_the_first_move_says_what_the_signals_ask_for_with_its_numbers() -> None:
    found, _ = Case("", 22, 6, ()).decide()

    (move,) = found.moves
    assert (move.before, move.after) == (4, 6)
    assert move.reason.text == "22 in flight and waiting, target 4 for each of 4: 6 would do"
    assert move.reason.numbers == {"in_flight": 22, "target": 4, "age_s": 1}


TEXTS = [
    (Case("", 16, 4, ()), "16 in flight and waiting, target 4 for each of 4"),
    (Case("", None, 4, ()), "held: nothing is known of the load (in flight and waiting)"),
    (Case("", None, 4, (), WITH_K), "held: nothing is known of the load (in flight and waiting, KV cache in use)"),
    (Case("", 16, 4, (), ready=3), "16 in flight and waiting, target 4 for each of 4"),
    (Case("", None, 0, (), ONLY_K, ready=3, each={K: FULL[:3]}), "KV cache in use 95 % of 3 replicas, target 80 %"),
    (Case("", None, 0, (), ONLY_K, each={K: FULL}), "KV cache in use 95 % of 4 replicas, target 80 %: 5 would do"),
    (Case("", None, 0, (), ONLY_U, each={U: FULL}), "utilization 95 % of 4 replicas, target 70 %: 6 would do"),
    (Case("", None, 0, (), ONLY_L, latency=0.1), "latency 0.1 s, threshold 0.5 s: 1 would do"),
    (
        Case("", None, 0, (), only(Signal.TOKENS), each={Signal.TOKENS: (500.0, 700.0)}, desired=2),
        "600 tokens a second for each of 2, target 1000",
    ),
]


@pytest.mark.parametrize(("case", "text"), TEXTS)
def test_the_sentence_of_the_strongest_signal(case: Case, text: str) -> None:
    found, _ = case.decide()

    assert found.reasons[0].text == text


def test_no_signal_at_all_is_said() -> None:
    policy = only(ceiling=8, schedule=(NOON,))
    found, _ = Case("", 16, 5, (), policy).decide()

    assert found.reasons[0].text == "held: nothing is known of the load (no signal is enabled)"
    assert found.desired == 5


def test_the_other_sentences() -> None:
    by_name = {case.name: case for table in (UTILIZATION, IDLE, FORECAST, PENDING, ORDER) for case in table}

    def last(name: str) -> str:
        return by_name[name].decide()[0].reasons[-1].text

    def numbers(name: str) -> object:
        return by_name[name].decide()[0].reasons[-1].numbers

    assert numbers("one more than the others") == {"most": 5}
    assert numbers("a fraction of a request") == {"forecast": 24.123, "cold_start_s": 60.123}
    assert numbers("what is to come covers the need") == {"pending": 3}
    assert last("the last one has only its own noise") == (
        "nothing is in flight, and what else it is busy with is no request"
    )
    assert last("one more than the others") == (
        "utilization alone may ask for 5, at most one more than the other signals do"
    )
    assert last("a rising trend, one cold start ahead") == (
        "at this rate 24.0 will be in flight 60 s on, when a new replica would be ready"
    )
    assert last("what is to come covers the need") == "3 more are still to come, and with them 6 will do"
    assert last("paused") == "held: the pool is paused"


def test_an_evaluation_holds_all_that_went_in() -> None:
    case = Case("", 22, 6, (ABOVE,), WITH_K, each={K: FULL}, mode=Mode.SHADOW)
    found, context = case.decide()

    assert (found.at, found.policy, found.mode, found.current) == (START, WITH_K, Mode.SHADOW, 4)
    assert found.view == context.moment.view
    assert [vote.signal for vote in found.votes] == [F, K]
    assert context.votes == found.votes
    assert found.pool == POOL
    assert found.flip is found.shadow is None
    assert found.held == ()


# --- what is remembered


def remembered(case: Case):  # type: ignore[no-untyped-def]
    return case.decide()[1].memory


def test_the_history_starts_where_nothing_is_known() -> None:
    new = remembered(Case("", 24, 6, (), memory={"history_since": None}))

    assert new.history_since == START
    assert new.panic_until == START + timedelta(seconds=60)
    assert [(entry.at, entry.replicas) for entry in new.recommended] == [(START, 6)]
    assert [(entry.at, entry.replicas) for entry in new.counts] == [(START - timedelta(days=1), 4), (START, 6)]


def test_what_the_signals_asked_for_is_kept_not_what_came_of_it() -> None:
    held = remembered(Case("", 4, 3, (), SLOW, asked((10, 8)), desired=8))

    assert [entry.replicas for entry in held.recommended] == [8, 3]
    assert held.counts[-1].replicas == held.desired == 8


def test_what_is_kept_is_as_long_as_the_longer_window() -> None:
    both = replace(PLAIN, scale_up_window=timedelta(seconds=100), scale_down_window=timedelta(seconds=50))
    other = replace(PLAIN, scale_up_window=timedelta(seconds=50), scale_down_window=timedelta(seconds=100))
    for policy in (both, other):
        kept = remembered(Case("", 16, 4, (), policy, asked((130, 3), (101, 5), (99, 6), (20, 4))))
        assert [entry.replicas for entry in kept.recommended] == [5, 6, 4]
    slow, fast = RateLimit(1, 0, timedelta(seconds=100)), RateLimit(1, 0, timedelta(seconds=50))
    for up, down in ((slow, fast), (fast, slow)):
        policy = replace(PLAIN, rate_up=up, rate_down=down)
        kept = remembered(Case("", 16, 4, (), policy, had((130, 3), (101, 5), (99, 6), (20, 4))))
        assert [entry.replicas for entry in kept.counts] == [5, 6, 4]


def test_a_change_of_the_count_gives_its_thresholds_their_whole_time_again() -> None:
    over = {"over_since": {"latency": LATE["over_since"]["latency"], "panic": START, "memory/llama-1": START}}  # type: ignore[index]
    policy = replace(WITH_L, memory=replace(WITH_L.memory, enabled=True))
    each = {Signal.MEMORY: (0.95, 0.1, 0.1, 0.1)}

    grown = remembered(Case("", 40, 8, (), policy, over, each=each, latency=0.9))
    assert (grown.desired, set(grown.over_since)) == (8, {"panic", "memory/llama-1"})
    held = remembered(Case("", 16, 4, (), replace(policy, ceiling=4), over, each=each, latency=0.9))
    assert (held.desired, set(held.over_since)) == (4, {"latency", "memory/llama-1"})


def test_when_it_went_to_zero_is_kept_while_it_stays_there() -> None:
    went = remembered(Case("", 0, 0, (), TO_ZERO, desired=1, last_s=900))
    stayed = remembered(Case("", 0, 0, (), TO_ZERO, {"zero_since": START - timedelta(hours=1)}, desired=0, last_s=9000))
    back = remembered(Case("", 5, 2, (), TO_ZERO, {"zero_since": START - timedelta(hours=1)}, desired=0))
    never = remembered(Case("", 16, 4, ()))

    assert went.zero_since == START
    assert stayed.zero_since == START - timedelta(hours=1)
    assert back.zero_since is never.zero_since is None


def test_a_panic_begins_after_ten_seconds_of_twice_the_target() -> None:
    for since_s, until in ((9.9, None), (10, START + timedelta(seconds=60))):
        over = {"over_since": {"panic": START - timedelta(seconds=since_s)}}
        _, context = Case("", 32, 8, (), memory=over).decide()
        assert context.memory.panic_until == until
        assert context.panicking is context.overrun is (until is not None)


def test_a_panic_that_is_on_lasts_as_it_was() -> None:
    until = START + timedelta(seconds=20)

    assert remembered(Case("", 16, 4, (), memory={"panic_until": until})).panic_until == until


def test_a_new_controller_is_not_overrun() -> None:
    _, context = Case("", 16, 4, (), memory={"history_since": None}).decide()

    assert context.panicking
    assert not context.overrun


def test_the_demand_is_sampled_for_the_forecast_only_where_it_is_on() -> None:
    assert remembered(Case("", 16, 4, (), AHEAD)).demand == ((START, 16.0),)
    assert remembered(Case("", 16, 4, (), PLAIN)).demand == ()
    assert remembered(Case("", None, 4, (), AHEAD)).demand == ()
    by_kv = replace(ONLY_K, forecast=ForecastPolicy(enabled=True))
    assert remembered(Case("", None, 5, (), by_kv, each={K: FULL})).demand == ()


def test_what_is_to_come_covers_no_fewer_than_are_desired() -> None:
    seen = view(4, ready=2)
    few = Vote(K, Known.VALUE, 0.8, wanted=2, unguarded=9)

    assert pending(Step(9), Context(Moment(seen, ONLY_K, START), (few,), seen.memory)).replicas == 4


def test_nothing_else_of_a_memory_changes() -> None:
    known = {"next_ordinal": 9, "start_failures": 2, "cold_start_s": 5.0, "last_recycle_at": START}
    after = remembered(Case("", 16, 4, (), memory=known))

    assert {name: getattr(after, name) for name in known} == known
