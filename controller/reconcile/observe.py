"""Ports -> Snapshot. Each source has its own deadline; one that fails becomes a name in `unknown`, never a zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from controller.core.decision import Memory
from controller.core.errors import MetricsUnavailable, PermanentError, TransientError
from controller.core.model import (
    Container,
    ContainerState,
    PoolName,
    PoolReadings,
    ProbeHistory,
    ProbeTarget,
    Reading,
    Replica,
    ReplicaId,
    Snapshot,
)
from controller.core.planner import RUNTIME
from controller.core.policy import HealthPolicy, PoolPolicy
from controller.ports import Sample
from controller.reconcile.parts import Parts

METRICS = "metrics"  # in Snapshot.unknown: Prometheus gave no answer

_SIGNALS = {
    "gateway": 'sum by (pool) (stoker_edge_requests_in_flight{job="edge"})',
    "replica": "sum by (pool, replica) (stoker:replica_requests_in_flight + stoker:replica_requests_waiting)",
}
_AGES = {
    "gateway": 'min by (pool) (timestamp(stoker_edge_requests_in_flight{job="edge"}))',
    "replica": "min by (pool, replica) (timestamp(stoker:replica_requests_in_flight))",
}


def _labelled(kind: str, expressions: Mapping[str, str]) -> list[str]:
    return [f'label_replace({text}, "signal", "{kind}:{name}", "", "")' for name, text in expressions.items()]


# One round trip for all signals, and for when each was measured (an instant query's own time is only that of asking).
QUERY = " or ".join([*_labelled("value", _SIGNALS), *_labelled("time", _AGES)])


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the runtime and the probes said in one tick."""

    containers: tuple[Container, ...]
    probes: Mapping[ReplicaId, ProbeHistory]
    unknown: tuple[str, ...]


class Observer:
    """Reads every port once per tick. Keeps the last list of replicas, for the ticks in which the runtime is silent."""

    def __init__(self, parts: Parts, policies: Sequence[PoolPolicy]) -> None:
        self._parts = parts
        self._health = {policy.pool: policy.health for policy in policies}
        self._last_seen: tuple[Container, ...] | None = None

    def observe(self, tick: int) -> tuple[Snapshot, Sighting]:
        """What is. Blocks for at most the sum of the ports' deadlines.

        Raises:
            TransientError, PermanentError: the runtime has not been listed even once. What exists is not known, and an
                empty world would take every replica out of nginx.
        """
        sighting = self._look()
        readings, unknown = self._read()
        at = self._parts.clock.now()
        memory = self._parts.store.load()
        routed = self._parts.gateway.state().applied.replicas()
        replicas = tuple(_replica(container, sighting.probes, memory, routed) for container in sighting.containers)
        return Snapshot(at, tick, replicas, memory.pools, readings, (*sighting.unknown, *unknown)), sighting

    def _look(self) -> Sighting:
        unknown: tuple[str, ...] = ()
        try:
            self._last_seen = self._parts.runtime.list_replicas()
        except (TransientError, PermanentError):
            if self._last_seen is None:
                raise
            unknown = (RUNTIME,)
        targets = [target for container in self._last_seen if (target := self._target(container))]
        return Sighting(self._last_seen, self._parts.prober.probe(targets), unknown)

    def _target(self, container: Container) -> ProbeTarget | None:
        """An image with our launcher is asked for its status, another for its engine's health."""
        if container.state is not ContainerState.RUNNING:
            return None
        policy = self._health.get(container.pool, HealthPolicy())
        address, path = (container.launcher, "/status") if container.launcher else (container.engine, "/health")
        if address is None:
            return None
        interval, timeout = policy.probe_interval.total_seconds(), policy.probe_timeout.total_seconds()
        return ProbeTarget(container.replica, address, path, interval, timeout)

    def _read(self) -> tuple[dict[PoolName, PoolReadings], tuple[str, ...]]:
        try:
            return readings_from(self._parts.metrics.query(QUERY)), ()
        except MetricsUnavailable:
            return {}, (METRICS,)


def _replica(
    container: Container, probes: Mapping[ReplicaId, ProbeHistory], memory: Memory, routed: frozenset[ReplicaId]
) -> Replica:
    name = container.replica
    return Replica(container, probes.get(name), memory.replicas.get(name), name in routed)


def readings_from(samples: Sequence[Sample]) -> dict[PoolName, PoolReadings]:
    """The answer to `QUERY`, by pool. A value without the time at which it was measured is left out: it is unknown."""
    times = {_key(sample): sample.value for sample in samples if sample.labels.get("signal", "").startswith("time:")}
    readings: dict[PoolName, PoolReadings] = {}
    for sample in samples:
        kind, _, signal = sample.labels.get("signal", "").partition(":")
        measured = times.get(_key(sample))
        if kind != "value" or measured is None:
            continue
        reading = Reading.of(sample.value, datetime.fromtimestamp(measured, tz=sample.at.tzinfo))
        pool = PoolName(sample.labels.get("pool", ""))
        known = readings.get(pool, PoolReadings())
        if signal == "gateway":
            readings[pool] = replace(known, gateway_in_flight=reading)
        else:
            replicas = {**known.replicas, ReplicaId(sample.labels.get("replica", "")): reading}
            readings[pool] = replace(known, replicas=replicas)
    return readings


def _key(sample: Sample) -> tuple[str, str, str]:
    labels = sample.labels
    return labels.get("signal", "").partition(":")[2], labels.get("pool", ""), labels.get("replica", "")
