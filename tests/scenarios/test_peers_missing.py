"""Missing, stale and renamed metrics: what other projects' users met (numbers 9 to 17 of the list)."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from controller.core.model import UNKNOWN, Reading, ReplicaId, Signal
from controller.core.policy import LatencyPolicy, ScalingPolicy, TargetPolicy, UtilizationPolicy
from controller.reconcile.queries import NUMBERS, question
from tests.fakes.clock import START
from tests.scenarios.peers import Pool, of
from tests.scenarios.world import POOL

ROOT = Path(__file__).parents[2]
POLICY = ScalingPolicy(ceiling=8, scale_down_window=timedelta(seconds=60))
BY_KV = replace(POLICY, kv_cache=TargetPolicy(0.5))
F, U, K, L = Signal.IN_FLIGHT, Signal.UTILIZATION, Signal.KV_CACHE, Signal.LATENCY


@of("keda-3065")
def test_an_outage_of_prometheus_at_peak_leaves_every_replica(issue: str) -> None:
    pool = Pool(scaling=POLICY).at(8)
    pool.metrics.down = True
    pool.run(900)
    assert (pool.desired, len(pool.routed())) == (8, 8)
    assert pool.why[0].startswith("held: nothing is known of the load")

    pool.metrics.down = False
    pool.run(120)
    assert pool.counts() == []


@of("keda-3065")
def test_a_null_is_not_a_zero(issue: str) -> None:
    """Prometheus answers, and has no series of one signal."""
    pool = Pool(scaling=BY_KV).at(6)
    pool.load(4)
    pool.each(K, None)
    pool.run(900)

    assert pool.counts() == []
    assert "held: not known: KV cache in use" in pool.why


@of("keda-4249")
def test_a_trigger_that_fails_every_other_time_makes_no_flapping(issue: str) -> None:
    pool = Pool(scaling=POLICY).at(5)

    def flaky(world: Pool) -> None:
        world.metrics.down = not world.metrics.down

    pool.every_2_s(600, flaky)

    assert pool.counts() == []


@of("keda-4249")
def test_a_signal_that_comes_and_goes_makes_no_flapping(issue: str) -> None:
    """While it is there it asks for six, the others for the floor."""
    pool = Pool(scaling=BY_KV).at(6)
    pool.load(4)
    there = iter([True, False] * 1000)

    def flaky(world: Pool) -> None:
        world.each(K, 0.5 if next(there) else None)

    pool.every_2_s(600, flaky)

    assert pool.counts() == []


@of("dynamo-6985", "dynamo-3131")
def test_a_pool_without_traffic_shrinks_though_its_averages_are_0_by_0(issue: str) -> None:
    """0/0 is left out by the recording rules ("a pool that never had a request has no errors, and waits for nothing"
    in alerts/tests); where it came through all the same it would be unknown, not a number."""
    assert Reading.of(math.nan, START) is UNKNOWN
    pool = Pool(scaling=POLICY).at(6)
    pool.load(0)
    pool.latency(0)
    pool.run(300)

    assert len(pool.routed()) == 3


@of("dynamo-6985", "dynamo-3131")
def test_so_does_one_that_goes_by_latency_alone(issue: str) -> None:
    off = {"in_flight": TargetPolicy(4, enabled=False), "utilization": UtilizationPolicy(enabled=False)}
    pool = Pool(scaling=replace(POLICY, **off, latency=LatencyPolicy()))  # type: ignore[arg-type]
    pool.latency(0.9)
    pool.run(120)
    assert pool.desired > 3
    pool.latency(0)
    pool.run(400)

    assert len(pool.routed()) == 3


@of("dynamo-14575")
def test_the_floor_is_kept_through_an_outage_of_the_metrics(issue: str) -> None:
    pool = Pool(scaling=POLICY).at(3)
    pool.metrics.down = True
    pool.run(20)
    for name in pool.routed()[:2]:
        pool.runtime.kill(ReplicaId(name))
    pool.run(20)

    assert len(pool.routed()) == len(pool.running()) == 3


@of("dynamo-14575")
def test_a_pool_comes_up_without_any_metrics(issue: str) -> None:
    pool = Pool(scaling=POLICY)
    pool.metrics.down = True
    pool.run(20)

    assert len(pool.routed()) == 3


@of("aibrix-1032")
@pytest.mark.parametrize(("others", "load", "want"), [(1.0, 16, 6), (0.0, 12, 3)], ids=["it grows", "it shrinks"])
def test_one_replica_that_does_not_report_blocks_nobody(issue: str, others: float, load: float, want: int) -> None:
    pool = Pool(scaling=BY_KV).at(4)
    pool.load(load)
    pool.each(K, others)
    pool.metrics.replica[POOL, ReplicaId(pool.routed()[0]), K] = None
    pool.run(100)

    assert pool.desired == want


@of("aibrix-1032")
def test_all_is_asked_for_in_one_question(issue: str) -> None:
    """One after the other was the slow part."""
    asked = question(NUMBERS)

    assert all(series in asked for number in NUMBERS.values() for series in number.series)


@of("kthena-1403")
def test_one_that_is_not_ready_takes_no_reading_from_the_others(issue: str) -> None:
    pool = Pool(scaling=BY_KV).at(4)
    pool.each(K, 1.0)
    hung = ReplicaId(pool.routed()[0])
    pool.runtime.pause(hung)
    pool.metrics.replica[POOL, hung, K] = None
    pool.run(10)

    assert hung not in pool.routed()
    assert pool.desired == 6


@of("llm-d-autoscaling-368")
def test_series_of_a_replica_that_is_gone_decide_nothing(issue: str) -> None:
    """They linger for as long as Prometheus keeps them: half a minute by its lookback, here for ever."""
    pool = Pool(scaling=BY_KV).at(4)
    gone = ReplicaId("llama-99")
    for signal in (F, U, K):
        pool.metrics.replica[POOL, gone, signal] = 100.0
    pool.metrics.replicas[POOL, gone] = 100.0
    pool.run(300)

    assert pool.counts() == []


@of("llm-d-autoscaling-368")
def test_nor_does_a_number_that_stands_still(issue: str) -> None:
    pool = Pool(scaling=POLICY).at(4)
    pool.load(40)
    pool.metrics.age_s = 30
    pool.run(60)

    assert pool.counts() == []


RENAMED = {
    "vllm:gpu_cache_usage_perc": "vllm:kv_cache_usage_perc",
    "vllm:num_requests_waiting": "vllm:num_requests_waiting_by_reason",
}


@of("production-stack-989", "vllm-27133")
def test_a_renamed_metric_is_known_under_both_names(issue: str) -> None:
    """The rules ask for both, and alerts/tests play each of them."""
    rules = (ROOT / "alerts/rules/recording.yml").read_text()
    tests = (ROOT / "alerts/tests/recording.yml").read_text()

    for old, new in RENAMED.items():
        assert old in rules
        assert new in rules
        assert f"'{old}{{" in tests
        assert f"'{new}{{" in tests


@of("production-stack-989", "vllm-27133")
def test_one_that_nobody_knows_shrinks_no_pool_and_is_named(issue: str) -> None:
    pool = Pool(scaling=BY_KV).at(5)
    pool.load(0)
    pool.each(K, None)
    pool.run(600)

    assert len(pool.routed()) == 5
    assert pool.why[-1] == "held: not known: KV cache in use"


@of("production-stack-989", "vllm-27133")
def test_every_number_of_the_controller_is_one_that_the_rules_record(issue: str) -> None:
    groups = yaml.safe_load((ROOT / "alerts/rules/recording.yml").read_text())["groups"]
    recorded = {rule["record"] for group in groups for rule in group["rules"]}

    assert {series for number in NUMBERS.values() for series in (number.scraped, *number.series)} <= recorded


@of("llm-d-2492")
def test_the_first_request_wakes_a_pool_that_has_no_series_at_all(issue: str) -> None:
    pool = Pool(scaling=replace(POLICY, floor=0, zero_after=timedelta(seconds=60)))
    pool.metrics.last_request[POOL] = pool.clock.now()
    pool.run(10)
    assert len(pool.routed()) == 1, "somebody has just asked"
    pool.run(200)
    assert pool.running() == []

    pool.load(None)  # no series: a counter that begins at 1 has no rate
    pool.latency(None)
    pool.metrics.last_request[POOL] = pool.clock.now()
    pool.run(6)
    assert len(pool.routed()) == 1
