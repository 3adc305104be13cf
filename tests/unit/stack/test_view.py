"""What the terminal shows of what the API says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from controller.stack import view
from controller.stack.api_client import Seen

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
POOL = {"pool": "small", "model": "small", "floor": 3, "ceiling": 6, "desired": 3, "ready": 1}
READY = {
    "replica": "small-1",
    "pool": "small",
    "state": "ready",
    "phase": "ready",
    "created_at": (NOW - timedelta(seconds=40)).isoformat(),
    "cold_start_s": 2.54,
    "in_flight": 1,
    "waiting": 0,
    "routed": True,
    "why": "a probe passed",
}


def row(**change: Any) -> dict[str, Any]:
    return {**READY, **change}


STARTING = row(replica="small-2", state="starting", phase="loading", cold_start_s=None, routed=False, why="")


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        pytest.param(READY, "2.5 s", id="ready"),
        pytest.param(STARTING, "40 s so far", id="still starting"),
        pytest.param(row(state="stopped", cold_start_s=None), "-", id="never got there"),
        pytest.param({**STARTING, "eta_s": 3.4}, "40 s so far, 3 s to go", id="usually takes so long"),
        pytest.param(row(state="unready"), "2.5 s", id="was ready once"),
        pytest.param({**STARTING, "created_at": (NOW + timedelta(seconds=1)).isoformat()}, "0 s so far", id="ahead"),
    ],
)
def test_cold_start(shown: dict[str, Any], text: str) -> None:
    assert view.cold_start(shown, NOW) == text


def test_unknown_is_shown_as_unknown() -> None:
    cells = view.replica_cells(row(phase=None, in_flight=None, waiting=None, why=None), NOW)

    assert cells == ("small-1", "ready", "-", "2.5 s", "?", "?", "yes", "")


def test_the_table_holds_every_replica_and_no_markup_of_theirs() -> None:
    console = Console(width=120)
    with console.capture() as drawn:
        console.print(view.table(Seen((POOL,), (READY, row(replica="small-3", why="[red]boom[/red]"))), NOW))

    text = drawn.get()
    assert "small: 1 of 3 ready" in text
    assert "[red]boom[/red]" in text


def test_lines_tell_changes_only() -> None:
    before = Seen((POOL,), (READY, STARTING))
    after = Seen((POOL,), (row(in_flight=5), row(replica="small-2", cold_start_s=1.26), row(replica="small-4")))

    assert view.changes(before, before, NOW) == []
    assert view.changes(before, after, NOW)[0] == "small-2: ready, cold start 1.3 s, routed (a probe passed)"
    assert [line.split(":")[0] for line in view.changes(before, after, NOW)] == ["small-2", "small-4"]
    assert view.changes(after, before, NOW)[-1] == "small-4: gone"
    assert view.changes(Seen(), Seen((POOL,), (STARTING,)), NOW) == [
        "small-2: starting, loading, cold start 40 s so far"
    ]


OTHER = {**POOL, "pool": "other"}


@pytest.mark.parametrize(
    ("pools", "routed", "ready"),
    [
        pytest.param((), (), False, id="not looked yet"),
        pytest.param((POOL,), (True, True, False), False, id="nginx does not know the third"),
        pytest.param((POOL,), (True, True, True), True, id="at the floor"),
        pytest.param((POOL, OTHER), (True, True, True), False, id="one of two"),
    ],
)
def test_ready_means_every_pool_gets_requests_at_its_floor(
    pools: tuple[dict[str, Any], ...], routed: tuple[bool, ...], ready: bool
) -> None:
    assert Seen(pools, tuple(row(pool="small", routed=flag) for flag in routed)).ready() is ready


def test_what_keeps_a_pool_from_healing_stands_below_the_counts() -> None:
    reasons = [{"code": "AtFloor", "text": "the floor is 3"}, {"code": "FuseBlown", "text": "healing stops"}]

    assert view.headline(Seen(({**POOL, "reasons": reasons},))) == "small: 1 of 3 ready\nsmall: healing stops"
