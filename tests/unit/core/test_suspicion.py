"""Passive evidence: who fails, or is slow, beside its peers; where all are it is nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from controller.core.model import Busy, PoolReadings, Reading, Replica, ReplicaId, ReplicaState, Signal
from controller.core.policy import HealthPolicy
from controller.core.reason import ReasonCode
from controller.core.suspicion import slowness, suspicions
from tests.fakes.clock import START
from tests.unit.core.build import only, probe, reading, readings, replica

S, R = ReplicaState, ReasonCode
HEALTH, SCALING = HealthPolicy(), only(Signal.IN_FLIGHT)
Numbers = Sequence[float | None]


@dataclass(frozen=True)
class Case:
    """`errors` are the shares of each replica; `want` are those that are suspect."""

    name: str
    errors: Numbers
    want: Sequence[int] = ()
    states: Sequence[S] = (S.READY, S.READY, S.READY)
    age_s: float = 1.0
    health: HealthPolicy = HEALTH

    def suspects(self) -> dict[ReplicaId, R]:
        mine = [replica(f"llama-{number}", state) for number, state in enumerate(self.states, 1)]
        seen = readings(None, {Signal.ERRORS: self.errors}, now=START - timedelta(seconds=self.age_s - 1))
        found = suspicions(mine, self.health, SCALING, seen, START)
        return {name: reason.code for name, reason in found.items()}


READY2, STRICT = (S.READY, S.READY), HealthPolicy(suspect_errors=0.05)
ERRORS = [
    Case("nobody fails", (0, 0, 0)),
    Case("one does", (0.3, 0, 0), [1]),
    Case("as much as is allowed", (0.2, 0, 0)),
    Case("a little more", (0.21, 0, 0), [1]),
    Case("less is allowed", (0, 0.06, 0), [2], health=STRICT),
    Case("all do", (0.9, 0.9, 0.9)),
    Case("twice its peers", (0.8, 0.4, 0.4)),
    Case("more than twice its peers", (0.81, 0.4, 0.4), [1]),
    Case("two of three", (0.9, 0.9, 0.0)),
    Case("one of two", (0.0, 0.5), [2], READY2),
    Case("alone", (0.9,), (), (S.READY,)),
    Case("the only one that serves", (0.9, 0.0), (), (S.READY, S.STARTING)),
    Case("a suspect is one that serves", (0.9, 0.0), [1], (S.SUSPECT, S.READY)),
    Case("what does not serve is no suspect", (0.9, 0.0, 0.0), (), (S.UNREADY, S.READY, S.READY)),
    Case("nor is it a peer", (0.5, 0.9, 0.0), [1], (S.READY, S.UNREADY, S.READY)),
    Case("its peers say nothing", (0.9, None, None)),
    Case("it says nothing", (None, 0.0, 0.0)),
    Case("a reading that is too old", (0.9, 0.0, 0.0), age_s=4),
]


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: case.name)
def test_errors(case: Case) -> None:
    assert case.suspects() == {f"llama-{number}": R.ERRORS_STAND_OUT for number in case.want}


def test_the_sentence_about_errors_has_both_shares() -> None:
    mine = [replica(f"llama-{number}") for number in (1, 2, 3)]
    (reason,) = suspicions(mine, HEALTH, SCALING, readings(None, {Signal.ERRORS: (0.5, 0.02, 0.04)}), START).values()

    assert reason.text == "50 % of the requests that it was sent failed, 3 % of its peers'"
    assert reason.numbers == {"errors": 0.5, "peers": 0.03, "threshold": 0.2}


# --- speed, over time


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Pool:
    """Replicas with tokens a second and requests in flight; `tick` gives those that are suspect."""

    def __init__(self, *states: S) -> None:
        self.mine = [replica(f"llama-{number}", state, busy=Busy(START)) for number, state in enumerate(states, 1)]

    def tick(self, second: float, tokens: Numbers, in_flight: Sequence[int], scraped: float | None = None) -> list[str]:
        made = {
            item.container.replica: Reading.of(value, at(second if scraped is None else scraped))
            for item, value in zip(self.mine, tokens, strict=True)
            if value is not None
        }
        seen = PoolReadings(tokens=made)
        asked = [
            replace(item, probe=probe(True, 5, at(second), in_flight=count))
            for item, count in zip(self.mine, in_flight, strict=True)
        ]
        self.mine = slowness(asked, HEALTH, SCALING, seen, at(second))
        return list(suspicions(self.mine, HEALTH, SCALING, seen, at(second)))


THREE = (S.READY, S.READY, S.READY)


def test_slow_for_twenty_seconds() -> None:
    pool = Pool(*THREE)

    assert pool.tick(0, (3, 30, 30), (1, 1, 1)) == []
    assert pool.tick(19.9, (3, 30, 30), (1, 1, 1)) == []
    assert pool.tick(20, (3, 30, 30), (1, 1, 1)) == ["llama-1"]


@pytest.mark.parametrize(
    ("tokens", "in_flight", "slow"),
    [
        pytest.param((6, 30, 30), (1, 1, 1), False, id="a fifth of its peers is enough"),
        pytest.param((5.9, 30, 30), (1, 1, 1), True, id="less is not"),
        pytest.param((5, 30, 120), (1, 1, 4), True, id="less in all and for each request"),
        pytest.param((30, 30, 30), (8, 1, 1), False, id="as many in all, for more requests"),
        pytest.param((10, 100, 100), (1, 8, 8), False, id="fewer in all, for fewer requests"),
        pytest.param((0, 30, 30), (1, 1, 1), False, id="none may be a long prompt"),
        pytest.param((1, None, None), (1, 1, 1), False, id="its peers say nothing"),
        pytest.param((1, 0, 0), (1, 1, 1), False, id="its peers make none"),
        pytest.param((1, 30, 30), (1, 0, 0), False, id="its peers have nothing to do"),
    ],
)
def test_how_slow_is_slow(tokens: Numbers, in_flight: Sequence[int], slow: bool) -> None:
    pool = Pool(*THREE)

    pool.tick(0, tokens, in_flight)
    assert pool.tick(60, tokens, in_flight) == (["llama-1"] if slow else [])


def test_one_that_catches_up_begins_anew() -> None:
    pool = Pool(*THREE)

    pool.tick(0, (1, 30, 30), (1, 1, 1))
    pool.tick(6, (25, 30, 30), (1, 1, 1))
    pool.tick(7, (1, 30, 30), (1, 1, 1))
    assert pool.tick(26.9, (1, 30, 30), (1, 1, 1)) == []
    assert pool.tick(27, (1, 30, 30), (1, 1, 1)) == ["llama-1"]


@pytest.mark.parametrize(
    ("name", "states", "tokens", "in_flight", "scraped"),
    [
        ("all are slow", THREE, (1, 1, 1), (1, 1, 1), None),
        ("it has nothing to do", THREE, (0, 30, 30), (0, 1, 1), None),
        ("its peers have nothing to do", THREE, (1, 0, 0), (1, 0, 0), None),
        ("nobody knows what it makes", THREE, (None, 30, 30), (1, 1, 1), None),
        ("what is known is too old", THREE, (1, 30, 30), (1, 1, 1), -10),
        ("it is the only one that serves", (S.READY, S.UNREADY, S.UNREADY), (1, 30, 30), (1, 1, 1), None),
        ("it starts", (S.STARTING, S.READY, S.READY), (1, 30, 30), (1, 1, 1), None),
    ],
)
def test_nobody_is_slow_where(
    name: str, states: tuple[S, ...], tokens: Numbers, in_flight: Sequence[int], scraped: float | None
) -> None:
    pool = Pool(*states)
    for second in range(0, 40, 2):
        when = None if scraped is None else second + scraped
        assert pool.tick(second, tokens, in_flight, when) == [], name


def test_the_sentence_about_speed() -> None:
    pool = Pool(*THREE)
    pool.tick(0, (3, 30, 30), (1, 1, 1))
    pool.tick(20, (3, 30, 30), (1, 1, 1))
    (reason,) = suspicions(pool.mine, HEALTH, SCALING, PoolReadings(), at(20)).values()

    assert reason.code is R.SPEED_STANDS_OUT
    assert reason.text == "it makes 10% of the tokens that its peers make, for 20 s"
    assert reason.numbers == {"speed": 0.1, "threshold": 0.2}


def test_without_tokens_nothing_is_touched() -> None:
    mine: list[Replica] = [replica("llama-1", busy=Busy(START)), replica("llama-2")]

    assert slowness(mine, HEALTH, SCALING, PoolReadings(), START) == mine
    kept = slowness(mine, HEALTH, SCALING, PoolReadings(tokens={ReplicaId("llama-2"): reading(3)}), START)
    assert all(after is before for after, before in zip(kept, mine, strict=True))
