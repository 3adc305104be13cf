"""The simulator's desk, with what it must know of a leader."""

from __future__ import annotations

from collections.abc import Callable

from controller.api.deps import Seen
from controller.api.history import HistoryBook
from controller.core.anatomy import quantile
from controller.core.model import PoolName
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
        seen = latest()
        wanted = next((each.bounds for each in seen.overrides if each.pool == pool), None) if seen else None
        return None if wanted is None else (wanted.floor, wanted.ceiling)

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
    prices = settings.prices().of(pool)
    on_gpu = any(each.resources.gpu_memory for each in settings.pools if each.name == pool)
    gpu_hour = prices.gpu_hour if on_gpu else None
    return None if gpu_hour is None and prices.replica_hour is None else (gpu_hour or 0) + (prices.replica_hour or 0)
