"""The steps between what the signals ask for and what a pool gets: each where it moves, and where it does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.core import limits
from controller.core.cron import FloorWindow
from controller.core.decision import ReasonCode as R
from controller.core.evaluation import Step
from controller.core.limits import Context
from controller.core.model import Known, PoolReadings, Reading, Signal
from controller.core.policy import RateLimit
from controller.core.votes import Moment, Vote
from tests.fakes.clock import START
from tests.unit.core.build import gpu, only, view
from tests.unit.core.cases import (
    BY_DAY,
    DELAYED,
    FREE,
    NEW,
    NOON,
    ON_GPU,
    PANIC,
    PLAIN,
    SLOW,
    TO_ZERO,
    TWENTY,
    WITH_K,
    Case,
    F,
    K,
    L,
    U,
    ago,
    asked,
    had,
)

ABOVE, BELOW, SAME, NONE = R.ABOVE_TARGET, R.BELOW_TARGET, R.ON_TARGET, R.NO_DATA
S15 = timedelta(seconds=15)
HALF = replace(PLAIN, rate_down=RateLimit(1, 50, S15))
FIVE = replace(TWENTY, rate_up=RateLimit(5, 0, S15))
LATER = replace(PLAIN, schedule=(FloorWindow("0 13 * * *", timedelta(hours=1), 5),))
TWICE = replace(PLAIN, schedule=(NOON, FloorWindow("0 0 * * *", timedelta(days=1), 6)))
SMALL, ROOM = gpu(0, 17.9), gpu(1, 20)

CASES = [
    # panic
    Case("no shrinking in a panic", 12, 4, (BELOW, R.PANIC), memory=PANIC),
    Case("growing in a panic", 20, 5, (ABOVE,), memory=PANIC),
    Case("a panic with nothing to do", 16, 4, (SAME,), memory=PANIC),
    Case("a panic that is over", 12, 3, (BELOW,), memory={"panic_until": START}),
    Case("a new controller begins in one", 12, 4, (BELOW, R.PANIC), memory=NEW),
    Case("and grows", 24, 6, (ABOVE,), memory=NEW),
    Case(
        "a fraction of a second", 12, 4, (BELOW, R.PANIC), memory={"panic_until": START + timedelta(seconds=19.98765)}
    ),
    # stabilise up
    Case("up to the lowest of the window", 28, 5, (ABOVE, R.UP_STABILIZED), DELAYED, asked((60, 7), (20, 5))),
    Case("up, the lowest is below what runs", 28, 4, (ABOVE, R.UP_STABILIZED), DELAYED, asked((60, 7), (20, 3))),
    Case("up, wanted all the time", 28, 7, (ABOVE,), DELAYED, asked((60, 7))),
    Case("up, wanted more all the time", 20, 5, (ABOVE,), DELAYED, asked((60, 7))),
    Case("up, the low one began before the window", 28, 4, (ABOVE, R.UP_STABILIZED), DELAYED, asked((60, 3), (29, 7))),
    Case("up, the low one ended as it began", 28, 7, (ABOVE,), DELAYED, asked((60, 3), (30, 7))),
    Case("up without a window", 28, 7, (ABOVE,), memory=asked((60, 3))),
    Case("up in a panic: no delay", 28, 7, (ABOVE,), DELAYED, asked((60, 3)) | PANIC),
    Case("down is not delayed by the window up", 12, 3, (BELOW,), DELAYED, asked((900, 3))),
    # stabilise down
    Case("down, but a peak is in the window", 12, 4, (BELOW, R.STABILIZED), memory=asked((400, 4), (60, 3))),
    Case("an old peak never scales up", 12, 4, (BELOW, R.STABILIZED), memory=asked((400, 8), (60, 3))),
    Case("down to the peak", 12, 4, (BELOW, R.STABILIZED), memory=asked((400, 4), (60, 3)), desired=6),
    Case("down, the peak is out of the window", 12, 3, (BELOW,), memory=asked((400, 4), (300, 3))),
    Case("down, a lower peak does not matter", 16, 4, (BELOW,), memory=asked((400, 3), (60, 3)), desired=6),
    Case("down, not watched for long enough", 12, 4, (BELOW, R.WARMING_UP), memory={"history_since": ago(299)}),
    Case("watched for a fraction", 12, 4, (BELOW, R.WARMING_UP), memory={"history_since": ago(98.76543)}),
    Case("down, watched for just that long", 12, 3, (BELOW,), memory={"history_since": ago(300)}),
    Case(
        "down without a window",
        12,
        3,
        (BELOW,),
        replace(PLAIN, scale_down_window=timedelta(0)),
        {"history_since": START},
    ),
    # rate up
    Case("up by no more than four", 40, 7, (ABOVE, R.RATE_LIMITED), TWENTY, desired=3),
    Case("up by just four", 28, 7, (ABOVE,), TWENTY, desired=3),
    Case("up by as many as there are", 80, 12, (ABOVE, R.RATE_LIMITED), TWENTY, desired=6),
    Case("up, two of the four have come", 40, 5, (ABOVE, R.RATE_LIMITED), TWENTY, had((60, 1), (10, 3)), 3),
    Case("up, all four have come", 40, 5, (ABOVE, R.RATE_LIMITED), TWENTY, had((60, 1), (10, 5)), 5),
    Case("up, more than four have come", 40, 7, (ABOVE, R.RATE_LIMITED), TWENTY, had((60, 1), (10, 7)), 7),
    Case("up, they came before the period", 40, 9, (ABOVE, R.RATE_LIMITED), FIVE, had((60, 1), (15, 4))),
    Case(
        "up, what went is not counted against them", 40, 6, (ABOVE, R.RATE_LIMITED), FIVE, had((60, 3), (10, 6), (5, 4))
    ),
    # rate down
    Case("down by one", 12, 6, (BELOW, R.RATE_LIMITED), SLOW, desired=7),
    Case("down by just one", 24, 6, (BELOW,), SLOW, desired=7),
    Case("down, one went already", 12, 7, (BELOW, R.RATE_LIMITED), SLOW, had((60, 8), (14, 7)), 7),
    Case("down, one went before the period", 12, 6, (BELOW, R.RATE_LIMITED), SLOW, had((60, 8), (15, 7)), 7),
    Case("down, more than one went already", 12, 5, (BELOW, R.RATE_LIMITED), SLOW, had((60, 8), (14, 5)), 5),
    Case("down by half", 12, 4, (BELOW, R.RATE_LIMITED), HALF, desired=8),
    Case("down by half of what there was", 12, 4, (BELOW, R.RATE_LIMITED), HALF, had((60, 8), (10, 6)), 6),
    Case("down, but another drains", 12, 4, (BELOW, R.ONE_AT_A_TIME), draining=1),
    Case("down, but another starts", 12, 4, (BELOW, R.ONE_AT_A_TIME), ready=3, starting=1),
    Case("down, one is missing and does not start", 12, 3, (BELOW,), ready=3),
    Case("up while another drains", 20, 5, (ABOVE,), draining=1),
    Case("up while another starts", 20, 5, (ABOVE,), ready=3, starting=1),
    # unknown
    Case("one of two is unknown", 12, 4, (BELOW, R.SIGNAL_UNKNOWN), WITH_K),
    Case("one of two is unknown, growing", 20, 5, (ABOVE,), WITH_K),
    Case("one of two is unknown, on target", 16, 4, (SAME,), WITH_K),
    Case("a reading of one replica is missing", 12, 3, (BELOW,), WITH_K, each={K: (0.1, 0.1, 0.1, None)}),
    Case("memory and errors are not asked", 12, 3, (BELOW,), only(F, Signal.MEMORY, Signal.ERRORS, rate_down=FREE)),
    Case("two are unknown", 12, 4, (BELOW, R.SIGNAL_UNKNOWN), only(F, K, L, rate_down=FREE)),
    # zero
    Case("the last one goes after its time", 0, 0, (BELOW,), TO_ZERO, desired=1, last_s=600),
    Case("not before it", 0, 1, (BELOW, R.RECENTLY_USED), TO_ZERO, desired=1, last_s=599),
    Case("idle for a fraction", 0, 1, (BELOW, R.RECENTLY_USED), TO_ZERO, desired=1, last_s=98.76543),
    Case("more than one has requests", 16, 4, (SAME,), TO_ZERO, last_s=5),
    Case("not while nobody knows", 0, 1, (BELOW, R.RECENTLY_USED), TO_ZERO, {"history_since": ago(599)}, 1),
    Case("no request since this controller began", 0, 0, (BELOW,), TO_ZERO, {"history_since": ago(600)}, 1),
    Case("two go to the last one", 0, 1, (BELOW, R.RECENTLY_USED), TO_ZERO, desired=2, last_s=10),
    Case("a floor of one", 0, 1, (BELOW, R.AT_FLOOR), replace(PLAIN, floor=1), desired=2, last_s=900),
    Case("a request in the future is one of now", 0, 1, (BELOW, R.RECENTLY_USED), TO_ZERO, desired=1, last_s=-9e9),
    Case("zero stays", 0, 0, (SAME,), TO_ZERO, {"zero_since": ago(100)}, 0, last_s=900),
    Case(
        "the first request brings one back",
        0,
        1,
        (SAME, R.FIRST_REQUEST),
        TO_ZERO,
        {"zero_since": ago(100)},
        0,
        last_s=99,
    ),
    Case("one from before it went does not", 0, 0, (SAME,), TO_ZERO, {"zero_since": ago(100)}, 0, last_s=100),
    Case("one from long ago does not", 0, 0, (SAME,), TO_ZERO, {"zero_since": ago(900)}, 0, last_s=600),
    Case("nobody knows since when it is zero", 0, 1, (SAME, R.FIRST_REQUEST), TO_ZERO, desired=0, last_s=599),
    Case("nor of any request", 0, 0, (SAME,), TO_ZERO, desired=0),
    Case("requests in flight at zero", 5, 2, (ABOVE,), TO_ZERO, desired=0),
    Case("nothing is known at zero", None, 0, (NONE,), TO_ZERO, desired=0),
    Case("only a request is known at zero", None, 1, (NONE, R.FIRST_REQUEST), TO_ZERO, desired=0, last_s=5),
    # schedule
    Case("the floor of the hour", None, 5, (NONE, R.SCHEDULED_FLOOR), BY_DAY),
    Case("more is needed anyway", 24, 6, (ABOVE,), BY_DAY),
    Case("just as many are needed", 20, 5, (ABOVE,), BY_DAY),
    Case("at another hour", 12, 3, (BELOW,), LATER),
    Case("the highest of the open windows", 12, 6, (BELOW, R.SCHEDULED_FLOOR), TWICE),
    # what fits
    Case("no GPU has room", 24, 4, (ABOVE, R.NO_GPU_FITS), ON_GPU, gpus=(SMALL,)),
    Case("a GPU has room for one", 24, 5, (ABOVE, R.NO_GPU_FITS), ON_GPU, gpus=(SMALL, ROOM)),
    Case("two GPUs have room", 24, 6, (ABOVE,), ON_GPU, gpus=(ROOM, gpu(2, 18))),
    Case("nothing is known of any GPU", 24, 6, (ABOVE,), ON_GPU, gpus=(gpu(0, None),)),
    Case("it needs no GPU", 24, 6, (ABOVE,), gpus=(SMALL,)),
    Case("one that starts takes the room", 24, 4, (ABOVE, R.NO_GPU_FITS), ON_GPU, ready=3, starting=1, gpus=(ROOM,)),
    Case("one that is missing takes the room", 24, 4, (ABOVE, R.NO_GPU_FITS), ON_GPU, ready=3, gpus=(ROOM,)),
    Case("one that starts has its place", 24, 6, (ABOVE,), ON_GPU, ready=3, starting=1, gpus=(ROOM, gpu(2, 36))),
    Case("shrinking needs no room", 12, 3, (BELOW,), ON_GPU, gpus=(SMALL,)),
    Case("holding needs none either", 16, 4, (SAME,), ON_GPU, ready=2, gpus=(SMALL,)),
    # bounds
    Case("idle never goes below the floor", 0, 3, (BELOW, R.AT_FLOOR)),
    Case("a spike beyond the ceiling", 200, 8, (ABOVE, R.AT_CEILING)),
    Case("no data repairs to the floor", None, 3, (NONE, R.AT_FLOOR), desired=0),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_limit(case: Case) -> None:
    case.check()


def test_names_of_cases_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


TEXTS = {
    "no shrinking in a panic": "held: demand was far over the target, for 20 s more",
    "a new controller begins in one": "held: this controller has just begun, for 60 s more",
    "up to the lowest of the window": "no more than 5 were needed all through the last 30 s",
    "down to the peak": "4 were needed within the last 300 s",
    "down, not watched for long enough": "held: watched for 299 s of the 300 s window",
    "up by no more than four": "4 more within 15 s are allowed",
    "up, two of the four have come": "4 more within 15 s are allowed",
    "up by as many as there are": "6 more within 15 s are allowed",
    "down by one": "1 fewer within 15 s are allowed",
    "down, one went already": "1 fewer within 15 s are allowed",
    "down by half of what there was": "4 fewer within 15 s are allowed",
    "down, but another drains": "held: 1 still starting or draining",
    "one of two is unknown": "held: not known: KV cache in use",
    "two are unknown": "held: not known: KV cache in use, latency",
    "not before it": "the last request came 599 s ago, to zero after 600 s",
    "a request in the future is one of now": "the last request came 0 s ago, to zero after 600 s",
    "the first request brings one back": "a request came; until one is ready the gateway answers 503 with Retry-After",
    "the floor of the hour": "the floor is 5 at this hour",
    "no GPU has room": "cannot scale: no GPU with 18 GiB free (GPU-0 of local has 17.9 GiB)",
    "a GPU has room for one": "18 GiB of a GPU are free for 1 more",
    "idle never goes below the floor": "the floor is 3",
    "a spike beyond the ceiling": "the ceiling is 8",
}


@pytest.mark.parametrize(("name", "text"), TEXTS.items(), ids=TEXTS)
def test_a_sentence(name: str, text: str) -> None:
    (case,) = [case for case in CASES if case.name == name]

    assert case.decide()[0].reasons[-1].text == text


NUMBERS = {
    "no shrinking in a panic": {"left_s": 20},
    "a fraction of a second": {"left_s": 19.988},
    "watched for a fraction": {"watched_s": 98.765, "window_s": 300},
    "idle for a fraction": {"idle_s": 98.765, "zero_after_s": 600},
    "up to the lowest of the window": {"lowest": 5, "window_s": 30},
    "down to the peak": {"peak": 4, "window_s": 300},
    "down, not watched for long enough": {"watched_s": 299, "window_s": 300},
    "up, two of the four have come": {"most": 5, "period_s": 15},
    "down by half of what there was": {"least": 4, "period_s": 15},
    "down, but another drains": {"moving": 1},
    "not before it": {"idle_s": 599, "zero_after_s": 600},
    "the floor of the hour": {"floor": 5},
    "a GPU has room for one": {"needed_bytes": 18 * 1024**3, "fits": 1},
    "idle never goes below the floor": {"floor": 3},
    "a spike beyond the ceiling": {"ceiling": 8},
}


@pytest.mark.parametrize(("name", "numbers"), NUMBERS.items(), ids=NUMBERS)
def test_the_numbers_behind_it(name: str, numbers: dict[str, float]) -> None:
    (case,) = [case for case in CASES if case.name == name]

    assert case.decide()[0].reasons[-1].numbers == numbers


def test_the_panic_of_a_controller_that_began_is_no_overrun() -> None:
    memory = {"panic_until": START + timedelta(seconds=20), "history_since": ago(40)}
    found, context = Case("", 12, 4, (), memory=memory).decide()

    assert context.panicking
    assert not context.overrun
    assert found.reasons[-1].text == "held: this controller has just begun, for 20 s more"


def test_an_unknown_last_request_is_said() -> None:
    policy = replace(
        TO_ZERO, kv_cache=replace(TO_ZERO.kv_cache, enabled=True), in_flight=replace(TO_ZERO.in_flight, enabled=False)
    )
    found, _ = Case("", None, 1, (), policy, desired=1, each={K: (0.0,)}).decide()

    assert found.reasons[-1].code is R.RECENTLY_USED
    assert found.reasons[-1].text == "held: not known when the last request came"
    assert found.desired == 1


# --- the survivors, by themselves: the signals' own arithmetic leaves them nothing to do as it is


def voting(*votes: Vote, desired: int = 4) -> Context:
    seen = view(desired, PoolReadings())
    return Context(
        Moment(seen, replace(PLAIN, utilization=replace(PLAIN.utilization, enabled=True)), START), votes, seen.memory
    )


def vote(signal: Signal, load: float | None, target: float, unguarded: int | None = None) -> Vote:
    return Vote(signal, Known.VALUE, target, load=load, unguarded=unguarded)


SURVIVORS = [
    # votes, step, want
    pytest.param([vote(K, 2.4, 0.8)], 3, 3, id="three are within it"),
    pytest.param([vote(K, 2.5, 0.8)], 3, 4, id="three are over it"),
    pytest.param([vote(K, 2.5, 0.8)], 2, 4, id="two are far over it"),
    pytest.param([vote(K, 1.7, 0.8)], 2, 3, id="two are over it, three are not"),
    pytest.param([vote(K, 9.0, 0.8)], 3, 4, id="no more than are desired"),
    pytest.param([vote(K, 9.0, 0.8)], 4, 4, id="holding"),
    pytest.param([vote(K, 9.0, 0.8)], 5, 5, id="growing"),
    pytest.param([vote(K, 9.0, 0.8)], 0, 0, id="none survives"),
    pytest.param([vote(L, None, 0.5)], 3, 3, id="a load that is not known"),
    pytest.param([vote(F, 4.0, 4.0), vote(K, 1.7, 0.8)], 1, 3, id="each of two signals, the last holds"),
    pytest.param([vote(K, 1.7, 0.8), vote(F, 4.0, 4.0)], 1, 3, id="each of two signals, the first holds"),
    pytest.param([vote(F, 7.0, 4.0), vote(K, 1.7, 0.8)], 1, 3, id="the one, then the other"),
    pytest.param([vote(U, 2.5, 0.7, 4), vote(F, 4.0, 4.0, 1)], 2, 4, id="utilization up to one above the floor"),
    pytest.param([vote(U, 4.5, 0.7, 7), vote(F, 4.0, 4.0, 1)], 2, 4, id="utilization no further"),
    pytest.param([vote(U, 9.0, 0.7, 5)], 3, 4, id="utilization by itself, no more than are desired"),
    pytest.param([vote(L, None, 0.5), vote(K, 2.5, 0.8)], 3, 4, id="one that is not known, then one that is"),
]


@pytest.mark.parametrize(("votes", "step", "want"), SURVIVORS)
def test_survivors(votes: list[Vote], step: int, want: int) -> None:
    found = limits.survivors(Step(step), voting(*votes))

    assert found.replicas == want
    assert {move.reason.code for move in found.moves} == ({R.SURVIVORS} if step != want else set())


def test_only_utilization_holds_no_more_than_it_may_ask_for() -> None:
    others = [vote(F, 4.0, 4.0, 1), vote(K, 4.4, 0.8, 1)]

    assert limits.survivors(Step(4), voting(*others, desired=6)).replicas == 6
    assert limits.survivors(Step(3), voting(*others[:1], vote(U, 9.0, 0.7, 9), desired=6)).replicas == 4


def test_what_the_survivors_would_have_is_said() -> None:
    (move,) = limits.survivors(Step(3), voting(vote(K, 2.6, 0.8))).moves

    assert move.reason.text == "3 would each have KV cache in use 86.7 %, target 80 %"
    assert move.reason.numbers == {"each": 0.8667, "target": 0.8}


def test_a_step_that_moves_nothing_adds_no_reason() -> None:
    step = Step(3)
    assert step.then(3, R.AT_FLOOR, "text") is step
    assert step.then(4, R.AT_FLOOR, "text", floor=4).moves[0].reason.numbers == {"floor": 4}


@pytest.mark.parametrize(
    ("count", "want"), [(18 * 1024**3, "18 GiB"), (1024**3 / 2, "0.5 GiB"), (80 * 1024**3, "80 GiB")]
)
def test_bytes_as_people_write_them(count: float, want: str) -> None:
    assert limits.gib(count) == want


def test_a_last_request_that_is_old_news_is_unknown() -> None:
    stale = PoolReadings(last_request=Reading.of(ago(5).timestamp(), ago(3.1)))
    seen = view(0, stale, zero_since=ago(100))

    assert limits.zero(Step(0), Context(Moment(seen, TO_ZERO, START), (), seen.memory)).replicas == 0
