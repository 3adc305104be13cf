"""Busy or dead: which failed probes count, and when work without a token is a stall."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from controller.core import progress
from controller.core.health import Evidence, fold_health
from controller.core.model import UNKNOWN, Busy, LauncherPhase, ProbeHistory, Reading, ReplicaState
from controller.core.policy import HealthPolicy
from controller.core.reason import ReasonCode
from tests.fakes.clock import START
from tests.unit.core.build import probe, replica

S = ReplicaState
POLICY = HealthPolicy(failures=3, probe_interval=timedelta(seconds=1), stall_timeout=timedelta(seconds=30))


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@dataclass(frozen=True)
class Case:
    """Probes fail since second 0, the newest of them at second `failed - 1`; `token` is when it made its newest token.

    `answers`: the launcher does, and says that its engine does not. `scraped`: Prometheus saw it make tokens then.
    """

    name: str
    want: int
    failed: int = 3
    token: float | None = None
    answers: bool = False
    scraped: float | None = None
    rate: float = 10.0

    def counted(self) -> int:
        newest = None if self.token is None else at(self.token)
        phase = LauncherPhase.READY if self.answers else None
        seen = probe(False, self.failed, at(self.failed - 1), phase=phase, last_token_at=newest)
        tokens = UNKNOWN if self.scraped is None else Reading.of(self.rate, at(self.scraped))
        return progress.counted(seen, POLICY, tokens)


COUNTED = [
    Case("nothing is known of tokens", 3),
    Case("the newest token is from long before", 3, token=-60),
    Case("it made one at the first failed probe", 2, token=0),
    Case("it made one at the newest probe", 0, token=2),
    Case("it makes tokens all the time", 0, failed=99, token=97.6),
    Case("the launcher answers, and tokens stand still", 3, token=-2, answers=True),
    Case("the launcher answers, and tokens move", 0, failed=9, token=7.9, answers=True),
    Case("no more than there were", 3, token=-1000),
    Case("Prometheus knows of newer ones", 0, failed=9, token=-5, scraped=8),
    Case("Prometheus saw some when it could still ask", 3, failed=6, token=-5, scraped=2),
    Case("Prometheus saw none", 9, failed=9, token=-5, scraped=8, rate=0),
    Case("the launcher's word is newer than Prometheus's", 0, failed=9, token=7.9, scraped=0),
    Case("a launcher that answers is believed", 9, failed=9, token=-5, answers=True, scraped=8),
    Case("without a launcher only Prometheus knows", 0, failed=9, scraped=8),
    Case("Prometheus asked after the probe", 0, failed=9, scraped=12),
    Case("the clock was set back since its newest token", 9, failed=9, token=600),
    Case("the clock was set back since the newest scrape", 9, failed=9, scraped=600),
    Case("one that lies ahead hides none that does not", 2, token=0, scraped=600),
]


@pytest.mark.parametrize("case", COUNTED, ids=lambda case: case.name)
def test_failed_probes_that_count(case: Case) -> None:
    assert case.counted() == case.want


def test_the_pace_of_the_probes_counts() -> None:
    """Probes every two seconds: four seconds without a token are two of them."""
    slow = replace(POLICY, probe_interval=timedelta(seconds=2))

    assert progress.counted(probe(False, 5, at(8), last_token_at=at(4)), slow, UNKNOWN) == 2


def test_a_busy_one_that_fails_its_probes_stays_suspect_and_says_so() -> None:
    seen = replica("llama-1", S.READY, probe(False, 7, at(6), last_token_at=at(5.5)))

    memory, reason = fold_health(seen, POLICY, at(6))

    assert (memory.state, reason and reason.code) == (S.SUSPECT, ReasonCode.PROBE_FAILED)
    assert reason is not None
    assert reason.text.endswith("it makes tokens, so it is busy and not dead")


def test_prometheus_keeps_a_busy_one_whose_launcher_is_too_slow_to_answer() -> None:
    seen = replica("llama-1", S.READY, probe(False, 7, at(6), last_token_at=at(-3)))

    without, _ = fold_health(seen, POLICY, at(6))
    beside, _ = fold_health(seen, POLICY, at(6), Evidence(tokens=Reading.of(40.0, at(5))))

    assert (without.state, beside.state) == (S.UNREADY, S.SUSPECT)


# --- stalls over time: (second, in flight, waiting, second of the newest token, state)

Line = tuple[float, int | None, int, float | None, ReplicaState]


def played(lines: list[Line], policy: HealthPolicy = POLICY) -> None:
    seen = replica("llama-1", S.READY)
    for number, (second, in_flight, waiting, token, want) in enumerate(lines):
        newest = None if token is None else at(token)
        said = probe(True, 5, at(second), in_flight=in_flight, waiting=waiting, last_token_at=newest)
        memory, _ = fold_health(replace(seen, probe=said), policy, at(second))
        assert memory.state is want, f"line {number}, at {second:g} s"
        seen = replace(seen, memory=memory)


STALLS: dict[str, list[Line]] = {
    "work and no token for 30 s": [(0, 1, 0, -1, S.READY), (29, 1, 0, -1, S.READY), (30, 1, 0, -1, S.UNREADY)],
    "what waits is work, too": [(0, 0, 4, -1, S.READY), (30, 0, 4, -1, S.UNREADY)],
    "each token begins the time anew": [
        (0, 1, 0, 0, S.READY),
        (29, 1, 0, 28, S.READY),
        (57, 1, 0, 28, S.READY),
        (58, 1, 0, 28, S.UNREADY),
    ],
    "a long idle time and then a request": [
        (0, 0, 0, 0, S.READY),
        (900, 0, 0, 0, S.READY),
        (901, 1, 0, 0, S.READY),
        (930, 1, 0, 0, S.READY),
        (931, 1, 0, 0, S.UNREADY),
    ],
    "idle in between": [(0, 1, 0, 0, S.READY), (25, 0, 0, 0, S.READY), (26, 1, 0, 0, S.READY), (55, 1, 0, 0, S.READY)],
    "counters that fall silent count as work": [
        (0, 0, 0, -9, S.READY),
        (1, None, 0, -9, S.READY),
        (30, None, 0, -9, S.READY),
        (31, None, 0, -9, S.UNREADY),
    ],
    "silent counters beside tokens are no stall": [(0, None, 0, 0, S.READY), (99, None, 0, 98, S.READY)],
    "one that never told of a token": [(0, 9, 0, None, S.READY), (900, 9, 0, None, S.READY)],
    "the clock was set back since its newest token": [
        (0, 1, 0, 600, S.READY),
        (29, 1, 0, 600, S.READY),
        (30, 1, 0, 600, S.UNREADY),
    ],
    "it moves again, and is ready again": [
        (0, 1, 0, 0, S.READY),
        (30, 1, 0, 0, S.UNREADY),
        (33, 1, 0, 32, S.READY),
        (40, 0, 0, 38, S.READY),
    ],
}


@pytest.mark.parametrize("lines", STALLS.values(), ids=STALLS.keys())
def test_stalls(lines: list[Line]) -> None:
    played(lines)


def test_a_clock_that_leaps_forward_makes_no_stall() -> None:
    """Nor does a machine that slept: the newest probe is from before."""
    said = probe(True, 5, at(20), in_flight=2, last_token_at=at(19.9))

    memory, _ = fold_health(replica("llama-1", S.READY, said, busy=Busy(START)), POLICY, at(80))

    assert memory.state is S.READY


def test_the_stall_timeout_is_that_of_the_policy() -> None:
    strict = replace(POLICY, stall_timeout=timedelta(seconds=5))

    played([(0, 1, 0, 0, S.READY), (4.9, 1, 0, 0, S.READY), (5, 1, 0, 0, S.UNREADY)], strict)


QUIET: list[tuple[str, ProbeHistory | None]] = [
    ("no probe", None),
    ("no answer", probe(False, 40, at(40), last_token_at=at(0))),
    ("it warms up", probe(False, 40, at(40), phase=LauncherPhase.WARMING, in_flight=1, last_token_at=at(0))),
]


@pytest.mark.parametrize(("name", "said"), QUIET)
def test_what_says_nothing_is_no_stall(name: str, said: ProbeHistory | None) -> None:
    memory, _ = fold_health(replica("llama-1", S.READY, said, busy=Busy(START)), POLICY, at(40))

    assert memory.code != ReasonCode.STALLED.value, name


def test_one_that_was_never_ready_is_not_stalled() -> None:
    said = probe(True, 1, at(40), in_flight=1, last_token_at=at(0))
    starting = replica("llama-1", S.STARTING, said, busy=Busy(START))

    assert progress.stalled(starting, starting.memory, POLICY) is None  # type: ignore[arg-type]


def test_the_sentence_of_a_stall_without_counters() -> None:
    seen = replica("llama-1", S.READY, probe(True, 5, at(31.4), in_flight=None, last_token_at=at(0)), busy=Busy(START))

    _, reason = fold_health(seen, POLICY, at(31.4))

    assert reason is not None
    assert reason.text == "it has work that it does not tell of and made no token for 31 s, 30 s are allowed"
    assert reason.numbers == {"stalled_s": 31.4, "allowed_s": 30.0}


def test_what_it_holds_is_kept_while_it_does_not_say() -> None:
    seen = replica("llama-1", S.READY, probe(True, in_flight=2, waiting=3))
    memory, _ = fold_health(seen, POLICY, START)
    assert memory.holds == 5

    for quiet in (probe(False), probe(True, in_flight=None, waiting=None), None):
        after, _ = fold_health(replace(seen, probe=quiet, memory=memory), POLICY, START)
        assert after.holds == 5


def test_a_quiet_tick_changes_nothing() -> None:
    seen = replica("llama-1", S.READY, probe(True, 9, at(3), in_flight=1, last_token_at=at(2)), busy=Busy(at(1)))
    once = progress.follow(seen, seen.memory)  # type: ignore[arg-type]
    later = replace(seen, probe=probe(True, 10, at(4), in_flight=1, last_token_at=at(3)))

    assert progress.follow(later, once) is once
