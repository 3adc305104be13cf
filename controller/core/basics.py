"""Names, signals, and readings with their three values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

PoolName = NewType("PoolName", str)
ReplicaId = NewType("ReplicaId", str)
NodeName = NewType("NodeName", str)
Term = NewType("Term", int)


class Known(StrEnum):
    """What a reading is worth."""

    VALUE = "value"
    IDLE = "idle"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reading:
    """One number of one signal, or the fact that there is none. `at` is when it was measured."""

    known: Known
    value: float = 0.0
    at: datetime | None = None

    @staticmethod
    def of(value: float, at: datetime) -> Reading:
        """A measured number; zero is idle. What is no finite number at all (0/0, say) is unknown."""
        if not math.isfinite(value):
            return UNKNOWN
        return Reading(Known.VALUE if value > 0 else Known.IDLE, value, at)


UNKNOWN = Reading(Known.UNKNOWN)


class Signal(StrEnum):
    """What a pool can be scaled or healed by. Ratios are 0..1, times are seconds."""

    IN_FLIGHT = "in_flight"  # requests in flight and waiting, counted when they are accepted
    UTILIZATION = "utilization"  # of the replica's GPUs, or of its CPU share
    KV_CACHE = "kv_cache"  # share of the KV cache in use
    TOKENS = "tokens_per_second"  # tokens generated
    LATENCY = "latency"  # as users see it; the policy says which
    ERRORS = "errors"  # share of requests that were answered with 5xx
    MEMORY = "memory"  # share of the GPU's, container's or host's memory; the policy says whose
