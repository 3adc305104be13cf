"""What people want of pools while they run, and the drills that they ran: where it is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from controller.core.drilled import Drilled
from controller.core.model import PoolName
from controller.core.overrides import Override


class OverrideStore(Protocol):
    """Pauses and bounds. Writes are fenced as orders are. Every method blocks for at most 5 s.

    A write raises `LostLease` where another controller leads; each raises `TransientError` where nothing was done.
    """

    def overrides(self) -> tuple[Override, ...]:
        """Those that hold."""
        ...

    def change_override(self, pool: PoolName, change: Callable[[Override], Override]) -> Override:
        """Write what `change` makes of the pool's, in one transaction. What `change` raises is raised."""
        ...


class DrillStore(Protocol):
    """The newest 100 drills. As `OverrideStore`."""

    def drills(self, *, limit: int) -> tuple[Drilled, ...]:
        """The newest, newest first."""
        ...

    def drill(self, name: str) -> tuple[Drilled, str] | None:
        """The one with this id, and its whole result as JSON, empty where there is none yet."""
        ...

    def change_drill(self, name: str, change: Callable[[Drilled | None], Drilled], result: str = "") -> Drilled:
        """Write what `change` makes of it (None: there is none yet) with its result, in one transaction.

        No result leaves the one that is there. What `change` raises is raised.
        """
        ...
