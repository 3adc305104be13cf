"""The ports that a tick works with, in one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from controller.core.model import PoolName, ReplicaId
from controller.core.quota import TokenLimits
from controller.ports import (
    AccessGate,
    Clock,
    EventSink,
    Gateway,
    KeyStore,
    Lease,
    MetricSource,
    Prober,
    ReplicaSpec,
    StateStore,
    TargetWriter,
)
from controller.reconcile.fleet import Fleet


@dataclass(frozen=True, slots=True)
class AccessParts:
    """With what the API keys are kept. `limits` are those of the plans that have a token quota."""

    keys: KeyStore
    gate: AccessGate
    limits: Mapping[str, TokenLimits]


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything outside the core. `spec_for` says what a new replica of a pool is made of, given its spec's hash.

    It raises `RuntimeRejected` for a hash that nobody remembers. No `access`: nobody needs a key.
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
    access: AccessParts | None = None
