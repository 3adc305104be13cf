"""Which pools a drill leaves alone, and what it says then."""

from __future__ import annotations

from typing import Any

import pytest

from controller.stack.drill.refusal import Pool, not_whole, refusal

SIGNALS = [{"signal": "in_flight", "target": 4.0}, {"signal": "utilization", "target": 0.7}]


def pool(*states: str, desired: int = 3, in_flight: float | None = 0.0, signals: list[Any] = SIGNALS) -> Pool:
    """small-1, small-2, ... in these states; a + behind one: it gets requests."""
    replicas = [
        {"replica": f"small-{number}", "pool": "small", "state": state.rstrip("+"), "routed": state.endswith("+")}
        for number, state in enumerate(states, start=1)
    ]
    others: list[Any] = [{"replica": "big-1", "pool": "big", "state": "unready", "routed": False}]
    row = {"pool": "small", "desired": desired, "in_flight": in_flight, "signals": signals}
    return Pool.of("small", [{"pool": "big"}, row], replicas + others)


THREE = ("ready+", "ready+", "ready+")
ANYWAY = ", or --force does it anyway"
CASES = [
    pytest.param(pool(*THREE), 8, 1, None, id="exactly enough room"),
    pytest.param(pool(*THREE), 12, 0, None, id="nobody is hit: all of them hold the load"),
    pytest.param(pool(*THREE, signals=[]), 100, 1, None, id="not scaled by requests in flight"),
    pytest.param(pool(*THREE, in_flight=None), 8, 1, None, id="what is in flight is not known"),
    pytest.param(
        pool(*THREE),
        9,
        1,
        "2 replicas of small hold 8 requests at their target of 4, and 0 in flight with 9 clients of the drill are "
        "more; give --load 8 or less" + ANYWAY,
        id="too many clients",
    ),
    pytest.param(
        pool(*THREE, in_flight=8.0),
        8,
        1,
        "2 replicas of small hold 8 requests at their target of 4, and 8 in flight with 8 clients of the drill are "
        "more; wait for less load, or give the pool a higher floor" + ANYWAY,
        id="users need all of it",
    ),
    pytest.param(
        pool("ready+", desired=1),
        1,
        1,
        "small has 1 ready replicas, and with 1 fewer nobody would answer; give it a floor of 2 or more" + ANYWAY,
        id="the only one",
    ),
    pytest.param(
        pool("ready+", "ready+", "starting"),
        2,
        1,
        "small is not whole: 2 of 3 replicas serve; wait until all do, `stoker status` shows it" + ANYWAY,
        id="one is missing",
    ),
    pytest.param(
        pool(*THREE, "draining"),
        2,
        1,
        "small is not quiet: small-4 is draining; wait until every replica is ready" + ANYWAY,
        id="something moves",
    ),
]


@pytest.mark.parametrize(("found", "clients", "hit", "want"), CASES)
def test_refusal(found: Pool, clients: int, hit: int, want: str | None) -> None:
    assert refusal(found, clients, hit) == want


@pytest.mark.parametrize(
    ("states", "whole"),
    [
        (THREE, True),
        (("ready+", "ready+", "ready"), False),  # it left nginx, or is not in it yet
        (("ready+", "ready+", "suspect+"), False),
        ((*THREE, "ready"), True),  # one more, that will get its requests
        ((*THREE, "quarantined"), False),
    ],
)
def test_whole_and_quiet(states: tuple[str, ...], whole: bool) -> None:
    assert (not_whole(pool(*states)) is None) is whole
