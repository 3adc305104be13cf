"""What the controller sees: frozen facts of one moment.

Times are timezone-aware UTC. A `Reading` has three values: a number, idle (no traffic: really zero) or unknown
(missing or stale); unknown is never taken for zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
        """A measured number; zero is idle."""
        return Reading(Known.VALUE if value > 0 else Known.IDLE, value, at)


UNKNOWN = Reading(Known.UNKNOWN)


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
class PoolMemory:
    """What is remembered of a pool. `next_ordinal` numbers its replicas and never goes back."""

    pool: PoolName
    desired: int
    next_ordinal: int = 1
    start_failures: int = 0  # in a row
    last_start_failure_at: datetime | None = None
    history_since: datetime | None = None  # unbroken since then; None in a new controller
    recommended: tuple[Recommendation, ...] = ()


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
    """The readings of one pool: what the gateway holds open, and what each replica holds (in flight + waiting)."""

    gateway_in_flight: Reading = UNKNOWN
    replicas: Mapping[ReplicaId, Reading] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that one tick has seen. `unknown` names what could not be read."""

    at: datetime
    tick: int
    replicas: tuple[Replica, ...]
    pools: Mapping[PoolName, PoolMemory]
    readings: Mapping[PoolName, PoolReadings]
    unknown: tuple[str, ...] = ()
