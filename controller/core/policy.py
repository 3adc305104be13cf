"""The policies of a pool. Validated once, here; the core never checks them again."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from controller.core.model import PoolName


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """How many replicas, and when that changes."""

    floor: int = 3
    ceiling: int = 6
    target_in_flight: float = 4.0  # requests in flight and waiting, per replica
    tolerance: float = 0.1  # fraction of the target; inside it nothing moves
    scale_down_window: timedelta = timedelta(seconds=300)
    surge: int = 2  # replicas starting at once: each reads the weights from the same disk
    max_reading_age: timedelta = timedelta(seconds=3)  # three scrapes of 1 s

    def __post_init__(self) -> None:
        if self.floor < 1:
            raise ValueError(f"floor is {self.floor}; it must be at least 1")
        if self.floor > self.ceiling:
            raise ValueError(f"floor {self.floor} is above ceiling {self.ceiling}; make the floor at most the ceiling")
        if self.target_in_flight <= 0:
            raise ValueError(f"target_in_flight is {self.target_in_flight}; it must be above 0")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance is {self.tolerance}; it must be at least 0 and below 1")
        if self.surge < 1:
            raise ValueError(f"surge is {self.surge}; it must be at least 1")


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """When a replica is out, and how long each step may take."""

    failures: int = 3  # probes in a row
    probe_interval: timedelta = timedelta(seconds=1)
    probe_timeout: timedelta = timedelta(seconds=1)
    cold_start_deadline: timedelta = timedelta(seconds=300)
    drain_timeout: timedelta = timedelta(seconds=30)
    backoff_base: timedelta = timedelta(seconds=10)  # after n failed starts in a row: base * 2^(n-1), at most the cap
    backoff_cap: timedelta = timedelta(seconds=300)

    def __post_init__(self) -> None:
        if self.failures < 1:
            raise ValueError(f"failures is {self.failures}; it must be at least 1")


@dataclass(frozen=True, slots=True)
class PoolPolicy:
    """Everything the core must know of a pool."""

    pool: PoolName
    model: str
    scaling: ScalingPolicy = field(default_factory=ScalingPolicy)
    health: HealthPolicy = field(default_factory=HealthPolicy)
