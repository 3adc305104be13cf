"""Flapping, cold start and overshoot: what other projects' users met (numbers 18 to 26 of the list)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.core.cron import FloorWindow
from controller.core.decision import DrainReplica, RemoveReplica, TerminateReplica
from controller.core.model import ReplicaId, Signal
from controller.core.policy import ForecastPolicy, ScalingPolicy, TargetPolicy, UtilizationPolicy
from tests.scenarios import test_peers_missing, test_peers_signals
from tests.scenarios.peers import Pool, of
from tests.scenarios.world import POOL

POLICY = ScalingPolicy(floor=2, ceiling=16, scale_down_window=timedelta(seconds=60))
F, U, K = Signal.IN_FLIGHT, Signal.UTILIZATION, Signal.KV_CACHE


@of("aibrix-2670")
@pytest.mark.parametrize("gateway", [True, False], ids=["by the gateway", "by the replicas"])
def test_replicas_that_load_are_counted_and_no_more_are_started(issue: str, gateway: bool) -> None:
    """Four are needed and two of them take five minutes to load, without a reading of their own."""
    pool = Pool(scaling=POLICY).at(2)
    pool.runtime.cold_start_s = 280

    def busy(world: Pool) -> None:
        world.load(16 if gateway else None)
        for name in world.routed():
            world.metrics.replicas[POOL, ReplicaId(name)] = 16 / len(world.routed())

    pool.every_2_s(600, busy)

    assert pool.counts() == [4]
    assert len(pool.runtime.started) == 4


@of("aibrix-2670")
def test_nor_by_a_mean_that_only_those_that_serve_have(issue: str) -> None:
    pool = Pool(scaling=replace(POLICY, kv_cache=TargetPolicy(0.5))).at(2)
    pool.runtime.cold_start_s = 280

    def full(world: Pool) -> None:
        world.each(K, 2.0 / len(world.routed()))

    pool.every_2_s(600, full)

    assert pool.counts() == [4]
    assert len(pool.runtime.started) == 4


@of("llm-d-autoscaling-1071")
def test_with_a_forecast_the_replicas_are_ready_when_they_are_needed(issue: str) -> None:
    """The load rises by one request every five seconds, a replica needs four minutes."""
    late: dict[bool, int] = {}
    for enabled in (True, False):
        forecast = ForecastPolicy(timedelta(seconds=120), enabled)
        pool = Pool(scaling=replace(POLICY, ceiling=60, forecast=forecast), cold_start_s=240.0)
        pool.load(8)
        pool.run(700)
        assert len(pool.routed()) == 2
        short, step = 0, 0

        def rising(world: Pool) -> None:
            nonlocal short, step
            step += 1
            in_flight = 8 + step * 0.4
            world.load(in_flight)
            short += in_flight > 4.4 * len(world.routed()) and step > 180  # after the first cold start

        pool.every_2_s(700, rising)
        late[enabled] = short

    assert late[False] > 150, "it is always four minutes late"
    assert late[True] <= late[False] / 5


@of("llm-d-autoscaling-1321")
def test_spare_replicas_are_the_floor_and_serve(issue: str) -> None:
    """None is kept warm apart from the others: what is warm serves, and the floor says how many those are, by the hour
    if need be."""
    morning = FloorWindow("0 13 * * *", timedelta(hours=1), 8)  # the world begins at noon
    pool = Pool(scaling=replace(POLICY, floor=5, schedule=(morning,)))
    pool.load(1)
    pool.run(20)
    pool.clock.advance(2900)
    pool.run(300)
    assert (pool.counts(), len(pool.routed())) == ([5], 5)

    pool.clock.advance(360)
    pool.run(60)
    assert (pool.counts(), len(pool.routed())) == ([5, 8], 8)


@of("dynamo-9294")
@pytest.mark.parametrize("load", [0.3, 0.55, 0.77, 0.85, 1.2, 1.45])
@pytest.mark.parametrize("signal", [U, K], ids=["utilization", "kv cache"])
def test_a_constant_load_comes_to_rest(issue: str, signal: Signal, load: float) -> None:
    """What one replica would be filled by is shared by those that serve: two at 50 % are one at 100 %."""
    alone = {"in_flight": TargetPolicy(4, enabled=False), "utilization": UtilizationPolicy(enabled=signal is U)}
    kv_cache = TargetPolicy(0.7, enabled=signal is K)
    pool = Pool(scaling=replace(POLICY, floor=1, kv_cache=kv_cache, **alone))  # type: ignore[arg-type]

    def shared(world: Pool) -> None:
        world.each(signal, min(load / max(len(world.routed()), 1), 1.0))

    pool.every_2_s(200, shared)
    settled = len(pool.counts())
    pool.every_2_s(300, shared)

    assert len(pool.counts()) == settled
    assert load / len(pool.routed()) <= 0.77


@of("nomad-autoscaler-272")
def test_a_rise_right_after_a_step_down_is_seen(issue: str) -> None:
    pool = Pool(scaling=POLICY).at(5)
    pool.load(16)
    pool.run(64)
    assert pool.desired == 4
    pool.load(28)
    pool.run(2)
    assert pool.desired == 7
    pool.load(16)
    pool.run(56)
    assert pool.desired == 7, "down waits for its own window"


@of("ray-18925")
def test_the_replica_with_the_backlog_stays(issue: str) -> None:
    """New and idle ones lower the mean; it is they who go again."""
    pool = Pool(scaling=POLICY).at(4)
    backlog = ReplicaId(pool.routed()[0])
    pool.runtime.replicas[backlog].in_flight = 12
    pool.load(12)
    pool.run(120)
    assert pool.counts() == [3]
    pool.load(4)
    pool.run(120)

    assert pool.counts() == [3, 2]
    assert backlog in pool.routed()
    drained = {
        row.decision.replica for row in pool.store.decisions(limit=1000) if isinstance(row.decision, DrainReplica)
    }
    assert len(drained) == 2


@of("dstack-2656")
def test_nothing_is_started_without_traffic(issue: str) -> None:
    pool = Pool(scaling=POLICY)
    pool.run(20)
    pool.each(U, 0.0)
    pool.run(1800)

    assert pool.counts() == [2]
    assert len(pool.runtime.started) == 2


@of("dstack-2656")
def test_nothing_that_serves_is_stopped(issue: str) -> None:
    """What is to go leaves nginx first, gets a SIGTERM, and ends by itself once its last request has."""
    pool = Pool(scaling=POLICY).at(4)
    for entry in pool.runtime.replicas.values():
        entry.in_flight = 1
    pool.load(0)
    pool.run(80)
    leaving = [name for name, entry in pool.runtime.replicas.items() if entry.terminated]
    assert len(leaving) == 1
    assert leaving[0] not in pool.routed()
    pool.run(20)
    assert leaving[0] in pool.running(), "it has a request to finish"
    pool.runtime.replicas[leaving[0]].in_flight = 0
    pool.run(4)

    rows = reversed(pool.store.decisions(limit=1000))
    ways = [type(row.decision) for row in rows if getattr(row.decision, "replica", None) == leaving[0]]
    assert ways[-3:] == [DrainReplica, TerminateReplica, RemoveReplica]


@of("skypilot-3255")
def test_a_lower_ceiling_holds_from_the_next_controller_on(issue: str) -> None:
    pool = Pool(scaling=POLICY).at(6)
    pool.scaling = replace(POLICY, ceiling=4)
    pool.controller()
    pool.load(100)
    pool.run(2)
    assert pool.desired == 4
    pool.run(600)

    assert pool.counts() == [4]
    assert len(pool.running()) == 4


@of("gpustack-3443", "gpustack-2495")
def test_it_follows_the_load_on_a_plain_docker_host(issue: str) -> None:
    pool = Pool(scaling=POLICY).at(2)
    pool.load(30)
    pool.run(30)
    assert len(pool.routed()) == 8
    pool.load(2)
    pool.run(400)
    assert len(pool.routed()) == 2


@of("gpustack-5683")
def test_it_follows_the_calendar(issue: str) -> None:
    office = FloorWindow("0 8 * * mon-fri", timedelta(hours=10), 6, "Europe/Berlin")  # it is Monday, 13:00 there
    pool = Pool(scaling=replace(POLICY, schedule=(office,)))
    pool.run(30)
    assert len(pool.routed()) == 6
    pool.clock.advance(5 * 3600 - 60)
    pool.run(300)

    assert len(pool.routed()) == 2
    assert pool.counts() == [6, 5, 4, 3, 2]


ISSUES = {
    1: ("dcgm-exporter-301",),
    2: ("llm-d-autoscaling-662",),
    3: ("keda-gpu-scaler-12",),
    4: ("inference-stack-6",),
    5: ("skypilot-3686",),
    6: ("dstack-3825",),
    7: ("dstack-1279",),
    8: ("aibrix-1614",),
    9: ("keda-3065",),
    10: ("keda-4249",),
    11: ("dynamo-6985", "dynamo-3131"),
    12: ("dynamo-14575",),
    13: ("aibrix-1032",),
    14: ("kthena-1403",),
    15: ("llm-d-autoscaling-368",),
    16: ("production-stack-989", "vllm-27133"),
    17: ("llm-d-2492",),
    18: ("aibrix-2670",),
    19: ("llm-d-autoscaling-1071",),
    20: ("llm-d-autoscaling-1321",),
    21: ("dynamo-9294",),
    22: ("nomad-autoscaler-272",),
    23: ("ray-18925",),
    24: ("dstack-2656",),
    25: ("skypilot-3255",),
    26: ("gpustack-3443", "gpustack-2495", "gpustack-5683"),
}


def test_every_issue_of_the_list_has_its_test() -> None:
    named = {
        issue
        for module in (test_peers_signals, test_peers_missing)
        for test in vars(module).values()
        for issue in _issues_of(test)
    } | {issue for test in list(globals().values()) for issue in _issues_of(test)}

    assert named == {issue for issues in ISSUES.values() for issue in issues}


def _issues_of(test: object) -> list[str]:
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    return [issue for mark in marks if mark.args[0] == "issue" for issue in mark.args[1]]
