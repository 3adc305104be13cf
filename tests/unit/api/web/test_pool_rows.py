"""The rows of a pool's replicas: what a start is made of, what people want of one, and what changes with each look."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.api.deps import Seen
from controller.api.web.pool_rows import Numbers, Stage, numbers_of, rows_of, start_of
from controller.core.decision import Memory, Plan
from controller.core.model import (
    ColdStart,
    GatewayPlan,
    LauncherPhase,
    OrderKind,
    PoolMemory,
    PoolReadings,
    Replica,
    ReplicaId,
    ReplicaState,
    Signal,
    Snapshot,
)
from tests.fakes.clock import START
from tests.unit.core.build import POOL, order, probe, reading, replica

COLD = ColdStart(20.0, create_s=2.0, fetch_s=0.0, load_s=12.0, warm_s=4.0, first_token_s=1.0)


def seen(*replicas: Replica, readings: PoolReadings | None = None, **more: object) -> Seen:
    pool = PoolMemory(POOL, 2, cold_starts=(COLD,))
    known = {item.container.replica: item.memory for item in replicas if item.memory}
    snapshot = Snapshot(START, 1, replicas, {POOL: pool}, {POOL: readings or PoolReadings()}, **more)  # type: ignore[arg-type]
    plan = Plan((), GatewayPlan(), Memory(replicas=known, pools={POOL: pool}), ())
    return Seen(snapshot, plan, frozenset({ReplicaId("llama-1")}))


def test_the_stages_of_a_start_lie_side_by_side() -> None:
    start = start_of(COLD)
    assert start.total_s == 20.0
    assert start.stages == (
        Stage("create", 2.0, 0.0, 10.0), Stage("load", 12.0, 10.0, 60.0), Stage("warm", 4.0, 70.0, 20.0),
        Stage("first_token", 1.0, 90.0, 5.0),
    )  # fmt: skip


def test_a_start_of_which_nothing_is_told_has_no_bar() -> None:
    assert start_of(ColdStart(9.0)).stages == ()


@pytest.mark.parametrize(("age_s", "eta_s"), [(8.0, 12), (30.0, 0)])
def test_one_that_starts_tells_when_it_is_usually_ready(age_s: float, eta_s: int) -> None:
    made = START - timedelta(seconds=age_s)
    told = probe(False, phase=LauncherPhase.LOADING, began_at=made + timedelta(seconds=2), stages=(("load", 5.0),))
    item = replica("llama-1", ReplicaState.STARTING, told, box={"created_at": made})
    (row,) = rows_of(seen(item), POOL, None)
    assert row.start is not None
    assert (row.start.total_s, row.start.eta_s, row.phase, row.level) == (None, eta_s, "loading", "busy")
    assert [stage.name for stage in row.start.stages] == ["create", "load"]


def test_a_row_says_what_people_want_and_whether_it_is_full() -> None:
    readings = PoolReadings(replicas={Signal.MEMORY: {ReplicaId("llama-1"): reading(0.93)}})
    wishes = (order(OrderKind.DRAIN, "replica/llama-1", why="noisy"), order(OrderKind.DRAIN, "replica/llama-10"))
    (row,) = rows_of(seen(replica("llama-1", result=probe(True)), readings=readings, orders=wishes), POOL, 0.9)
    assert row.orders == (("drain", "noisy"),)
    assert (row.full, row.routed, row.level, row.start) == (True, True, "calm", None)


def test_numbers_come_apart_from_the_row() -> None:
    """So that a look at which nothing happens sends no row again."""
    first = replica("llama-1", result=probe(True, in_flight=3, waiting=1))
    later = replace(first, probe=probe(True, in_flight=4, waiting=0))
    readings = PoolReadings(tokens={ReplicaId("llama-1"): reading(80.0)})
    assert rows_of(seen(first), POOL, 0.9) == rows_of(seen(later, readings=readings), POOL, 0.9)
    assert numbers_of(seen(first), POOL) == [Numbers("llama-1", 3, 1, None, None)]
    assert numbers_of(seen(later, readings=readings), POOL) == [Numbers("llama-1", 4, 0, 80.0, None)]


def test_the_oldest_comes_first_and_others_pools_do_not() -> None:
    old = START - timedelta(hours=1)
    items = (replica("llama-10"), replica("llama-9"), replica("llama-2", box={"created_at": old}))
    assert [row.name for row in rows_of(seen(*items), POOL, None)] == ["llama-2", "llama-9", "llama-10"]
    assert rows_of(seen(*items), type(POOL)("other"), None) == []
