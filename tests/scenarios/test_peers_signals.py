"""Signals: what users of other projects reported of what a pool is scaled by (numbers 1 to 8 of the list)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from controller.core.model import ReplicaId, Signal
from controller.core.policy import ScalingPolicy, Source, TargetPolicy, UtilizationPolicy
from controller.core.signals import replicas_for
from controller.settings.scaling import ScalingSettings
from tests.scenarios.peers import Pool, of
from tests.scenarios.world import POOL

ROOT = Path(__file__).parents[2]
WIDE = ScalingPolicy(ceiling=20)
ON_GPU = replace(WIDE, utilization=UtilizationPolicy(source=Source.GPU))
F, U, K, T, M = Signal.IN_FLIGHT, Signal.UTILIZATION, Signal.KV_CACHE, Signal.TOKENS, Signal.MEMORY


@of("dcgm-exporter-301")
def test_one_request_keeps_a_gpu_busy_and_the_scaler_does_not_run_away(issue: str) -> None:
    """Every replica that has a single request looks full, the new ones as well."""
    pool = Pool(scaling=ON_GPU).at(4)

    def busy(world: Pool) -> None:
        world.each(U, 1.0)

    pool.every_2_s(1200, busy)

    assert pool.counts() == [5]
    assert any(text.startswith("utilization alone may ask for 5") for text in pool.why)
    by_the_hpa = replicas_for([True] * 5, [1.0] * 5, 0.7)
    assert by_the_hpa == 8, "the same readings by themselves"


@of("llm-d-autoscaling-662")
def test_a_queue_that_grows_is_seen_while_the_kv_cache_is_a_third_full(issue: str) -> None:
    pool = Pool(scaling=replace(WIDE, kv_cache=TargetPolicy(0.8))).at(4)
    queue = iter(range(16, 1000, 2))

    def prefill(world: Pool) -> None:
        world.each(K, 0.32)
        world.load(next(queue))

    pool.every_2_s(20, prefill)

    assert pool.desired >= 8
    assert "in flight and waiting" in pool.why[0]


@of("keda-gpu-scaler-12")
def test_a_queue_is_seen_at_once_while_gpu_and_memory_lag_behind(issue: str) -> None:
    """The replicas' own count of requests that wait is enough: here the gateway tells nothing."""
    pool = Pool(scaling=ON_GPU).at(4)
    pool.load(None)
    pool.each(U, 0.0)
    pool.each(M, 0.5)
    for name in pool.routed():
        pool.metrics.replicas[POOL, ReplicaId(name)] = 10
    pool.run(2)

    assert pool.desired == 8, "40 on 4 ask for 10; four more in 15 s are allowed"


@of("inference-stack-6")
def test_cpu_and_memory_say_nothing_of_a_gpu_and_its_kv_cache_does(issue: str) -> None:
    pool = Pool(scaling=replace(WIDE, kv_cache=TargetPolicy(0.8))).at(4)

    def full(world: Pool) -> None:
        world.each(U, 0.05)  # of the CPU
        world.each(M, 0.3)
        world.each(K, 4 * 0.95 / len(world.routed()))

    pool.every_2_s(60, full)

    assert pool.counts() == [5]


@of("skypilot-3686")
def test_it_scales_by_what_users_wait_though_as_many_ask_as_before(issue: str) -> None:
    pool = Pool(scaling=WIDE).at(4)

    def slow(world: Pool) -> None:
        world.latency(0.8 if len(world.routed()) < 6 else 0.4)

    pool.every_2_s(120, slow)

    assert pool.counts() == [5, 6]


@of("skypilot-3686")
def test_it_scales_by_tokens_a_second(issue: str) -> None:
    pool = Pool(scaling=replace(WIDE, tokens=TargetPolicy(500))).at(4)

    def long_answers(world: Pool) -> None:
        world.each(T, 3000 / len(world.routed()))

    pool.every_2_s(60, long_answers)

    assert pool.desired == 6


@of("dstack-3825")
def test_streams_that_never_end_are_load(issue: str) -> None:
    """Half an hour in which no request ends: a rate of those that did is 0, and their latency is not known."""
    pool = Pool(scaling=WIDE).at(5)
    pool.load(20)
    pool.latency(None)
    pool.run(1800)
    assert pool.counts() == []
    assert len(pool.routed()) == 5

    pool.load(0)
    pool.latency(0)
    pool.run(600)
    assert len(pool.routed()) == 3


@of("dstack-1279")
def test_every_signal_can_be_found_where_one_looks(issue: str) -> None:
    """In the reference, in the names that the configuration takes, and in the sentence of each evaluation."""
    keys = {"in_flight", "utilization", "kv_cache", "tokens_per_second", "latency", "errors", "memory"}
    reference = (ROOT / "docs/configuration.md").read_text()
    accepted = {field.alias or name for name, field in ScalingSettings.model_fields.items()}

    assert {signal.value for signal in Signal} == keys <= accepted
    assert all(f"`{key}.target`" in reference or f"`{key}.threshold`" in reference for key in keys)
    pool = Pool(scaling=WIDE).at(4)
    assert pool.why[0] == "16 in flight and waiting, target 4 for each of 4"


@of("aibrix-1614")
def test_an_engine_with_several_ranks_is_one_replica(issue: str) -> None:
    """The recording rules fold the ranks before the controller sees them: alerts/tests/recording.yml plays it on a
    Prometheus of its own (`promtool test rules`), for what adds up, what is told twice, and what is a share."""
    tests = {test["name"]: test for test in yaml.safe_load((ROOT / "alerts/tests/recording.yml").read_text())["tests"]}
    ranks = tests["SGLang's data-parallel ranks add up, its tensor-parallel ranks tell the same"]
    fullest = tests["the KV cache under every engine's name; of ranks the fullest, of vLLM's two names the new one"]

    for test, label in ((ranks, "tp_rank"), (fullest, "engine=")):
        assert any(label in series["series"] for series in test["input_series"])
        for question in test["promql_expr_test"]:
            for sample in question["exp_samples"]:
                assert "rank" not in sample["labels"]
                assert "engine=" not in sample["labels"]
