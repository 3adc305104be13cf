"""From the samples of Prometheus's answer to the readings of a pool."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from controller.core.model import UNKNOWN, Gpu, Known, NodeName, PoolName, PoolReadings, Reading, ReplicaId, Signal
from controller.core.policy import (
    ErrorsPolicy,
    LatencyPolicy,
    Measure,
    MemoryOf,
    MemoryPolicy,
    Mode,
    PoolPolicy,
    ScalingPolicy,
    Source,
    TargetPolicy,
    UtilizationPolicy,
)
from controller.ports import Sample
from controller.reconcile.answers import Answer, read
from controller.reconcile.queries import ALWAYS, EDGE, ENGINE, LAUNCHER, MIN_REQUESTS, NUMBERS, question, wanted_by
from tests.fakes.clock import START, FakeClock
from tests.fakes.world import FakeMetrics

POOL, ONE, TWO = PoolName("llama"), ReplicaId("llama-1"), ReplicaId("llama-2")
ALL = ScalingPolicy(kv_cache=TargetPolicy(0.8), tokens=TargetPolicy(1000))


def policy(scaling: ScalingPolicy = ALL, shadow: ScalingPolicy | None = None) -> PoolPolicy:
    return PoolPolicy(POOL, "llama", scaling, mode=Mode.SHADOW if shadow else Mode.ACTIVE, shadow=shadow)


def recorded(name: str, value: float, **labels: str) -> Sample:
    return Sample({"__name__": name, **labels}, value, START)


def direct(name: str, value: float, **labels: str) -> Sample:
    return Sample({"signal": name, **labels}, value, START)


def ago(seconds: float) -> datetime:
    return START - timedelta(seconds=seconds)


def scraped(source: str, seconds: float = 1.0, **labels: str) -> Sample:
    return recorded(source, ago(seconds).timestamp(), **labels)


def answered(*samples: Sample, of: PoolPolicy | None = None) -> Answer:
    return read(samples, {POOL: wanted_by(of or policy())})


def of(replica: str) -> dict[str, str]:
    return {"pool": "llama", "replica": replica}


def test_a_number_is_as_old_as_the_last_scrape_of_its_source_for_each_replica() -> None:
    found = answered(
        recorded("stoker:replica_kv_cache_usage_ratio", 0.5, **of("llama-1")),
        recorded("stoker:replica_kv_cache_usage_ratio", 0.25, **of("llama-2")),
        recorded("stoker:replica_cpu_utilization_ratio", 0.75, **of("llama-1")),
        scraped(ENGINE, 1, **of("llama-1")),
        scraped(ENGINE, 60, **of("llama-2")),
        scraped(LAUNCHER, 2, **of("llama-1")),
    )

    assert found.pools[POOL].replicas == {
        Signal.KV_CACHE: {ONE: Reading(Known.VALUE, 0.5, ago(1)), TWO: Reading(Known.VALUE, 0.25, ago(60))},
        Signal.UTILIZATION: {ONE: Reading(Known.VALUE, 0.75, ago(2))},
    }


def test_of_what_it_is_not_known_how_old_it_is_is_unknown() -> None:
    assert (
        answered(
            recorded("stoker:replica_kv_cache_usage_ratio", 0.5, **of("llama-1")),
            scraped(ENGINE, 1, **of("llama-2")),
            scraped(LAUNCHER, 1, **of("llama-1")),
            recorded("stoker:pool_error_ratio", 0.5, pool="llama"),
            direct("in_flight", 3, pool="llama"),
            direct("in_flight_at", ago(1).timestamp(), pool="another"),
        )
        == Answer()
    )


def test_requests_in_flight_and_waiting_are_one_number_and_need_both() -> None:
    found = answered(
        recorded("stoker:replica_requests_in_flight", 2, **of("llama-1")),
        recorded("stoker:replica_requests_waiting", 3, **of("llama-1")),
        recorded("stoker:replica_requests_in_flight", 2, **of("llama-2")),
        scraped(ENGINE, **of("llama-1")),
        scraped(ENGINE, **of("llama-2")),
    )

    assert found.pools[POOL].replicas == {Signal.IN_FLIGHT: {ONE: Reading(Known.VALUE, 5, ago(1))}}


def test_zero_is_idle_and_another_pool_is_not_ours() -> None:
    found = answered(
        direct("in_flight", 0, pool="llama"),
        direct("in_flight", 3, pool="another"),
        direct("in_flight_at", ago(1).timestamp(), pool="llama"),
        direct("in_flight_at", ago(1).timestamp(), pool="another"),
    )

    assert list(found.pools) == ["llama"]
    assert found.pools[POOL].pool == {Signal.IN_FLIGHT: Reading(Known.IDLE, 0.0, ago(1))}
    assert found.pools[POOL].last_request is UNKNOWN


@pytest.mark.parametrize(
    ("requests", "want"),
    [
        pytest.param(0, Reading(Known.IDLE, 0.0, ago(1)), id="none: no errors"),
        pytest.param(MIN_REQUESTS - 1, None, id="too few to judge it by"),
        pytest.param(MIN_REQUESTS, Reading(Known.VALUE, 0.5, ago(1)), id="enough"),
    ],
)
def test_the_errors_of_a_replica_need_some_requests(requests: float, want: Reading | None) -> None:
    found = answered(
        recorded("stoker:replica_error_ratio", 0.5 if requests else 0.0, **of("llama-1")),
        recorded("stoker:replica_requests", requests, **of("llama-1")),
        recorded("stoker:pool_error_ratio", 0.5, pool="llama"),
        scraped(EDGE),
    ).pools[POOL]

    assert found.replicas.get(Signal.ERRORS, {}).get(ONE) == want
    assert found.pool[Signal.ERRORS] == Reading(Known.VALUE, 0.5, ago(1)), "a pool's need none"


def test_requests_and_tokens_of_each_replica_are_read_whatever_signals_are_enabled() -> None:
    nothing = ScalingPolicy(
        memory=MemoryPolicy(enabled=False),
        latency=LatencyPolicy(enabled=False),
        errors=ErrorsPolicy(enabled=False),
        utilization=UtilizationPolicy(enabled=False),
    )
    found = answered(
        recorded("stoker:replica_requests", 3, **of("llama-1")),
        recorded("stoker:replica_requests", 0, **of("llama-2")),
        recorded("stoker:replica_tokens:rate10s", 80, **of("llama-1")),
        recorded("stoker:replica_tokens:rate10s", 0, **of("llama-2")),
        scraped(EDGE, 3),
        scraped(ENGINE, 1, **of("llama-1")),
        scraped(ENGINE, 2, **of("llama-2")),
        of=policy(nothing),
    ).pools[POOL]

    assert found.requests == {ONE: Reading(Known.VALUE, 3, ago(3)), TWO: Reading(Known.IDLE, 0.0, ago(3))}
    assert found.tokens == {ONE: Reading(Known.VALUE, 80, ago(1)), TWO: Reading(Known.IDLE, 0.0, ago(2))}
    assert (found.pool, found.replicas) == ({}, {})
    asked = question(wanted_by(policy(nothing)).signals)
    assert all(name in asked for name in ("stoker:replica_requests|", "stoker:replica_tokens:rate10s", EDGE, ENGINE))


def test_requests_and_tokens_of_an_age_that_is_not_known_are_unknown() -> None:
    unknown = recorded("stoker:replica_requests", 3, **of("llama-1"))

    assert answered(unknown, recorded("stoker:replica_tokens:rate10s", 80, **of("llama-1"))) == Answer()


def test_a_fake_world_has_requests_and_tokens_of_each_replica() -> None:
    metrics = FakeMetrics(FakeClock())
    metrics.replicas[POOL, ONE], metrics.replica[POOL, TWO, Signal.ERRORS] = 2, 0.5
    metrics.replica[POOL, TWO, Signal.TOKENS] = 7

    def told() -> PoolReadings:
        return answered(*metrics.query(question(()))).pools[POOL]

    assert {name: reading.value for name, reading in told().requests.items()} == {ONE: 0, TWO: 100}
    assert {name: reading.value for name, reading in told().tokens.items()} == {ONE: 0, TWO: 7}
    metrics.requests |= {(POOL, ONE): 4, (POOL, TWO): None}
    metrics.tokens |= {(POOL, ONE): 50, (POOL, TWO): None}
    assert told().requests == {ONE: Reading(Known.VALUE, 4, ago(1))}
    assert told().tokens == {ONE: Reading(Known.VALUE, 50, ago(1))}


def latencies() -> list[Sample]:
    """Of both measures; p95 is the greater by 0.1, the duration by 1."""
    values = {"p50": 0.0, "p95": 0.1, "mean": 0.05}
    return [scraped(EDGE)] + [
        recorded("stoker:pool_latency_seconds", base + more, pool="llama", measure=measure, statistic=statistic)
        for measure, base in (("first_byte", 0.2), ("duration", 1.2))
        for statistic, more in values.items()
    ]


@pytest.mark.parametrize(
    ("latency", "want"),
    [
        pytest.param(LatencyPolicy(), 0.3, id="p95 of the first byte"),
        pytest.param(LatencyPolicy(measure=Measure.DURATION, quantile=0.5), 1.2, id="median of the duration"),
        pytest.param(LatencyPolicy(quantile=None), 0.25, id="mean"),
        pytest.param(LatencyPolicy(quantile=0.99), None, id="not there"),
        pytest.param(LatencyPolicy(enabled=False), None, id="not wanted"),
    ],
)
def test_the_policy_chooses_among_the_latencies(latency: LatencyPolicy, want: float | None) -> None:
    found = answered(*latencies(), of=policy(ScalingPolicy(latency=latency))).pools.get(POOL)

    assert (None if found is None else found.pool[Signal.LATENCY].value) == pytest.approx(want)


def test_the_policy_chooses_whose_utilization_and_whose_memory() -> None:
    default = wanted_by(policy(ScalingPolicy())).signals
    other = ScalingPolicy(utilization=UtilizationPolicy(source=Source.GPU), memory=MemoryPolicy(of=MemoryOf.HOST))

    assert {"utilization_cpu", "memory_container"} <= set(default)
    changed = {"utilization_gpu", "memory_host"} | set(default) - {"utilization_cpu", "memory_container"}
    assert set(wanted_by(policy(other)).signals) == changed


def test_a_signal_that_is_off_is_not_asked_for_unless_the_shadow_wants_it() -> None:
    live = ScalingPolicy(memory=MemoryPolicy(enabled=False))
    shadow = replace(ALL, memory=MemoryPolicy(of=MemoryOf.HOST), utilization=UtilizationPolicy(source=Source.GPU))

    assert not {"kv_cache", "tokens", "memory_container"} & set(wanted_by(policy(live)).signals)
    both = wanted_by(policy(live, shadow)).signals
    assert {"kv_cache", "tokens", "memory_host", "utilization_cpu"} <= set(both)
    assert "utilization_gpu" not in both, "the live policy's source counts for both"
    assert "stoker:replica_host_memory_ratio" in question(both)
    assert "stoker:replica_container_memory_ratio" not in question(both)


def test_gpus_once_each_in_bytes_under_their_nodes_name() -> None:
    samples = []
    for uuid, node, host, free in (("b", "", "box", 2), ("a", "local", "box", 3), ("a", "local", "box-2", 1)):
        labels = {"UUID": uuid, "node": node, "Hostname": host}
        samples.append(direct("gpu_free", free, **labels))
        samples.append(direct("gpu_free_at", ago(1).timestamp(), **labels))

    assert answered(*samples).gpus == (
        Gpu(NodeName("local"), "a", Reading(Known.VALUE, 1024**2, ago(1))),
        Gpu(NodeName("box"), "b", Reading(Known.VALUE, 2 * 1024**2, ago(1))),
    )


def test_the_fake_answers_every_question() -> None:
    metrics = FakeMetrics(FakeClock())
    metrics.replica[POOL, ONE, Signal.ERRORS] = 0.5
    metrics.gateway[POOL], metrics.replicas[POOL, ONE], metrics.last_request[POOL] = 3, 2, START
    metrics.gpus[NodeName("local"), "a"] = 5.0 * 1024**2

    samples = metrics.query(question(NUMBERS))

    names = {sample.labels.get("__name__") for sample in samples}
    assert {series for number in NUMBERS.values() for series in (number.scraped, *number.series)} <= names
    fewer = {sample.labels.get("__name__") for sample in metrics.query(question(["kv_cache"]))}
    always = {series for name in ALWAYS for series in (NUMBERS[name].scraped, *NUMBERS[name].series)}
    assert fewer == {None, ENGINE, "stoker:replica_kv_cache_usage_ratio"} | always
    found = answered(*samples)
    mine = found.pools[POOL]
    assert set(mine.pool) == {Signal.IN_FLIGHT, Signal.LATENCY, Signal.ERRORS}
    assert set(mine.replicas) == set(Signal) - {Signal.LATENCY}
    assert mine.last_request == Reading(Known.VALUE, START.timestamp(), ago(1))
    assert found.gpus == (Gpu(NodeName("local"), "a", Reading(Known.VALUE, 5 * 1024**2, ago(1))),)
