"""Where a replica stands between its start and its end, and since when."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from inference_node.logfmt import log


class Phase(StrEnum):
    """In the order in which a replica goes through them; `failed` can follow any."""

    FETCHING = "fetching"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PhaseChange:
    """A phase and when it began."""

    phase: Phase
    at: datetime


class PhaseLog:
    """The phases so far. One thread writes, any thread reads."""

    def __init__(self, replica: str) -> None:
        self._replica = replica
        self._entered = time.monotonic()
        self.changes: tuple[PhaseChange, ...] = ()  # replaced as a whole, so that readers need no lock
        self.detail = ""

    @property
    def current(self) -> Phase:
        """The phase now; `fetching` before the first change."""
        return self.changes[-1].phase if self.changes else Phase.FETCHING

    def enter(self, phase: Phase, detail: str = "") -> None:
        """Begin `phase`; log one line with the seconds spent in the one before. `detail` is a sentence."""
        now = time.monotonic()
        fields: dict[str, object] = {
            "from": self.current if self.changes else "none",
            "to": phase,
            "replica": self._replica,
            "seconds": now - self._entered,
        }
        self._entered = now
        self.detail = detail
        self.changes = (*self.changes, PhaseChange(phase, datetime.now(UTC)))
        log("phase_changed", **fields, **({"msg": detail} if detail else {}))
