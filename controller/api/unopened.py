"""The ledger as the API of a controller that stands by has it: it is the leader's, and has not been opened."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime

from controller.core.access import EVERY_KEY, ApiKey, KeyId, KeySearch
from controller.core.alerts import Alert, HeardAlerts, KnownAlert
from controller.core.decision import Memory, Plan
from controller.core.errors import LostLease
from controller.core.evaluation import Evaluation
from controller.core.event import Event
from controller.core.model import Order, PoolName, Term
from controller.core.quota import DayUsage
from controller.ports import DecisionQuery, EventQuery, LastWords, Recorded, RecordedEvaluation, RecordedEvent

_REFUSAL = "this controller stands by; ask the one that leads"


class Unopened:
    """See `StateStore`: nothing is read from it, and every write raises `LostLease`."""

    def load(self) -> Memory:
        """Nothing."""
        return Memory()

    def save(
        self, plan: Plan, *, tick: int, term: Term, at: datetime, evaluations: Sequence[Evaluation] = ()
    ) -> tuple[int, ...]:
        """Refused."""
        raise LostLease(_REFUSAL)

    def finish(self, outcomes: Mapping[int, str], memory: Memory, *, term: Term) -> None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def append(self, events: Sequence[Event]) -> None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def orders(self) -> tuple[Order, ...]:
        """None."""
        return ()

    def give_order(self, order: Order) -> None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def drop_orders(self, orders: Sequence[Order]) -> None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def keep_spec(self, pool: PoolName, spec_hash: str, body: str) -> None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def spec(self, pool: PoolName, spec_hash: str) -> str | None:
        """None."""
        return None

    def keep_last_words(self, words: LastWords) -> None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def last_words(self, *, limit: int, pool: PoolName | None = None) -> tuple[LastWords, ...]:
        """None."""
        return ()

    def decisions(self, *, limit: int, pool: PoolName | None = None) -> tuple[Recorded, ...]:
        """None."""
        return ()

    def evaluations(
        self, *, pool: PoolName, limit: int, until: datetime | None = None, changed: bool = False
    ) -> tuple[RecordedEvaluation, ...]:
        """None."""
        return ()

    def events(self, *, limit: int) -> tuple[Event, ...]:
        """None."""
        return ()

    def find_decisions(self, query: DecisionQuery) -> tuple[Recorded, ...]:
        """None."""
        return ()

    def find_events(self, query: EventQuery) -> tuple[RecordedEvent, ...]:
        """None."""
        return ()


class UnopenedKeys:
    """See `KeyStore`: everything raises `LostLease`, as no answer at all would look like no keys."""

    def list_keys(self, since: int = 0) -> tuple[ApiKey, ...]:
        """Refused."""
        raise LostLease(_REFUSAL)

    def find_keys(
        self, *, limit: int, of: str | None = None, ids: Collection[KeyId] | None = None, fits: KeySearch = EVERY_KEY
    ) -> tuple[ApiKey, ...]:
        """Refused."""
        raise LostLease(_REFUSAL)

    def keys_version(self) -> int:
        """Refused."""
        raise LostLease(_REFUSAL)

    def add_key(self, key: ApiKey) -> None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def change_key(self, key: KeyId, change: Callable[[ApiKey], Sequence[ApiKey]]) -> tuple[ApiKey, ...]:
        """Refused."""
        raise LostLease(_REFUSAL)

    def usage(self, since: date) -> tuple[DayUsage, ...]:
        """Refused."""
        raise LostLease(_REFUSAL)

    def save_usage(self, totals: Sequence[DayUsage]) -> None:
        """Refused."""
        raise LostLease(_REFUSAL)


class UnopenedAlerts:
    """See `AlertBook`: the leader is told."""

    def hear(self, said: Sequence[Alert], left_out: int, now: datetime) -> HeardAlerts:
        """Refused."""
        raise LostLease(_REFUSAL)

    def known(self, now: datetime) -> tuple[KnownAlert, ...]:
        """None."""
        return ()
