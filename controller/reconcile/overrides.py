"""Once per tick, before the plan: which policies are in force, by what people want of the pools.

While the store is away the last known wishes hold. A pause whose time is up ends by itself, and that is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from controller.core.errors import TransientError
from controller.core.event import Event
from controller.core.overrides import Override, overridden
from controller.core.policy import PoolPolicy
from controller.ports.pools import OverrideStore


class OverrideKeeper:
    """One thread runs it. `known` are the wishes of the last look, `policies` those that were in force then."""

    def __init__(self, store: OverrideStore | None, policies: Sequence[PoolPolicy]) -> None:
        self._store, self._configured = store, tuple(policies)
        self._asked = False
        self.known: tuple[Override, ...] = ()
        self.policies = self._configured

    def look(self, now: datetime) -> list[Event]:
        """See what is wanted, and end what is over. Blocks for a read of the store, and a write where a pause ends.

        Raises:
            TransientError: the store is away, and nobody knows as yet what is wanted.
            LostLease: another controller leads.
        """
        if self._store is None:
            return []
        try:
            self.known, self._asked = self._store.overrides(), True
        except TransientError:
            if not self._asked:
                raise
        self.policies = overridden(self._configured, self.known, now)
        return self._end(self._store, now)

    def _end(self, store: OverrideStore, now: datetime) -> list[Event]:
        """A pause that is over counts no more, whether or not it can be deleted now."""
        events: list[Event] = []
        for override in self.known:
            if override.pause is not None and override.pause.over(now):
                try:
                    store.change_override(override.pool, lambda known: _without_old(known, now))
                except TransientError:
                    continue  # the next tick makes up for it
                text = f"The time of the pause by {override.pause.by} is up."
                events.append(Event(now, "pool_resumed", f"pool/{override.pool}", "PauseOver", text))
        self.known = tuple(left for known in self.known if not (left := _without_old(known, now)).empty)
        return events


def _without_old(override: Override, now: datetime) -> Override:
    over = override.pause is not None and override.pause.over(now)
    return replace(override, pause=None) if over else override
