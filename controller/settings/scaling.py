"""`pools[].scaling`: every key of the policy that says how many replicas."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, model_validator

from controller.core.cron import FloorWindow
from controller.core.policy import (
    ErrorsPolicy,
    ForecastPolicy,
    LatencyPolicy,
    Measure,
    MemoryOf,
    MemoryPolicy,
    PanicPolicy,
    RateLimit,
    ScalingPolicy,
    Source,
    TargetPolicy,
    UtilizationPolicy,
)
from controller.settings.values import Duration, DurationOrNone, Listed, Section

_QUANTILES = {"mean": None, "p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_DEFAULT = ScalingPolicy()
For = Annotated[Duration, Field(alias="for")]


class ReplicaBounds(Section):
    """How many replicas a pool has at least and at most."""

    floor: int = Field(default=_DEFAULT.floor, ge=0)
    ceiling: int = Field(default=_DEFAULT.ceiling, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> ReplicaBounds:
        if self.floor > self.ceiling:
            raise ValueError(f"floor {self.floor} is above ceiling {self.ceiling}; make the floor at most the ceiling")
        return self


class TargetSettings(Section):
    """A signal with a target for each replica."""

    enabled: bool | None = None
    target: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    def policy(self, default: TargetPolicy) -> TargetPolicy:
        """With what is not given taken from the default; a signal that is given a target is meant to be used."""
        given = default.enabled or self.target is not None
        return TargetPolicy(self.target or default.target, given if self.enabled is None else self.enabled)


class UtilizationSettings(Section):
    """GPU or CPU."""

    enabled: bool = True
    target: float = Field(default=0.70, gt=0, le=1)
    threshold: float = Field(default=0.85, gt=0, le=1)
    duration: For = timedelta(seconds=60)
    source: Literal["gpu", "cpu"] | None = None

    def policy(self, on_gpu: bool) -> UtilizationPolicy:
        """A pool on GPUs goes by them, another by its CPU share."""
        source = Source(self.source) if self.source else Source.GPU if on_gpu else Source.CPU
        return UtilizationPolicy(self.target, self.threshold, self.duration, source, self.enabled)

    @model_validator(mode="after")
    def _possible(self) -> UtilizationSettings:
        self.policy(on_gpu=False)
        return self


class LatencySettings(Section):
    """What users wait."""

    enabled: bool = True
    threshold: Duration = timedelta(seconds=0.5)
    duration: For = timedelta(seconds=15)
    measure: Literal["first_byte", "duration"] = "first_byte"
    statistic: Literal["mean", "p50", "p90", "p95", "p99"] = "p95"

    def policy(self) -> LatencyPolicy:
        """As the core has it."""
        quantile, threshold_s = _QUANTILES[self.statistic], self.threshold.total_seconds()
        return LatencyPolicy(threshold_s, self.duration, Measure(self.measure), quantile, self.enabled)


class ErrorsSettings(Section):
    """5xx answers."""

    enabled: bool = True
    threshold: float = Field(default=0.01, gt=0, lt=1)
    duration: For = timedelta(seconds=30)


class MemorySettings(Section):
    """Memory that fills up."""

    enabled: bool = True
    threshold: float = Field(default=0.90, gt=0, lt=1)
    duration: For = timedelta(seconds=60)
    of: Literal["gpu", "container", "host"] = "container"


class RateSettings(Section):
    """A limit of one direction."""

    replicas: int = Field(ge=1)
    percent: float = Field(default=0, ge=0, allow_inf_nan=False)
    per: Duration

    def policy(self) -> RateLimit:
        """As the core has it."""
        return RateLimit(self.replicas, self.percent, self.per)


class PanicSettings(Section):
    """Demand far over the target."""

    factor: float = Field(default=2.0, gt=1, allow_inf_nan=False)
    after: Duration = timedelta(seconds=10)
    hold: Duration = timedelta(seconds=60)


class ForecastSettings(Section):
    """A look ahead."""

    enabled: bool = False
    window: Duration = timedelta(seconds=120)


class FloorSettings(Section):
    """A higher floor at some hours."""

    start: str
    duration: For
    floor: int = Field(ge=1)
    timezone: str = "UTC"

    def window(self) -> FloorWindow:
        """As the core has it."""
        return FloorWindow(self.start, self.duration, self.floor, self.timezone)

    @model_validator(mode="after")
    def _possible(self) -> FloorSettings:
        self.window()
        return self


class ScalingSettings(Section):
    """When the count moves between floor and ceiling. `target_in_flight` is short for `in_flight: {target: ...}`."""

    target_in_flight: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    in_flight: TargetSettings = TargetSettings()
    utilization: UtilizationSettings = UtilizationSettings()
    kv_cache: TargetSettings = TargetSettings()
    tokens_per_second: TargetSettings = TargetSettings()
    latency: LatencySettings = LatencySettings()
    errors: ErrorsSettings = ErrorsSettings()
    memory: MemorySettings = MemorySettings()
    tolerance: float = Field(default=_DEFAULT.tolerance, ge=0, lt=1)
    scale_up_window: DurationOrNone = _DEFAULT.scale_up_window
    scale_down_window: Duration = _DEFAULT.scale_down_window
    surge: int = Field(default=_DEFAULT.surge, ge=1)
    rate_up: RateSettings = RateSettings(replicas=4, percent=100, per=timedelta(seconds=15))
    rate_down: RateSettings = RateSettings(replicas=1, per=timedelta(seconds=15))
    panic: PanicSettings = PanicSettings()
    forecast: ForecastSettings = ForecastSettings()
    schedule: Annotated[tuple[FloorSettings, ...], Listed] = ()
    zero_after: Duration = _DEFAULT.zero_after
    recycle_interval: Duration = _DEFAULT.recycle_interval

    def policy(self, bounds: ReplicaBounds, gpu_memory_bytes: int, scrape_interval: timedelta) -> ScalingPolicy:
        """As the core has it. Raises `ValueError` for a policy that can never act as it says."""
        in_flight = self.in_flight.policy(_DEFAULT.in_flight)
        if self.target_in_flight is not None:
            in_flight = TargetPolicy(self.target_in_flight, in_flight.enabled)
        errors, memory = self.errors, self.memory
        return ScalingPolicy(
            floor=bounds.floor,
            ceiling=bounds.ceiling,
            in_flight=in_flight,
            utilization=self.utilization.policy(on_gpu=gpu_memory_bytes > 0),
            kv_cache=self.kv_cache.policy(_DEFAULT.kv_cache),
            tokens=self.tokens_per_second.policy(_DEFAULT.tokens),
            latency=self.latency.policy(),
            errors=ErrorsPolicy(errors.threshold, errors.duration, errors.enabled),
            memory=MemoryPolicy(memory.threshold, memory.duration, MemoryOf(memory.of), memory.enabled),
            tolerance=self.tolerance,
            scale_up_window=self.scale_up_window,
            scale_down_window=self.scale_down_window,
            surge=self.surge,
            rate_up=self.rate_up.policy(),
            rate_down=self.rate_down.policy(),
            panic=PanicPolicy(self.panic.factor, self.panic.after, self.panic.hold),
            forecast=ForecastPolicy(self.forecast.window, self.forecast.enabled),
            schedule=tuple(entry.window() for entry in self.schedule),
            zero_after=self.zero_after,
            recycle_interval=self.recycle_interval,
            gpu_memory_bytes=gpu_memory_bytes,
            scrape_interval=scrape_interval,
        )

    @model_validator(mode="after")
    def _possible(self, info: ValidationInfo) -> ScalingSettings:
        """What needs the scrape interval, which stands in another section, is checked where its line is known."""
        if self.target_in_flight is not None and self.in_flight.target is not None:
            raise ValueError("target_in_flight and in_flight.target say the same; keep one")
        scrape_interval = (info.context or {}).get("scrape_interval")
        if isinstance(scrape_interval, timedelta):
            self.policy(ReplicaBounds(floor=0, ceiling=1_000_000), 0, scrape_interval)
        return self


def beneath(shadow: Any, live: Any) -> Any:
    """The shadow's section, with what it does not say taken from the live one."""
    if not isinstance(shadow, dict) or not isinstance(live, dict):
        return shadow
    return {**live, **{key: beneath(value, live.get(key)) for key, value in shadow.items()}}
