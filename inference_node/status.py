"""What the launcher says of its replica: the JSON of /status and the samples of /metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from inference_node.configuration import Configuration
from inference_node.logfmt import timestamp
from inference_node.phases import Phase, PhaseChange
from inference_node.poller import Reading
from inference_node.resources import Usage
from inference_node.stages import Stages


@dataclass(frozen=True, slots=True)
class Status:
    """One moment of the replica."""

    configuration: Configuration
    phase: Phase
    phases: tuple[PhaseChange, ...]
    reading: Reading
    detail: str  # a sentence; empty when all is well
    stages: Stages
    at: datetime


def as_json(status: Status) -> dict[str, object]:
    """The answer of GET /status. None stands for unknown."""
    configuration, reading, stages = status.configuration, status.reading, status.stages
    return {
        "now": timestamp(status.at),
        "began_at": timestamp(stages.began_at),
        "stages": {stage: round(seconds, 3) for stage, seconds in stages.seconds.items()},
        "phase": status.phase,
        "phases": [{"phase": change.phase, "at": timestamp(change.at)} for change in status.phases],
        "pool": configuration.pool,
        "replica": configuration.replica,
        "model": configuration.model,
        "spec_hash": configuration.spec_hash,
        "in_flight": reading.in_flight,
        "waiting": reading.waiting,
        "tokens_total": reading.tokens_total,
        "last_token_at": _optional(reading.last_token_at),
        "looked_at": _optional(reading.looked_at),
        "answering": reading.answering,
        "detail": status.detail,
    }


def exposition(read_status: Callable[[], Status], read_usage: Callable[[], Usage]) -> Callable[[], bytes]:
    """A function that gives the answer of GET /metrics, in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_StatusCollector(read_status, read_usage))
    return lambda: generate_latest(registry)


class _StatusCollector(Collector):
    """Turns the status into samples at each scrape. What is unknown has no sample."""

    def __init__(self, read_status: Callable[[], Status], read_usage: Callable[[], Usage]) -> None:
        self._read_status, self._read_usage = read_status, read_usage

    def describe(self) -> list[Metric]:
        return []  # all names are known only with a status, and no other collector shares this registry

    def collect(self) -> Iterator[Metric]:
        status = self._read_status()
        yield from _phase_samples(status)
        reading = status.reading
        yield _gauge("requests_in_flight", "Requests that the engine computes.", reading.in_flight)
        yield _gauge("requests_waiting", "Requests that wait in the engine's queue.", reading.waiting)
        yield _counter("tokens", "Tokens made, those of running requests too.", reading.tokens_total)
        seen = reading.last_token_at
        stamp = None if seen is None else seen.timestamp()
        yield _gauge("last_token_timestamp_seconds", "When it was last seen to get on with its work.", stamp)
        yield _gauge("engine_answering", "1 when the engine answered its last health check.", int(reading.answering))
        yield from _usage_samples(self._read_usage())


def _phase_samples(status: Status) -> Iterator[Metric]:
    now = GaugeMetricFamily("stoker_launcher_phase", "1 for the phase that the replica is in.", labels=["phase"])
    for phase in Phase:
        now.add_metric([phase], float(phase is status.phase))
    yield now
    since = GaugeMetricFamily(
        "stoker_launcher_phase_timestamp_seconds", "When the replica entered the phase.", labels=["phase"]
    )
    for change in status.phases:
        since.add_metric([change.phase], change.at.timestamp())
    yield since
    took = GaugeMetricFamily("stoker_launcher_stage_seconds", "What each part of the start took.", labels=["stage"])
    for stage, seconds in status.stages.seconds.items():
        took.add_metric([stage], seconds)
    yield took


def _usage_samples(usage: Usage) -> Iterator[Metric]:
    yield _counter("cpu_seconds", "CPU time of the launcher and of all that it started.", usage.cpu_seconds)
    yield _gauge("cpu_cores", "Cores that the engine can keep busy: threads, affinity and quota.", usage.cpu_cores)
    text = "Memory in use: the container's without its idle file cache, or the processes' resident memory."
    yield _gauge("memory_bytes", text, usage.memory_bytes)
    yield _gauge(
        "memory_limit_bytes",
        "What it may grow to: the container's limit, or all of the machine's memory.",
        usage.memory_limit_bytes,
    )
    text = "Share of the machine's memory that the kernel could not give to somebody else."
    yield _gauge("host_memory_used_ratio", text, usage.host_memory_used_ratio)


def _gauge(name: str, text: str, value: float | None) -> Metric:
    return GaugeMetricFamily(f"stoker_launcher_{name}", text, value=value)


def _counter(name: str, text: str, value: float | None) -> Metric:
    return CounterMetricFamily(f"stoker_launcher_{name}", text, value=value)


def _optional(at: datetime | None) -> str | None:
    return None if at is None else timestamp(at)
