"""What replicas and GPUs cost. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Prices:
    """Of an hour. None: nobody has said."""

    gpu_hour: float | None = None
    replica_hour: float | None = None

    @property
    def known(self) -> bool:
        """Whether there is any."""
        return self.gpu_hour is not None or self.replica_hour is not None

    def replica(self, *, on_gpu: bool) -> float | None:
        """Of an hour of one replica, with the GPU that it holds; None where nobody has said."""
        gpu_hour = self.gpu_hour if on_gpu else None
        if gpu_hour is None and self.replica_hour is None:
            return None
        return (gpu_hour or 0.0) + (self.replica_hour or 0.0)


@dataclass(frozen=True, slots=True)
class Costs:
    """The prices, and those of pools that have their own."""

    prices: Prices = field(default_factory=Prices)
    pools: Mapping[str, Prices] = field(default_factory=dict)
    currency: str = "USD"

    def of(self, pool: str) -> Prices:
        """The pool's."""
        return self.pools.get(pool, self.prices)


@dataclass(frozen=True, slots=True)
class Bill:
    """What a pool used in some time. `tokens` were generated. None: not known, or no price."""

    replica_hours: float
    gpu_hours: float | None
    tokens: float
    cost: float | None
    cost_per_million_tokens: float | None


def bill(replica_hours: float, gpu_hours: float | None, tokens: float, prices: Prices) -> Bill:
    """A GPU costs its hours, and a replica its own beside that. Too few tokens to speak of have no price."""
    cost: float | None = None
    if prices.known:
        cost = replica_hours * (prices.replica_hour or 0.0) + (gpu_hours or 0.0) * (prices.gpu_hour or 0.0)
    each = cost * 1e6 / tokens if cost is not None and tokens >= 1 else None
    return Bill(replica_hours, gpu_hours, tokens, cost, each)
