"""The ports that a tick works with, in one value."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from controller.core.alarm import Alarm, Key
from controller.core.model import PoolName, ReplicaId
from controller.core.quota import TokenLimits
from controller.core.revision import Configuration, Revision
from controller.core.streams import Stream
from controller.ports import (
    AccessGate,
    Clock,
    Delivery,
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
from controller.ports.pools import OverrideStore
from controller.reconcile.fleet import Fleet
from controller.reconcile.gateways import Gateways


class CounterStore(Protocol):
    """Token counters of each key as each gateway told them last. Fenced as keys are. Blocks for at most 5 s.

    A write raises `LostLease` where another controller leads; each raises `TransientError` where nothing was done.
    """

    def counters(self) -> Mapping[Stream, float]:
        """Those that were saved within the last days."""
        ...

    def save_counters(self, counters: Mapping[Stream, float], at: datetime) -> None:
        """Write these; one of the same gateway and key is replaced."""
        ...


@dataclass(frozen=True, slots=True)
class AccessParts:
    """With what the API keys are kept. `limits` are those of the plans that have a token quota, and may change.

    No `counters`: there never was but one gateway, whose counters are the keys'.
    """

    keys: KeyStore
    gate: AccessGate
    limits: Mapping[str, TokenLimits]
    counters: CounterStore | None = None


class RevisionStore(Protocol):
    """The last configurations of nginx."""

    def newest(self) -> Revision | None:
        """The last one that was kept. Does not block but for the first time."""
        ...

    def keep(self, revision: Revision) -> None:
        """Add it; the newest 50 are kept. Blocks for a file's writing. Raises `OSError`."""
        ...


@dataclass(frozen=True, slots=True)
class HistoryParts:
    """With what the history of nginx is kept. `current` is what nginx runs; None: not known now."""

    current: Callable[[], Configuration | None]
    kept: RevisionStore


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """The other machines with an nginx. `scrape` tells Prometheus where the exporters of these are, by name.

    `own`: where the one of this machine is, and `scraped`: what an earlier controller told Prometheus.
    """

    known: Gateways
    scrape: Callable[[Mapping[str, str]], None]
    own: str = ""
    scraped: Mapping[str, str] = field(default_factory=dict)


class AlarmStore(Protocol):
    """The alarms that somebody was told of, or is to be. Fenced as keys are. Blocks for at most 5 s.

    A write raises `LostLease` where another controller leads; each raises `TransientError` where nothing was done.
    """

    def alarms(self) -> tuple[Alarm, ...]:
        """Those that are kept, in any order."""
        ...

    def save_alarms(self, changed: Iterable[Alarm], gone: Collection[Key]) -> None:
        """Write these, one of the same key is replaced, and forget those, in one transaction."""
        ...


class AlarmSink(Protocol):
    """Tells somebody else of alarms, from a thread of its own. Nothing here blocks or raises."""

    def tell(self, due: Sequence[Alarm]) -> Delivery:
        """From now on try to deliver exactly these, and no others any more; what came of it since the last call.

        What is not taken is tried again, at growing intervals, until it is no longer among them. One that was taken
        before the caller could know is not delivered a second time.
        """
        ...

    def close(self) -> None:
        """No more tries. Idempotent. Blocks for at most 1 s."""
        ...


@dataclass(frozen=True, slots=True)
class AlarmParts:
    """With what alarms are kept. No `sink`: nobody is told, and nothing is remembered of that."""

    store: AlarmStore
    sink: AlarmSink | None = None
    repeat: timedelta = timedelta(hours=4)  # one that still fires is told again then


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything outside the core. `spec_for` says what a new replica of a pool is made of, given its spec's hash.

    It raises `RuntimeRejected` for a hash that nobody remembers. No `access`: nobody needs a key; no `history`: none is
    kept; no `gateways`: there are no others; no `alarms`: nobody wants to know; no `overrides`: the policies are those
    of the configuration. `certificate_ends`: until when those of gateway and controller are good, as far as there are
    any that can be read. It does not block.
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
    history: HistoryParts | None = None
    gateways: GatewayParts | None = None
    alarms: AlarmParts | None = None
    certificate_ends: Callable[[], Mapping[str, datetime]] = dict
    overrides: OverrideStore | None = None
