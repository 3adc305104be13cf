"""Pauses, bounds and drills as the API of a controller that stands by has them: they are the leader's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from controller.api.drills import Possible, Wish
from controller.core.drilled import Drilled
from controller.core.errors import LostLease
from controller.core.model import PoolName
from controller.core.overrides import Override

_REFUSAL = "this controller stands by; ask the one that leads"


class UnopenedOverrides:
    """See `OverrideStore`."""

    def overrides(self) -> tuple[Override, ...]:
        """None."""
        return ()

    def change_override(self, pool: PoolName, change: Callable[[Override], Override]) -> Override:
        """Refused."""
        raise LostLease(_REFUSAL)


class UnopenedDrills:
    """See `DrillStore`."""

    def drills(self, *, limit: int) -> tuple[Drilled, ...]:
        """None."""
        return ()

    def drill(self, name: str) -> tuple[Drilled, str] | None:
        """None."""
        return None

    def change_drill(self, name: str, change: Callable[[Drilled | None], Drilled], result: str = "") -> Drilled:
        """Refused."""
        raise LostLease(_REFUSAL)


class UnopenedDrillDesk:
    """See `DrillDesk`."""

    def possible(self, pool: str, clients: int) -> Sequence[Possible]:
        """Refused."""
        raise LostLease(_REFUSAL)

    def start(self, name: str, wish: Wish, begins: Callable[[], None]) -> None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def running(self) -> str | None:
        """None."""
        return None

    def stop(self, name: str) -> bool:
        """Refused."""
        raise LostLease(_REFUSAL)

    def follow(self, gone: Callable[[str, str], None]) -> None:
        """There is nothing to follow."""

    def close(self) -> None:
        """There is nothing to end."""
