"""Ports -> Snapshot. Each source has its own deadline; one that fails becomes a name in `unknown`, never a zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from controller.core import orders
from controller.core.decision import Memory
from controller.core.errors import MetricsUnavailable, TransientError
from controller.core.model import (
    SERVING,
    Address,
    Container,
    ContainerState,
    GatewayPlan,
    Node,
    NodeName,
    Order,
    ProbeHistory,
    ProbeTarget,
    Replica,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
    Snapshot,
)
from controller.core.planner import RUNTIME
from controller.core.policy import HealthPolicy, PoolPolicy
from controller.reconcile.answers import Answer, read
from controller.reconcile.fleet import Listing
from controller.reconcile.gpu_answers import at_home
from controller.reconcile.parts import Parts
from controller.reconcile.queries import LAST_REQUEST, question, wanted_by

METRICS = "metrics"  # in Snapshot.unknown: Prometheus gave no answer
_UP = (ReplicaState.STARTING, *SERVING)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the runtimes and the probes said in one tick. `duplicates` are younger containers of the same name."""

    containers: tuple[Container, ...]
    probes: Mapping[ReplicaId, ProbeHistory]
    nodes: tuple[Node, ...]
    duplicates: tuple[Container, ...] = ()


class Observer:
    """Reads every port once per tick."""

    def __init__(self, parts: Parts, policies: Sequence[PoolPolicy]) -> None:
        self._parts = parts
        self._health = {policy.pool: policy.health for policy in policies}
        self._wanted = {policy.pool: wanted_by(policy) for policy in policies}
        names = {name for wanted in self._wanted.values() for name in wanted.signals}
        self._question = question(names | {LAST_REQUEST})
        self._standing: tuple[Order, ...] | None = None  # the orders of the last answer

    def observe(self, tick: int) -> tuple[Snapshot, Sighting]:
        """What is. Blocks for at most the sum of the ports' deadlines.

        Raises:
            TransientError, PermanentError: no node has been listed even once, or the store has never told its orders.
                What exists is not known, and an empty world would take every replica out of nginx.
        """
        parts = self._parts
        memory, standing, applied = parts.store.load(), self._orders(), parts.gateway.state().applied
        sighting = self._look(memory, standing, applied)
        answer, blind = self._read()
        routed = applied.replicas()
        replicas = tuple(_replica(container, sighting.probes, memory, routed) for container in sighting.containers)
        snapshot = Snapshot(
            parts.clock.now(),
            tick,
            replicas,
            memory.pools,
            answer.pools,
            (*_silent(sighting.nodes), *blind),
            tuple(replace(gpu, node=at_home(gpu.node, sighting.nodes)) for gpu in answer.gpus),
            sighting.nodes,
            sighting.duplicates,
            standing,
            {uuid: replace(one, node=at_home(one.node, sighting.nodes)) for uuid, one in answer.reports.items()},
            memory.gpus,
        )
        return snapshot, sighting

    def _orders(self) -> tuple[Order, ...]:
        """Those that stand; while the store is away the last known ones. What fails must leave nginx all the same."""
        try:
            self._standing = tuple(self._parts.store.orders())
        except TransientError:
            if self._standing is None:
                raise
        return self._standing

    def _look(self, memory: Memory, standing: Sequence[Order], applied: GatewayPlan) -> Sighting:
        listing = self._parts.fleet.look()
        nodes = tuple(replace(node, cordoned=orders.cordoned(node, standing)) for node in listing.nodes)
        every = (*listing.containers, *_unseen(listing, memory, applied))
        containers = _oldest(every)
        targets = [target for container in containers if (target := self._target(container))]
        kept = {id(container) for container in containers}
        duplicates = tuple(container for container in every if id(container) not in kept)
        return Sighting(containers, self._parts.prober.probe(targets), nodes, duplicates)

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


def _silent(nodes: Sequence[Node]) -> tuple[str, ...]:
    """The names of what gives no answer: each node of several, and all of them together."""
    silent = [node.name for node in nodes if node.silent_since is not None]
    each = tuple(f"{RUNTIME}:{name}" for name in silent) if len(nodes) > 1 else ()
    return (RUNTIME, *each) if len(silent) == len(nodes) else each


def _oldest(containers: Sequence[Container]) -> tuple[Container, ...]:
    """One of each name."""
    found: dict[ReplicaId, Container] = {}
    for container in containers:
        known = found.setdefault(container.replica, container)
        if container.created_at < known.created_at:
            found[container.replica] = container
    return tuple(found.values())


def _unseen(listing: Listing, memory: Memory, applied: GatewayPlan) -> tuple[Container, ...]:
    """The replicas on nodes that this process has not seen yet: an earlier one has, and nginx may have their addresses.

    Without them a controller that starts while a node is silent would start all of them a second time.
    """
    names = {node.name for node in listing.nodes} - listing.seen
    there = {server.replica: server.address for routes in applied.pools for server in routes.servers}
    return tuple(
        _remembered(known, there.get(known.replica))
        for known in memory.replicas.values()
        if known.node in names and known.state in _UP
    )


def _remembered(known: ReplicaMemory, address: Address | None) -> Container:
    node, state = NodeName(known.node), ContainerState.RUNNING
    detail = "its node has not answered yet"
    return Container(
        known.replica,
        known.pool,
        node,
        known.spec_hash,
        state,
        known.created_at,
        engine=address,
        detail=detail,
        gpu=known.gpu,
    )


def _replica(
    container: Container, probes: Mapping[ReplicaId, ProbeHistory], memory: Memory, routed: frozenset[ReplicaId]
) -> Replica:
    name = container.replica
    return Replica(container, probes.get(name), memory.replicas.get(name), name in routed)
