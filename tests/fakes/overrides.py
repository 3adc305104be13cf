"""OverrideStore and DrillStore in memory, with the fencing of their store."""

from __future__ import annotations

from collections.abc import Callable

from controller.core.drilled import Drilled
from controller.core.model import PoolName
from controller.core.overrides import Override
from tests.fakes.store import FakeStore


class FakeOverrides:
    """See `OverrideStore`. It outlives its store, as a table does."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.rows: dict[PoolName, Override] = {}

    def overrides(self) -> tuple[Override, ...]:
        with self.store.database.asked():
            return tuple(self.rows[pool] for pool in sorted(self.rows))

    def change_override(self, pool: PoolName, change: Callable[[Override], Override]) -> Override:
        with self.store.leading():
            after = change(self.rows.get(pool, Override(pool)))
            self.rows.pop(pool, None)
            if not after.empty:
                self.rows[pool] = after
            return after


class FakeDrills:
    """See `DrillStore`."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.rows: dict[str, tuple[Drilled, str]] = {}

    def drills(self, *, limit: int) -> tuple[Drilled, ...]:
        with self.store.database.asked():
            return tuple(self._newest()[:limit])

    def drill(self, name: str) -> tuple[Drilled, str] | None:
        with self.store.database.asked():
            return self.rows.get(name)

    def change_drill(self, name: str, change: Callable[[Drilled | None], Drilled], result: str = "") -> Drilled:
        with self.store.leading():
            before, known = self.rows.get(name, (None, ""))
            after = change(before)
            self.rows[name] = after, result or known
            for old in self._newest()[100:]:
                del self.rows[old.id]
            return after

    def _newest(self) -> list[Drilled]:
        found = [drill for drill, _ in self.rows.values()]
        return sorted(found, key=lambda drill: (drill.at, drill.id), reverse=True)
