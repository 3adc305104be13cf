"""What the controller sees: frozen facts of one moment.

Times are timezone-aware UTC. A `Reading` has three values: a number, idle (no traffic: really zero) or unknown
(missing or stale); unknown is never taken for zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from controller.core.basics import UNKNOWN as UNKNOWN
from controller.core.basics import Known as Known
from controller.core.basics import NodeName as NodeName
from controller.core.basics import PoolName as PoolName
from controller.core.basics import Reading as Reading
from controller.core.basics import ReplicaId as ReplicaId
from controller.core.basics import Signal as Signal
from controller.core.basics import Term as Term
from controller.core.memory import SERVING as SERVING
from controller.core.memory import Busy as Busy
from controller.core.memory import ColdStart as ColdStart
from controller.core.memory import Cordon as Cordon
from controller.core.memory import GpuMemory as GpuMemory
from controller.core.memory import Order as Order
from controller.core.memory import OrderKind as OrderKind
from controller.core.memory import PoolMemory as PoolMemory
from controller.core.memory import Recommendation as Recommendation
from controller.core.memory import ReplicaMemory as ReplicaMemory
from controller.core.memory import ReplicaState as ReplicaState
from controller.core.memory import Shadow as Shadow


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
    out_of_memory: bool = False  # the kernel killed in it for memory
    gpu: str = ""  # the UUID of the one that it was given; empty: none was named


@dataclass(frozen=True, slots=True)
class Node:
    """A machine with a container engine.

    `silent_since` is when its engine began to give no answer, `back_since` when it answered again after that.
    """

    name: NodeName
    silent_since: datetime | None = None
    back_since: datetime | None = None
    cordoned: bool = False  # a person wants nothing new on it


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

    `phase` and the numbers are the launcher's own; None without a launcher, and where it gave no answer. Only
    `last_token_at` is then that of the last answer.
    `began_at` is its first moment, `stages` the seconds that each stage of its start took, as far as it has come.
    """

    at: datetime
    ok: bool
    in_a_row: int
    detail: str = ""
    phase: LauncherPhase | None = None
    in_flight: int | None = None
    waiting: int | None = None
    last_token_at: datetime | None = None
    began_at: datetime | None = None
    stages: tuple[tuple[str, float], ...] = ()  # of fetch, load, warm, first_token


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica of this tick: the container, its newest probe, and what is remembered."""

    container: Container
    probe: ProbeHistory | None
    memory: ReplicaMemory | None
    routed: bool  # in the configuration that nginx runs


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
    the epoch. `requests`: how many each replica was sent within the window of the errors, and `sent`: how many the pool
    was. `tokens`: those that each makes in a second, read for its health whether or not the pool is scaled by them.
    """

    pool: Mapping[Signal, Reading] = field(default_factory=dict)
    replicas: Mapping[Signal, Mapping[ReplicaId, Reading]] = field(default_factory=dict)
    last_request: Reading = UNKNOWN
    requests: Mapping[ReplicaId, Reading] = field(default_factory=dict)
    tokens: Mapping[ReplicaId, Reading] = field(default_factory=dict)
    sent: Reading = UNKNOWN


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU of a node, and its memory in bytes.

    `promised_bytes` of what is free will be taken by replicas that start. `barred` is why nothing starts on it; empty:
    it may.
    """

    node: NodeName
    uuid: str
    free_bytes: Reading = UNKNOWN
    promised_bytes: int = 0
    barred: str = ""


@dataclass(frozen=True, slots=True)
class GpuReport:
    """What a GPU's exporter says of it beside its free memory. None: it does not say.

    `at` is when it was told, `xids` how often each XID came since the exporter began.
    """

    node: NodeName
    uuid: str
    at: datetime | None = None
    model: str = ""
    used_bytes: float | None = None
    total_bytes: float | None = None
    xids: Mapping[int, int] = field(default_factory=dict)
    double_bit: int | None = None  # errors of its memory that could not be corrected, since its driver was loaded
    remap_failed: bool | None = None  # a broken row of its memory could not be replaced by a spare one
    remap_pending: bool | None = None  # one is to be, at the next reset
    lost: bool | None = None
    throttled: bool | None = None  # slowed down by its heat


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
    nodes: tuple[Node, ...] = (Node(NodeName("local")),)
    duplicates: tuple[Container, ...] = ()  # younger ones of a name that an older container has
    orders: tuple[Order, ...] = ()
    reports: Mapping[str, GpuReport] = field(default_factory=dict)  # of GPUs, by UUID; this and the next
    gpu_memory: Mapping[str, GpuMemory] = field(default_factory=dict)
