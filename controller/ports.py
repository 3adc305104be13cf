"""What the controller needs of the outside world. Every method is synchronous and says how long it may block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from controller.core.decision import Decision, Memory, Plan
from controller.core.evaluation import Evaluation
from controller.core.event import Event
from controller.core.model import Container, GatewayPlan, PoolName, ProbeHistory, ProbeTarget, ReplicaId, Term


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """Current time, timezone-aware UTC."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One element of an instant vector. NaN never comes through: it is left out."""

    labels: Mapping[str, str]
    value: float
    at: datetime


class MetricSource(Protocol):
    """Reads metrics."""

    def query(self, promql: str) -> tuple[Sample, ...]:
        """Evaluate an instant query. Blocks for at most 1 s.

        Raises:
            MetricsUnavailable: no answer in time, or an error as the answer.
        """
        ...


class Prober(Protocol):
    """Probes replicas over HTTP, each at its own fixed interval, in the background."""

    def probe(self, targets: Sequence[ProbeTarget]) -> Mapping[ReplicaId, ProbeHistory]:
        """The newest result of every target, and from now on probe exactly these.

        Blocks only while a target is new, until it was probed once: at most the probe's time-out.
        A target whose address changed is new.
        """
        ...

    def close(self) -> None:
        """Stop probing. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """What to start. `spec_hash` tells replicas of one making from those of another."""

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


class ContainerRuntime(Protocol):
    """Starts and stops replicas on one node.

    Every method raises `RuntimeUnavailable` when the engine cannot be reached in time (the next tick tries
    again) and `RuntimeRejected` when it says that the request can never work.
    """

    def list_replicas(self) -> tuple[Container, ...]:
        """Every replica of this installation, stopped ones too. Blocks for at most 5 s."""
        ...

    def start_replica(self, spec: ReplicaSpec) -> None:
        """Create and start. Idempotent: a replica of that name that runs already is success. Blocks for at most 20 s.

        Nothing is left behind when it raises.
        """
        ...

    def terminate_replica(self, replica: ReplicaId) -> None:
        """Send SIGTERM and return at once; the launcher finishes what is in flight. One that is gone is success."""
        ...

    def remove_replica(self, replica: ReplicaId) -> None:
        """Kill if it still runs (paused too), then remove every trace. One that is gone is success. At most 10 s."""
        ...

    def watch(self, on_event: Callable[[], None]) -> None:
        """Call `on_event` soon after any replica starts, stops or dies, from another thread, until `close`."""
        ...

    def close(self) -> None:
        """Stop watching. Replicas go on. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class GatewayState:
    """What nginx runs (`applied`), and when a plan that had to wait may be applied (None: nothing waits)."""

    applied: GatewayPlan
    retry_at: datetime | None = None


class Gateway(Protocol):
    """nginx in front of the replicas."""

    def state(self) -> GatewayState:
        """The plan that nginx runs. Does not block."""
        ...

    def apply(self, plan: GatewayPlan) -> GatewayState:
        """Make nginx run `plan`; equal plans do nothing. Blocks for at most 5 s.

        Reloads are coalesced: sooner than the reload interval (2 s by default) after the last one nothing is done and
        `retry_at` says when to come again.

        Raises:
            GatewayRejected: nginx refused it (its words are in the message); the old configuration still serves.
            GatewayUnavailable: nginx did not take it in time; the old file is back in place.
        """
        ...


class Lease(Protocol):
    """Who may act. A term is a fencing token: it only grows."""

    def acquire(self) -> Term:
        """Take the lead with a new term. Blocks for at most 5 s.

        Raises:
            LostLease: another controller runs and holds it.
        """
        ...


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
class RecordedEvaluation:
    """An evaluation in the ledger. `changed`: it led to a decision."""

    id: int
    tick: int
    term: Term
    changed: bool
    evaluation: Evaluation


class StateStore(Protocol):
    """What is wanted and why. Every write is fenced by the term. Blocks for at most 5 s (a locked database)."""

    def load(self) -> Memory:
        """What the last `save` remembered. Empty where nothing was ever saved."""
        ...

    def save(
        self, plan: Plan, *, tick: int, term: Term, at: datetime, evaluations: Sequence[Evaluation] = ()
    ) -> tuple[int, ...]:
        """Record the decisions, these evaluations and the memory in one transaction; the decisions' ids, in order.

        Raises:
            LostLease: a newer term exists; nothing was written.
        """
        ...

    def finish(self, outcomes: Mapping[int, str], memory: Memory, *, term: Term) -> None:
        """Write how decisions ended, and the memory after that. Raises `LostLease` like `save`."""
        ...

    def append(self, events: Sequence[Event]) -> None:
        """Add to the events."""
        ...

    def decisions(self, *, limit: int, pool: PoolName | None = None) -> tuple[Recorded, ...]:
        """The newest decisions, newest first."""
        ...

    def evaluations(
        self, *, pool: PoolName, limit: int, until: datetime | None = None, changed: bool = False
    ) -> tuple[RecordedEvaluation, ...]:
        """The newest evaluations of a pool at or before `until`, newest first; with `changed` only those that led to a
        decision. How many are kept is bounded."""
        ...

    def events(self, *, limit: int) -> tuple[Event, ...]:
        """The newest events, newest first."""
        ...


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


class EventSink(Protocol):
    """Tells people and Prometheus. Never blocks on them and never raises."""

    def emit(self, events: Sequence[Event]) -> None:
        """One log line and one count for each; an unchanged failure repeats its line once a minute, with its count."""
        ...

    def report(self, report: TickReport) -> None:
        """Set the controller's own metrics."""
        ...


class TargetWriter(Protocol):
    """Tells Prometheus whom to scrape."""

    def write(self, containers: Sequence[Container]) -> None:
        """These replicas, no others. Equal lists do nothing. Blocks for a file's writing."""
        ...
