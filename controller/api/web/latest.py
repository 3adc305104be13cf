"""The last decision of each pool that says something of its own, for as long as the ledger goes back."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from weakref import WeakKeyDictionary

from controller.core.decision import Decision, ReasonCode, RecycleReplica, RemoveReplica, ScalePool
from controller.core.errors import TransientError
from controller.core.model import PoolName
from controller.core.policy import PoolPolicy
from controller.ports import Recorded, StateStore

_LOOK = 200  # newest decisions that are read again and again; older ones once
_DEEP = 50  # of one pool, the first time
_ORDINARY = (ReasonCode.DRAINED, ReasonCode.ABOVE_DESIRED, ReasonCode.SUCCESSOR_READY)


@dataclass(frozen=True, slots=True)
class Last:
    """What was decided, in the words of the ledger. `before` and `after` are counts, where it was about the count."""

    id: int
    at: datetime
    kind: str
    replica: str
    before: int | None
    after: int | None
    why: str
    outcome: str | None


class LastDecisions:
    """Those of one store. A look reads the newest decisions, and more only where a pool is among them for the first
    time. Blocks for as long as the store does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[PoolName, Last | None] = {}
        self._newest: tuple[int, str | None] | None = None  # its number and outcome: as long as they stay, so do all

    def look(self, store: StateStore, policies: Sequence[PoolPolicy]) -> Mapping[PoolName, Last | None]:
        """By pool; None where there is none. As it was while the database is away."""
        with self._lock, suppress(TransientError):
            self._read(store, policies)
        return dict(self._known)

    def _read(self, store: StateStore, policies: Sequence[PoolPolicy]) -> None:
        newest = [(item.id, item.outcome) for item in store.decisions(limit=1)]
        if newest and newest[0] != self._newest:
            self._newest = newest[0]
            self._known |= _telling(store.decisions(limit=_LOOK))
        for pool in (policy.pool for policy in policies):
            if pool not in self._known:
                self._known[pool] = _telling(store.decisions(limit=_DEEP, pool=pool)).get(pool)


_of_store: WeakKeyDictionary[StateStore, LastDecisions] = WeakKeyDictionary()


def last_decisions(store: StateStore, policies: Sequence[PoolPolicy]) -> Mapping[PoolName, Last | None]:
    """Of that store."""
    return _of_store.setdefault(store, LastDecisions()).look(store, policies)


def _telling(found: Sequence[Recorded]) -> dict[PoolName, Last]:
    """The newest of each pool that is no mere consequence of another."""
    chosen: dict[PoolName, Last] = {}
    for item in found:
        if item.decision.pool not in chosen and _tells(item.decision):
            chosen[item.decision.pool] = last_of(item)
    return chosen


def _tells(decision: Decision) -> bool:
    if isinstance(decision, RemoveReplica):
        return decision.reasons[-1].code not in _ORDINARY
    return isinstance(decision, ScalePool | RecycleReplica)


def last_of(item: Recorded) -> Last:
    """A row of the ledger."""
    decision = item.decision
    scaled = decision if isinstance(decision, ScalePool) else None
    return Last(
        id=item.id,
        at=item.at,
        kind=decision.kind,
        replica="" if isinstance(decision, ScalePool) else decision.replica,
        before=scaled.current if scaled else None,
        after=scaled.desired if scaled else None,
        why="; ".join(reason.text for reason in decision.reasons),
        outcome=item.outcome,
    )
