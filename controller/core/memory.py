"""What is remembered from tick to tick, of replicas and of pools, and what people have ordered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from controller.core.basics import NodeName, PoolName, ReplicaId


class ReplicaState(StrEnum):
    """Where a replica stands, as the controller judges it.

    suspect: it serves, and something speaks against it: too few failed probes, or more trouble than its peers have.
    quarantined: a person wants it kept as it is, without requests.
    """

    STARTING = "starting"
    READY = "ready"
    SUSPECT = "suspect"
    UNREADY = "unready"
    DRAINING = "draining"
    STOPPED = "stopped"
    QUARANTINED = "quarantined"


SERVING = (ReplicaState.READY, ReplicaState.SUSPECT)


class OrderKind(StrEnum):
    """What a person can want of a node, a replica or a pool."""

    CORDON = "cordon"  # a node or a GPU: nothing new starts on it
    DRAIN = "drain"  # a replica, or all of a node or a GPU: replaced elsewhere, new first
    RESTART = "restart"  # a replica, or each of a pool: replaced, new first
    QUARANTINE = "quarantine"  # a replica: it gets no requests and is kept as it is
    RELEASE = (
        "release"  # a pool: its fuse, its crash-loop quarantine and its refused spec are forgotten; a GPU: its fault
    )


@dataclass(frozen=True, slots=True)
class Order:
    """A standing wish of a person. It holds until it is fulfilled or withdrawn."""

    kind: OrderKind
    subject: str  # "node/NAME", "gpu/UUID", "replica/NAME" or "pool/NAME"
    at: datetime
    why: str = ""


@dataclass(frozen=True, slots=True)
class Busy:
    """A replica that has work, or does not say, and since when. Lives in the process only."""

    since: datetime
    slow_since: datetime | None = None  # it makes far fewer than its peers since then
    speed: float = 1.0  # what it makes for each request, over what its peers do


@dataclass(frozen=True, slots=True)
class ColdStart:
    """What one start took, in seconds, by stage; 0 for a stage that the launcher did not tell of."""

    total_s: (
        float  # from the container's creation to the first passed probe, which comes a little after the first token
    )
    create_s: float = 0.0  # from the container's creation to the launcher's first moment
    fetch_s: float = 0.0  # until the checkpoint is there and checked
    load_s: float = 0.0  # until the engine listens
    warm_s: float = 0.0  # until it answers its health check
    first_token_s: float = 0.0  # until it has made one


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
    retiring_since: datetime | None = None  # it is replaced: it serves until its successor does
    node: NodeName = NodeName("local")
    spec_hash: str = ""
    cold_start: ColdStart | None = None
    paid: bool = False  # it failed, and its replacement was taken from the pool's budget
    gpu: str = ""  # the UUID of the one that it was given
    held: int | None = None  # requests that it had when it left nginx for good; None: it did not say
    seen_at: datetime | None = None  # first, by our own clock; `created_at` is by that of its node
    holds: int | None = None  # those that it was last seen with since; this and the next are not durable
    busy: Busy | None = None

    def older_than(self, at: datetime) -> bool:
        """Whether it was there before then. A node's clock may be minutes off, so ours counts where it is known."""
        return (self.seen_at or self.created_at) < at


@dataclass(frozen=True, slots=True)
class Cordon:
    """Why nothing new starts on a GPU, and what a person is to do about it. `code` is its ReasonCode."""

    at: datetime
    code: str
    why: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """What is remembered of a GPU. `xids`, `double_bit` and `flags` are what has been acted on already.

    What is from `hot_since` on lives in the process only.
    """

    uuid: str
    node: NodeName
    cordon: Cordon | None = None
    xids: tuple[tuple[int, int], ...] = ()  # how often each came, as its exporter counted
    double_bit: int = 0  # errors of its memory that could not be corrected
    flags: tuple[str, ...] = ()  # what its exporter says that it is
    hot_since: datetime | None = None  # slowed down by its heat, but for short breaks
    cool_since: datetime | None = None


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
    cold_starts: tuple[ColdStart, ...] = ()  # the newest ones, oldest first
    remediations: tuple[datetime, ...] = ()  # replicas replaced because they failed, within the budget's window
    fuse_since: datetime | None = None  # the budget was spent then: nothing is healed
    quarantined_since: datetime | None = None  # too many starts in a row failed
    good_spec: str = ""  # the last one that all replicas served with
    refused_spec: str = ""  # one that was rolled back
    why_refused: str = ""
    tried_spec: str = ""  # what the starts that are counted as failed were to be made of
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
