"""What the controller needs of the outside world. Every method is synchronous and says how long it may block."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Protocol

from controller.core.access import EVERY_KEY, ApiKey, KeyId, KeySearch
from controller.core.decision import Memory, Plan
from controller.core.evaluation import Evaluation
from controller.core.event import Event
from controller.core.model import Container, GatewayPlan, Order, PoolName, ProbeHistory, ProbeTarget, ReplicaId, Term
from controller.core.quota import Block, DayUsage
from controller.records import AccessState as AccessState
from controller.records import DecisionQuery as DecisionQuery
from controller.records import Delivery as Delivery
from controller.records import EventQuery as EventQuery
from controller.records import GatewayState as GatewayState
from controller.records import LastWords as LastWords
from controller.records import Recorded as Recorded
from controller.records import RecordedEvaluation as RecordedEvaluation
from controller.records import RecordedEvent as RecordedEvent
from controller.records import ReplicaSpec as ReplicaSpec
from controller.records import Sample as Sample
from controller.records import Threshold as Threshold
from controller.records import TickReport as TickReport


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """Current time, timezone-aware UTC."""
        ...


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

    def last_words(self, replica: ReplicaId) -> str:
        """The last 20 lines that it wrote, at most 4,000 characters. Empty for one that is gone. At most 3 s."""
        ...

    def watch(self, on_event: Callable[[], None]) -> None:
        """Call `on_event` soon after any replica starts, stops or dies, from another thread, until `close`."""
        ...

    def close(self) -> None:
        """Stop watching. Replicas go on. Idempotent."""
        ...


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
        """Take the lead with a new term. Blocks for at most 5 s. Raises `LostLease` where another one holds it."""
        ...

    def renew(self, term: Term) -> None:
        """Hold it for longer. Called twice in each tick, so that a slow one does not lose it. Blocks for at most 5 s.

        Raises:
            LostLease: it ran out by the leader's own clock, or is another's.
            TransientError: no answer, and the lease still holds.
        """
        ...

    def holds(self) -> bool:
        """Whether it still does by the leader's own clock. Asks nobody. From any thread."""
        ...

    def release(self) -> None:
        """Let the next one in at once. Idempotent."""
        ...


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

    def orders(self) -> tuple[Order, ...]:
        """The standing orders, oldest first."""
        ...

    def give_order(self, order: Order) -> None:
        """Add it. One of the same kind and subject is replaced."""
        ...

    def drop_orders(self, orders: Sequence[Order]) -> None:
        """Those of the same kinds and subjects are gone. Those that are gone already are success."""
        ...

    def keep_spec(self, pool: PoolName, spec_hash: str, body: str) -> None:
        """What a spec's hash stands for, for a way back to it. Idempotent; the newest 20 of a pool are kept."""
        ...

    def spec(self, pool: PoolName, spec_hash: str) -> str | None:
        """The body that was kept, or None."""
        ...

    def keep_last_words(self, words: LastWords) -> None:
        """Add to them; the newest 200 are kept."""
        ...

    def last_words(self, *, limit: int, pool: PoolName | None = None) -> tuple[LastWords, ...]:
        """The newest, newest first."""
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

    def find_decisions(self, query: DecisionQuery) -> tuple[Recorded, ...]:
        """Those that fit, by time, newest first."""
        ...

    def find_events(self, query: EventQuery) -> tuple[RecordedEvent, ...]:
        """Those that fit, by time, newest first."""
        ...


class KeyStore(Protocol):
    """API keys and what they used. Writes are fenced as orders are. Every method blocks for at most 5 s.

    Every write raises `LostLease` where another controller leads, and `TransientError` where nothing was written.
    """

    def list_keys(self, since: int = 0) -> tuple[ApiKey, ...]:
        """Those that were made or changed after that version, all of them where it is 0. None is ever deleted."""
        ...

    def find_keys(
        self, *, limit: int, of: str | None = None, ids: Collection[KeyId] | None = None, fits: KeySearch = EVERY_KEY
    ) -> tuple[ApiKey, ...]:
        """Those that fit, newest first; with `of` only those with that id or name, with `ids` only these."""
        ...

    def keys_version(self) -> int:
        """A number that grows with each change; 0 where there never was a key. Cheap: asked in every tick."""
        ...

    def add_key(self, key: ApiKey) -> None:
        """A new one."""
        ...

    def change_key(self, key: KeyId, change: Callable[[ApiKey], Sequence[ApiKey]]) -> tuple[ApiKey, ...]:
        """Write what `change` makes of it, and new keys that come with that, in one transaction; gives them all.

        Empty where there is no such key. What `change` raises is raised, and nothing is written.
        """
        ...

    def usage(self, since: date) -> tuple[DayUsage, ...]:
        """What each key used on each day from then on, in the order of the days."""
        ...

    def save_usage(self, totals: Sequence[DayUsage]) -> None:
        """Write these; one of the same key and day is replaced. Days are kept for about three months."""
        ...


class AccessGate(Protocol):
    """Whom nginx lets in."""

    def apply(self, records: Mapping[str, str], blocks: Mapping[KeyId, Block], *, look: bool = False) -> bool:
        """Make nginx know exactly these keys (a record for each digest) and blocks; whether it had to be told.

        What it was told within the last 10 s is not checked again, unless `look`. Blocks for at most 3 s; where it
        knows nothing for half a second more for each MB of records (100,000 are about 10 MB).

        Raises:
            GatewayUnavailable: nginx did not take it in time. It takes it by itself when it is started.
        """
        ...


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
