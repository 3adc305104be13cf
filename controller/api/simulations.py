"""Simulations as the API asks for them: beside the controller's work, never in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from controller.api.simulation_schemas import (
    OptionsOut,
    SimulationIn,
    SimulationOut,
    SimulationResultOut,
    TrafficOut,
    UploadOut,
)
from controller.core.errors import LostLease

_REFUSAL = "this controller stands by; ask the one that leads"


class SimulationRefused(ValueError):
    """It cannot be played, in one sentence: what is wrong and what would be right."""


class TooManySimulations(RuntimeError):
    """There is no room for it now, in one sentence."""


class Simulations(Protocol):
    """Plays traces in a process of its own, one after the other. What is not asked for again is forgotten in an hour.

    `KeyError`: there is nothing of that name.
    """

    def options(self, pool: str) -> OptionsOut:
        """What can be changed of that pool, and how it stands now. Raises `KeyError`. Does not block."""
        ...

    def traffic(self, pool: str, hours: float) -> TrafficOut:
        """What it had in the last hours. Raises `KeyError`, and `SimulationRefused` where nobody tells.

        Blocks for a few seconds at most.
        """
        ...

    def start(self, wanted: SimulationIn) -> SimulationOut:
        """Put it in the queue. Raises `SimulationRefused`, `TooManySimulations`, and `KeyError` for the pool.

        Blocks for a few seconds at most where the pool's own traffic is asked for, and not otherwise.
        """
        ...

    def find(self, identity: str) -> SimulationResultOut:
        """How it stands with it. Raises `KeyError`. Does not block."""
        ...

    def recent(self) -> Sequence[SimulationOut]:
        """Those that are not forgotten, the newest first. Does not block."""
        ...

    def cancel(self, identity: str) -> SimulationOut:
        """End it where it has not ended. Raises `KeyError`. Does not block."""
        ...

    def upload(self, name: str, content: bytes) -> UploadOut:
        """Check a trace and keep it for an hour. Blocks for a few seconds, at most for half a minute.

        Raises `SimulationRefused` where it cannot be played, and `TooManySimulations`.
        """
        ...

    def close(self) -> None:
        """End what runs, and forget everything. Blocks for a moment."""
        ...


class UnopenedSimulations:
    """See `Simulations`: a controller that stands by plays nothing."""

    def options(self, pool: str) -> OptionsOut:
        """Refused."""
        raise LostLease(_REFUSAL)

    def traffic(self, pool: str, hours: float) -> TrafficOut:
        """Refused."""
        raise LostLease(_REFUSAL)

    def start(self, wanted: SimulationIn) -> SimulationOut:
        """Refused."""
        raise LostLease(_REFUSAL)

    def find(self, identity: str) -> SimulationResultOut:
        """Refused."""
        raise LostLease(_REFUSAL)

    def recent(self) -> tuple[SimulationOut, ...]:
        """None."""
        return ()

    def cancel(self, identity: str) -> SimulationOut:
        """Refused."""
        raise LostLease(_REFUSAL)

    def upload(self, name: str, content: bytes) -> UploadOut:
        """Refused."""
        raise LostLease(_REFUSAL)

    def close(self) -> None:
        """Nothing was open."""
