"""The newest lines that fit a search, for pages that wait for more. Read only where something came since."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

from controller.api.activity import Reading
from controller.api.web.activity_rows import Filters
from controller.ports import DecisionQuery, EventQuery, StateStore

_MOST, _SPAN = 200, timedelta(hours=1)
_LOOKS, _KEPT = 1000, 50  # rows; searches


class _News:
    """Of one store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Filters, tuple[tuple[int, int], str]] = OrderedDict()

    def look(self, store: StateStore, filters: Filters, now: datetime) -> str:
        """See `newest_of`."""
        sign = _sign(store)
        with self._lock:
            known = self._kept.get(filters)
            if known is None or known[0] != sign:
                known = self._kept[filters] = (sign, _read(store, filters, now))
            self._kept.move_to_end(filters)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return known[1]


_of_store: WeakKeyDictionary[StateStore, _News] = WeakKeyDictionary()


def newest_of(store: StateStore, filters: Filters, now: datetime) -> str:
    """Those of the last hour that fit, each as the first letter of what it is and its number: e12 d4.

    Cheap where nothing came. Raises `TransientError`.
    """
    return _of_store.setdefault(store, _News()).look(store, filters, now)


def _sign(store: StateStore) -> tuple[int, int]:
    """As long as it stays, nothing came."""
    events, decisions = store.find_events(EventQuery(limit=1)), store.find_decisions(DecisionQuery(limit=1))
    return (events[0].id if events else 0, decisions[0].id if decisions else 0)


def _read(store: StateStore, filters: Filters, now: datetime) -> str:
    wanted = filters.wanted(now)
    wanted = replace(wanted, since=max(wanted.since or now - _SPAN, now - _SPAN))
    return " ".join(f"{line.what[0]}{line.id}" for line in Reading(store, wanted, most=_MOST, looks=_LOOKS))
