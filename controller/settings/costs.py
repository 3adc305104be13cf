"""`costs` and `pools[].costs`: what an hour of a GPU and of a replica costs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controller.core.costs import Prices
from controller.settings.values import Section, matching

_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Currency = Annotated[str, matching(r"[A-Z]{3}", "is no currency; write three capital letters, such as USD")]


class PriceSettings(Section):
    """Prices of an hour. One that is not given is not counted, or as for all pools."""

    gpu_hour: _Price | None = None  # of each GPU that a replica holds
    replica_hour: _Price | None = None  # of each replica, beside its GPUs

    def over(self, of_all: PriceSettings) -> Prices:
        """For the core: these and, where they say nothing, those of all pools."""
        gpu, replica = self.gpu_hour, self.replica_hour
        return Prices(of_all.gpu_hour if gpu is None else gpu, of_all.replica_hour if replica is None else replica)


class CostSettings(PriceSettings):
    """The prices of all pools."""

    currency: _Currency = "USD"
