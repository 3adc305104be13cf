"""The policies of a pool. Validated once, here; the core never checks them again."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from controller.core.cron import FloorWindow
from controller.core.healing import HealthPolicy as HealthPolicy
from controller.core.healing import RolloutPolicy as RolloutPolicy
from controller.core.model import PoolName
from controller.core.possible import ImpossiblePolicy as ImpossiblePolicy
from controller.core.possible import require
from controller.core.reason import Reason


class Source(StrEnum):
    """Where utilisation is read: the GPUs of a replica, or its share of the CPU that it may use."""

    GPU = "gpu"
    CPU = "cpu"


class MemoryOf(StrEnum):
    """Whose memory counts. Not the GPU's where the engine fills it on purpose, as vLLM does."""

    GPU = "gpu"
    CONTAINER = "container"
    HOST = "host"


class Measure(StrEnum):
    """Which time a user waits for."""

    FIRST_BYTE = "first_byte"
    DURATION = "duration"


class Mode(StrEnum):
    """What becomes of a pool's evaluation.

    active: it is carried out. shadow: it is, and a second policy is evaluated and scored beside it. paused: the count
    stays within its bounds; failed replicas are still replaced.
    """

    ACTIVE = "active"
    SHADOW = "shadow"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class TargetPolicy:
    """A signal that is to stay at `target` for each replica; replicas are added and removed in proportion."""

    target: float
    enabled: bool = True

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.target) and self.target > 0, f"target is {self.target:g}; it must be a number above 0"
        )


@dataclass(frozen=True, slots=True)
class UtilizationPolicy:
    """Utilisation, 0..1. Alone it asks for at most one replica more than the other signals do.

    One request is enough to keep a GPU busy, so that a new replica soon looks as busy as the old ones. Above
    `threshold` for `duration` one more is asked for even inside the tolerance of the target.
    """

    target: float = 0.70
    threshold: float = 0.85
    duration: timedelta = timedelta(seconds=60)
    source: Source = Source.CPU
    enabled: bool = True

    def __post_init__(self) -> None:
        require(0 < self.target <= 1, f"target is {self.target:g}; utilization must be above 0 and at most 1")
        require(
            self.target <= self.threshold <= 1,
            f"threshold is {self.threshold:g}; it must be at least the target {self.target:g} and at most 1",
        )
        require(self.duration > timedelta(0), "for must be above 0")


@dataclass(frozen=True, slots=True)
class LatencyPolicy:
    """What users wait. Above `threshold` seconds for `duration` one more replica is asked for, as long as the replicas
    have work: requests that are slow on an idle replica are slow on any.

    `quantile` None is the mean.
    """

    threshold: float = 0.5
    duration: timedelta = timedelta(seconds=15)
    measure: Measure = Measure.FIRST_BYTE
    quantile: float | None = 0.95
    enabled: bool = True

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.threshold) and self.threshold > 0,
            f"threshold is {self.threshold:g}; it must be a time above 0",
        )
        require(self.duration > timedelta(0), "for must be above 0")
        quantile = self.quantile
        require(
            quantile is None or 0 < quantile < 1, f"quantile is {quantile}; it must lie between 0 and 1, or be mean"
        )


@dataclass(frozen=True, slots=True)
class ErrorsPolicy:
    """Share of 5xx answers. A replica above `threshold` for `duration`, and above twice its peers, is recycled; where
    all are, more replicas would not help, and nothing is done but to say so."""

    threshold: float = 0.01
    duration: timedelta = timedelta(seconds=30)
    enabled: bool = True

    def __post_init__(self) -> None:
        require(0 < self.threshold < 1, f"threshold is {self.threshold:g}; it must lie between 0 and 1")
        require(self.duration > timedelta(0), "for must be above 0")


@dataclass(frozen=True, slots=True)
class MemoryPolicy:
    """Share of memory in use. A replica above `threshold` for `duration` is recycled: new first, one at a time."""

    threshold: float = 0.90
    duration: timedelta = timedelta(seconds=60)
    of: MemoryOf = MemoryOf.CONTAINER
    enabled: bool = True

    def __post_init__(self) -> None:
        require(0 < self.threshold < 1, f"threshold is {self.threshold:g}; it must lie between 0 and 1")
        require(self.duration > timedelta(0), "for must be above 0")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `replicas`, or `percent` of the count at the period's start if that is more, within `period`."""

    replicas: int
    percent: float
    period: timedelta

    def __post_init__(self) -> None:
        require(self.replicas >= 1, f"replicas is {self.replicas}; at least 1 must be allowed, else nothing can move")
        require(self.percent >= 0, f"percent is {self.percent:g}; it must be at least 0")
        require(self.period > timedelta(0), "per must be above 0")

    def step(self, count: int) -> int:
        """How many replicas a count may change by within one period."""
        return max(self.replicas, math.floor(count * self.percent / 100))


@dataclass(frozen=True, slots=True)
class PanicPolicy:
    """In flight at `factor` times the target for `after`: no delay upwards, and no shrinking for `hold`."""

    factor: float = 2.0
    after: timedelta = timedelta(seconds=10)
    hold: timedelta = timedelta(seconds=60)

    def __post_init__(self) -> None:
        require(self.factor > 1, f"factor is {self.factor:g}; it must be above 1")


@dataclass(frozen=True, slots=True)
class ForecastPolicy:
    """A trend over `window` of demand, looked at one learned cold start ahead, may raise the count."""

    window: timedelta = timedelta(seconds=120)
    enabled: bool = False


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """How many replicas, and when that changes.

    `floor` 0 is scale to zero: while no replica serves, the gateway answers 503 with Retry-After and holds nothing.
    """

    floor: int = 3
    ceiling: int = 6
    in_flight: TargetPolicy = TargetPolicy(4.0)
    utilization: UtilizationPolicy = UtilizationPolicy()
    kv_cache: TargetPolicy = TargetPolicy(0.80, enabled=False)  # not every engine tells
    tokens: TargetPolicy = TargetPolicy(1000.0, enabled=False)  # what a replica makes depends on model and GPU
    latency: LatencyPolicy = LatencyPolicy()
    errors: ErrorsPolicy = ErrorsPolicy()
    memory: MemoryPolicy = MemoryPolicy()
    tolerance: float = 0.1  # fraction of the target; inside it nothing moves
    scale_up_window: timedelta = timedelta(0)
    scale_down_window: timedelta = timedelta(seconds=300)
    surge: int = 3  # replicas starting at once, as many as the floor: each reads the weights from the same disk
    rate_up: RateLimit = RateLimit(4, 100, timedelta(seconds=15))
    rate_down: RateLimit = RateLimit(1, 0, timedelta(seconds=15))
    panic: PanicPolicy = PanicPolicy()
    forecast: ForecastPolicy = ForecastPolicy()
    schedule: tuple[FloorWindow, ...] = ()
    zero_after: timedelta = timedelta(minutes=10)  # idle for so long, a pool with floor 0 goes to zero
    recycle_interval: timedelta = timedelta(minutes=5)  # between two replicas of a pool that are recycled
    gpu_memory_bytes: int = 0  # that a replica needs free on one GPU; 0: it needs no GPU
    scrape_interval: timedelta = timedelta(seconds=1)

    def __post_init__(self) -> None:
        require(self.floor >= 0, f"floor is {self.floor}; it must be at least 0")
        require(self.ceiling >= 1, f"ceiling is {self.ceiling}; it must be at least 1")
        require(
            self.floor <= self.ceiling,
            f"floor {self.floor} is above ceiling {self.ceiling}; make the floor at most the ceiling",
        )
        require(0 <= self.tolerance < 1, f"tolerance is {self.tolerance:g}; it must be at least 0 and below 1")
        require(self.surge >= 1, f"surge is {self.surge}; it must be at least 1")
        signals = (self.in_flight, self.utilization, self.kv_cache, self.tokens, self.latency)
        require(
            any(signal.enabled for signal in signals) or bool(self.schedule) or self.floor == self.ceiling,
            "no signal is enabled, so that nothing could ever scale the pool; enable one",
        )
        for window in self.schedule:
            require(window.floor <= self.ceiling, f"a scheduled floor {window.floor} is above ceiling {self.ceiling}")
        for name, wanted in self.windows().items():
            require(
                not timedelta(0) < wanted < self.scrape_interval,
                f"{name} of {wanted.total_seconds():g} s is shorter than the time between two scrapes, "
                f"{self.scrape_interval.total_seconds():g} s; make it at least that",
            )

    def windows(self) -> dict[str, timedelta]:
        """Those that must hold a scrape at least, by their names in the configuration."""
        return {
            "scale_up_window": self.scale_up_window,
            "scale_down_window": self.scale_down_window,
            "utilization.for": self.utilization.duration,
            "latency.for": self.latency.duration,
            "errors.for": self.errors.duration,
            "memory.for": self.memory.duration,
            "panic.after": self.panic.after,
            "forecast.window": self.forecast.window,
        }

    def scraped_every(self, interval: timedelta) -> ScalingPolicy:
        """The same with readings that come that often; windows that would be too short for it are as long."""
        known = {name: max(window, interval) if window else window for name, window in self.windows().items()}
        return replace(
            self,
            scale_up_window=known["scale_up_window"],
            scale_down_window=known["scale_down_window"],
            utilization=replace(self.utilization, duration=known["utilization.for"]),
            latency=replace(self.latency, duration=known["latency.for"]),
            errors=replace(self.errors, duration=known["errors.for"]),
            memory=replace(self.memory, duration=known["memory.for"]),
            panic=replace(self.panic, after=known["panic.after"]),
            forecast=replace(self.forecast, window=known["forecast.window"]),
            scrape_interval=interval,
        )

    @property
    def max_reading_age(self) -> timedelta:
        """A reading older than three scrapes is unknown."""
        return 3 * self.scrape_interval


@dataclass(frozen=True, slots=True)
class PoolPolicy:
    """Everything the core must know of a pool. `shadow` is the second policy of a pool in that mode, and `notes` say
    what people have changed of the configured one."""

    pool: PoolName
    model: str
    scaling: ScalingPolicy = field(default_factory=ScalingPolicy)
    health: HealthPolicy = field(default_factory=HealthPolicy)
    mode: Mode = Mode.ACTIVE
    shadow: ScalingPolicy | None = None
    rollout: RolloutPolicy = field(default_factory=RolloutPolicy)
    spec_hash: str = ""  # what its replicas are to be made of
    notes: tuple[Reason, ...] = ()

    def __post_init__(self) -> None:
        require(
            (self.mode is Mode.SHADOW) == (self.shadow is not None),
            "a pool in mode shadow needs the second policy under shadow, and only such a pool has one",
        )
