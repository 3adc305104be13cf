"""Ports -> Snapshot. Each source has its own deadline; one that fails becomes a name in `unknown`, never a zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.core.decision import Memory
from controller.core.errors import MetricsUnavailable, PermanentError, TransientError
from controller.core.model import (
    Container,
    ContainerState,
    ProbeHistory,
    ProbeTarget,
    Replica,
    ReplicaId,
    Snapshot,
)
from controller.core.planner import RUNTIME
from controller.core.policy import HealthPolicy, PoolPolicy
from controller.reconcile.answers import Answer, read
from controller.reconcile.parts import Parts
from controller.reconcile.queries import LAST_REQUEST, question, wanted_by

METRICS = "metrics"  # in Snapshot.unknown: Prometheus gave no answer


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
        self._wanted = {policy.pool: wanted_by(policy) for policy in policies}
        names = {name for wanted in self._wanted.values() for name in wanted.signals}
        self._question = question(names | {LAST_REQUEST})
        self._last_seen: tuple[Container, ...] | None = None

    def observe(self, tick: int) -> tuple[Snapshot, Sighting]:
        """What is. Blocks for at most the sum of the ports' deadlines.

        Raises:
            TransientError, PermanentError: the runtime has not been listed even once. What exists is not known, and an
                empty world would take every replica out of nginx.
        """
        sighting = self._look()
        answer, unknown = self._read()
        at = self._parts.clock.now()
        memory = self._parts.store.load()
        routed = self._parts.gateway.state().applied.replicas()
        replicas = tuple(_replica(container, sighting.probes, memory, routed) for container in sighting.containers)
        missing = (*sighting.unknown, *unknown)
        return Snapshot(at, tick, replicas, memory.pools, answer.pools, missing, answer.gpus), sighting

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

    def _read(self) -> tuple[Answer, tuple[str, ...]]:
        try:
            return read(self._parts.metrics.query(self._question), self._wanted), ()
        except MetricsUnavailable:
            return Answer(), (METRICS,)


def _replica(
    container: Container, probes: Mapping[ReplicaId, ProbeHistory], memory: Memory, routed: frozenset[ReplicaId]
) -> Replica:
    name = container.replica
    return Replica(container, probes.get(name), memory.replicas.get(name), name in routed)
