"""The simulator's desk, with what it must know of a leader."""

from __future__ import annotations

from collections.abc import Callable

from controller.api.deps import Seen
from controller.api.history import HistoryBook
from controller.core.anatomy import quantile
from controller.core.model import PoolName
from controller.core.reason import ReasonCode
from controller.ports import Clock
from controller.settings import Settings
from controller.stack.simulations.desk import SimulationDesk, World
from controller.stack.simulations.traffic import traffic_of
from controller.wiring.parts import Given

_FOLDER = "simulations"  # of the state directory: what people uploaded within the last hour


def simulation_desk(
    given: Given, clock: Clock, history: HistoryBook, latest: Callable[[], Seen | None]
) -> SimulationDesk:
    """A desk over the pools as the last tick saw them."""

    def bounds(pool: str) -> tuple[int, int] | None:
        """Those that people set, as far as they are in force."""
        seen = latest()
        found = next((each for each in seen.policies if each.pool == pool), None) if seen else None
        if found is None or not any(note.code is ReasonCode.BOUNDS_SET for note in found.notes):
            return None
        return found.scaling.floor, found.scaling.ceiling

    def cold_start_s(pool: str) -> float | None:
        seen = latest()
        memory = seen.plan.memory.pools.get(PoolName(pool)) if seen else None
        return None if memory is None else quantile(memory.cold_starts, 0.5)

    return SimulationDesk(
        World(
            settings=given.settings,
            folder=given.place.layout.root / _FOLDER,
            now=clock.now,
            bounds=bounds,
            cold_start_s=cold_start_s,
            price=lambda pool: _price(given.settings, pool),
            currency=given.settings.costs.currency,
            traffic=lambda pool, hours: traffic_of(history, clock.now, pool, hours),
        )
    )


def _price(settings: Settings, pool: str) -> float | None:
    """Of an hour of one replica, with the GPU that it holds; None where nobody has said."""
    on_gpu = any(each.resources.gpu_memory for each in settings.pools if each.name == pool)
    return settings.prices().of(pool).replica(on_gpu=on_gpu)
