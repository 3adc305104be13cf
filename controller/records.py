"""What goes through the ports: values of the controller that the core does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from controller.core.alarm import Alarm
from controller.core.decision import Decision
from controller.core.evaluation import Evaluation
from controller.core.event import Event
from controller.core.model import GatewayPlan, NodeName, PoolName, ReplicaId, Term
from controller.core.quota import QuotaMemory


@dataclass(frozen=True, slots=True)
class Sample:
    """One element of an instant vector. NaN never comes through: it is left out."""

    labels: Mapping[str, str]
    value: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Series:
    """One element of a range query: moments in seconds since the epoch, each with its value. NaN is left out."""

    labels: Mapping[str, str]
    points: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """What to start. `spec_hash` tells replicas of one making from those of another; the GPU is no part of it."""

    replica: ReplicaId
    pool: PoolName
    model: str
    engine: str  # "llamacpp"
    image: str  # unused by the process runtime
    checkpoint: str  # absolute path on the node; its folder is mounted read-only
    spec_hash: str
    slots: int  # requests that the engine computes at once
    context_tokens: int  # of each slot
    threads: int
    drain_timeout_s: float
    gpu: str = ""  # the UUID of the one that it is given; empty: none is named

    def environment(self) -> dict[str, str]:
        """What the launcher is told. Where it listens is up to the runtime."""
        return {
            "STOKER_POOL": self.pool,
            "STOKER_REPLICA": self.replica,
            "STOKER_SPEC_HASH": self.spec_hash,
            "STOKER_MODEL": self.model,
            "STOKER_ENGINE": self.engine,
            "STOKER_CHECKPOINT": self.checkpoint,
            "STOKER_SLOTS": str(self.slots),
            "STOKER_CONTEXT_TOKENS": str(self.context_tokens),
            "STOKER_THREADS": str(self.threads),
            "STOKER_DRAIN_TIMEOUT_S": f"{self.drain_timeout_s:g}",
        }


@dataclass(frozen=True, slots=True)
class GatewayState:
    """What nginx runs (`applied`), and when a plan that had to wait may be applied (None: nothing waits)."""

    applied: GatewayPlan
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AccessState:
    """What the leader knows of the API keys: how many are usable, what they used, who is blocked.

    `counted`: somebody has a token quota, so that tokens are counted.
    """

    usable: int = 0
    quota: QuotaMemory = field(default_factory=QuotaMemory)
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision in the ledger. `outcome` is None until it was carried out: "done", or the error's sentence."""

    id: int
    at: datetime
    tick: int
    term: Term
    decision: Decision
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event in the ledger."""

    id: int
    event: Event


@dataclass(frozen=True, slots=True)
class LedgerQuery:
    """Which rows: those that all of this fits, the newest first.

    `since` and `until` belong to the range. Small and capital letters of `text` are the same; some that only look as if
    they had it, as they are stored, may be among what is found. `before_id`: only those that come after that one, for
    the next page.
    """

    pool: PoolName | None = None
    kinds: tuple[str, ...] = ()  # none: of every kind
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None
    before_id: int | None = None
    limit: int = 100
    id: int | None = None  # only that one


@dataclass(frozen=True, slots=True)
class DecisionQuery(LedgerQuery):
    """Which decisions. `text` is looked for in the reasons, the outcome and the names."""


@dataclass(frozen=True, slots=True)
class EventQuery(LedgerQuery):
    """Which events. `text` is looked for in subject, reason and message.

    `pool` has those of the pool itself and of its replicas; `subject` is how theirs begins, such as `replica/llama-`.
    """

    subject: str = ""


@dataclass(frozen=True, slots=True)
class RecordedEvaluation:
    """An evaluation in the ledger. `changed`: it led to a decision."""

    id: int
    tick: int
    term: Term
    changed: bool
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class LastWords:
    """What a replica that failed wrote last, kept when it was removed."""

    at: datetime
    pool: PoolName
    replica: ReplicaId
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Threshold:
    """Above which value a pool's signal is too high: a share of 1, or seconds for the latency.

    `of` tells whose utilisation or memory it is; `measure` and `statistic` tell which latency.
    """

    pool: PoolName
    signal: str
    value: float
    of: str = ""
    measure: str = ""
    statistic: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of telling somebody of alarms. `taken` were taken, each with when in `told`; `trouble` is one sentence,
    empty while all is well."""

    taken: tuple[Alarm, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class TickReport:
    """What a tick did, for the controller's own metrics. What is of the pools is that of the last good tick."""

    at: datetime
    seconds: float
    failed: bool
    unknown: tuple[str, ...]  # sources that could not be read
    changed_gateway: bool
    desired: Mapping[PoolName, int] = field(default_factory=dict)
    states: Mapping[tuple[PoolName, str], int] = field(default_factory=dict)  # replicas by pool and state
    wanted: Mapping[tuple[PoolName, str], int] = field(default_factory=dict)  # replicas by pool and signal
    standing: frozenset[tuple[PoolName, str]] = frozenset()  # pools, and codes of the reasons for their size
    nodes: Mapping[NodeName, bool] = field(default_factory=dict)  # whether its engine answers
    cordoned: frozenset[tuple[str, str, str]] = frozenset()  # GPUs: node, UUID, and code of the reason
    gpus: Mapping[PoolName, int] = field(default_factory=dict)  # that its replicas were given
    bounds: Mapping[PoolName, tuple[int, int]] = field(default_factory=dict)  # floor of this hour, and ceiling
    targets: Mapping[PoolName, float] = field(default_factory=dict)  # requests in flight that a replica is to have
    thresholds: tuple[Threshold, ...] = ()  # of the signals that are enabled
    starting: Mapping[tuple[PoolName, ReplicaId], float] = field(default_factory=dict)  # seconds since its creation
    cold_starts: Mapping[tuple[PoolName, str], float] = field(default_factory=dict)  # seconds, by quantile
    failed_replicas: Mapping[tuple[PoolName, ReplicaId], int] = field(default_factory=dict)  # all: 1 where it just did
    gateway_refused: bool = False  # nginx runs something older than it should
    gateway_lags: Mapping[str, float] = field(default_factory=dict)  # seconds, of the gateways of other machines
    certificate_ends: Mapping[str, datetime] = field(default_factory=dict)  # of gateway and controller, as far as known
