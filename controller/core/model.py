"""What the controller sees: frozen facts of one moment.

Times are timezone-aware UTC. A `Reading` has three values: a number, idle (no traffic: really zero) or unknown
(missing or stale); unknown is never taken for zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NewType

PoolName = NewType("PoolName", str)
ReplicaId = NewType("ReplicaId", str)
NodeName = NewType("NodeName", str)
Term = NewType("Term", int)


class Known(StrEnum):
    """What a reading is worth."""

    VALUE = "value"
    IDLE = "idle"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reading:
    """One number of one signal, or the fact that there is none. `at` is when it was measured."""

    known: Known
    value: float = 0.0
    at: datetime | None = None

    @staticmethod
    def of(value: float, at: datetime) -> Reading:
        """A measured number; zero is idle. What is no finite number at all (0/0, say) is unknown."""
        if not math.isfinite(value):
            return UNKNOWN
        return Reading(Known.VALUE if value > 0 else Known.IDLE, value, at)


UNKNOWN = Reading(Known.UNKNOWN)


class Signal(StrEnum):
    """What a pool can be scaled or healed by. Ratios are 0..1, times are seconds."""

    IN_FLIGHT = "in_flight"  # requests in flight and waiting, counted when they are accepted
    UTILIZATION = "utilization"  # of the replica's GPUs, or of its CPU share
    KV_CACHE = "kv_cache"  # share of the KV cache in use
    TOKENS = "tokens_per_second"  # tokens generated
    LATENCY = "latency"  # as users see it; the policy says which
    ERRORS = "errors"  # share of requests that were answered with 5xx
    MEMORY = "memory"  # share of the GPU's, container's or host's memory; the policy says whose


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens. Printed as nginx and Prometheus want it."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ContainerState(StrEnum):
    """What the runtime says of a container or process."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class Container:
    """One replica as the runtime lists it. Its labels are the truth about what exists."""

    replica: ReplicaId
    pool: PoolName
    node: NodeName
    spec_hash: str
    state: ContainerState
    created_at: datetime
    engine: Address | None = None  # where OpenAI requests go; None until its port is known
    launcher: Address | None = None  # where /status is; None for an image without our launcher
    exit_code: int | None = None
    detail: str = ""  # the runtime's own words: "Exited (137) 2 seconds ago", "Up 3 minutes (Paused)"


class LauncherPhase(StrEnum):
    """The phases that a launcher reports."""

    FETCHING = "fetching"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """Where to probe a replica: its launcher's /status, or its engine's /health where it has no launcher."""

    replica: ReplicaId
    address: Address
    path: str = "/status"
    interval_s: float = 1.0
    timeout_s: float = 1.0


@dataclass(frozen=True, slots=True)
class ProbeHistory:
    """The newest probe of a replica and how many in a row ended like it.

    `phase` and the numbers are the launcher's own, from the last answer; None without a launcher or before one.
    """

    at: datetime
    ok: bool
    in_a_row: int
    detail: str = ""
    phase: LauncherPhase | None = None
    in_flight: int | None = None
    waiting: int | None = None
    last_token_at: datetime | None = None


class ReplicaState(StrEnum):
    """Where a replica stands, as the controller judges it."""

    STARTING = "starting"
    READY = "ready"
    UNREADY = "unready"
    DRAINING = "draining"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class ReplicaMemory:
    """What is remembered of a replica from one tick to the next, and over a restart of the controller."""

    replica: ReplicaId
    pool: PoolName
    state: ReplicaState
    since: datetime  # of `state`
    created_at: datetime
    ready_at: datetime | None = None  # first time ready: ready_at - created_at is its cold start
    terminated_at: datetime | None = None  # SIGTERM was decided then
    why: str = ""  # of `state`, and `code` is its ReasonCode
    code: str = ""
    retiring_since: datetime | None = None  # it is recycled: it serves until its successor does


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica of this tick: the container, its newest probe, and what is remembered."""

    container: Container
    probe: ProbeHistory | None
    memory: ReplicaMemory | None
    routed: bool  # in the configuration that nginx runs


@dataclass(frozen=True, slots=True)
class Recommendation:
    """How many replicas the signals asked for from `at` on, until the next one."""

    at: datetime
    replicas: int


@dataclass(frozen=True, slots=True)
class Shadow:
    """A second policy that is evaluated beside the live one and changes nothing: its memory, and the score so far.

    A count is short while it could not hold the demand of that moment at its target. The live policy is scored by the
    same measure over the same time.
    """

    memory: PoolMemory
    since: datetime
    at: datetime
    replica_s: float = 0.0
    short_s: float = 0.0
    changes: int = 0
    live_replica_s: float = 0.0
    live_short_s: float = 0.0
    live_changes: int = 0


@dataclass(frozen=True, slots=True)
class PoolMemory:
    """What is remembered of a pool. `next_ordinal` numbers its replicas and never goes back.

    What is from `history_since` on lives in the process only: a new controller begins it anew, and says so.
    """

    pool: PoolName
    desired: int
    next_ordinal: int = 1
    start_failures: int = 0  # in a row
    last_start_failure_at: datetime | None = None
    cold_start_s: float | None = None  # learned: moving average from creation to the first passed probe
    last_recycle_at: datetime | None = None
    zero_since: datetime | None = None  # scaled to zero then
    history_since: datetime | None = None  # unbroken since then; None in a new controller
    recommended: tuple[Recommendation, ...] = ()
    counts: tuple[Recommendation, ...] = ()  # what `desired` was, for the rate limits
    over_since: Mapping[str, datetime] = field(default_factory=dict)  # thresholds that are crossed, by name
    panic_until: datetime | None = None
    demand: tuple[tuple[datetime, float], ...] = ()  # samples for the forecast
    shadow: Shadow | None = None

    def but(self, **changes: object) -> PoolMemory:
        """The same with these changes; itself where they change nothing, as in nearly every tick."""
        if all(getattr(self, name) == value for name, value in changes.items()):
            return self
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Server:
    """A replica as nginx sees it."""

    replica: ReplicaId
    address: Address


@dataclass(frozen=True, slots=True)
class PoolRoutes:
    """The replicas that may get requests of a pool. An empty one answers 503."""

    pool: PoolName
    model: str  # the name that clients send
    servers: tuple[Server, ...] = ()


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """All that nginx needs to know. Equal plans give equal bytes, so `pools` and servers are sorted."""

    pools: tuple[PoolRoutes, ...] = ()

    def replicas(self) -> frozenset[ReplicaId]:
        """Every replica that gets requests under this plan."""
        return frozenset(server.replica for routes in self.pools for server in routes.servers)


@dataclass(frozen=True, slots=True)
class PoolReadings:
    """The readings of one pool.

    `pool`: those of the pool as a whole (what the gateway holds open, latency and errors as users see them).
    `replicas`: those of each replica. `last_request`: its value is the time of the newest request in seconds since
    the epoch.
    """

    pool: Mapping[Signal, Reading] = field(default_factory=dict)
    replicas: Mapping[Signal, Mapping[ReplicaId, Reading]] = field(default_factory=dict)
    last_request: Reading = UNKNOWN


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU of a node, and its free memory in bytes."""

    node: NodeName
    uuid: str
    free_bytes: Reading = UNKNOWN


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that one tick has seen. `unknown` names what could not be read."""

    at: datetime
    tick: int
    replicas: tuple[Replica, ...]
    pools: Mapping[PoolName, PoolMemory]
    readings: Mapping[PoolName, PoolReadings]
    unknown: tuple[str, ...] = ()
    gpus: tuple[Gpu, ...] = ()
