"""The ports that a tick works with, in one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.core.model import PoolName, ReplicaId
from controller.ports import (
    Clock,
    EventSink,
    Gateway,
    Lease,
    MetricSource,
    Prober,
    ReplicaSpec,
    StateStore,
    TargetWriter,
)
from controller.reconcile.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything outside the core. `spec_for` says what a new replica of a pool is made of, given its spec's hash.

    It raises `RuntimeRejected` for a hash that nobody remembers.
    """

    clock: Clock
    fleet: Fleet
    prober: Prober
    metrics: MetricSource
    gateway: Gateway
    store: StateStore
    lease: Lease
    sink: EventSink
    targets: TargetWriter
    spec_for: Callable[[PoolName, ReplicaId, str], ReplicaSpec]
