"""Everything of a simulated run that is not the trace and not the autoscaler."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from controller.core.policy import HealthPolicy, ScalingPolicy
from controller.simulate.engine import EngineModel
from controller.simulate.errors import ModelError


@dataclass(frozen=True, slots=True)
class Setup:
    """Policy, machine, failures and what counts as well served. Every autoscaler gets the same.

    The peers take floor, ceiling and the target in flight from `policy`; Stoker takes all of it.
    """

    policy: ScalingPolicy = field(default_factory=ScalingPolicy)
    health: HealthPolicy = field(default_factory=HealthPolicy)
    engine: EngineModel = field(default_factory=EngineModel)
    cold_start_s: float = 60.0  # from the order to the first token that it could make
    cold_start_jitter: float = 0.0  # each cold start is longer or shorter by up to this share of it
    mtbf_s: float | None = None  # mean time between a replica's failures; None: none fails
    seed: int = 0  # of jitter and failures
    slo_first_token_s: float = 2.0
    slo_duration_s: float = 30.0
    price_per_hour: float = 1.0  # of one replica
    latency_window_s: float = 30.0  # of latency and error share
    usage_window_s: float = 10.0  # of utilisation and tokens per second

    def __post_init__(self) -> None:
        deadline_s = self.health.cold_start_deadline.total_seconds()
        longest_s = self.cold_start_s * (1 + self.cold_start_jitter)
        _require(
            math.isfinite(longest_s) and self.cold_start_s >= 0 and longest_s < deadline_s,
            f"a cold start takes up to {longest_s:g} s; it must be at least 0 and below the deadline, {deadline_s:g} s",
        )
        _require(0 <= self.cold_start_jitter < 1, "cold_start_jitter must be at least 0 and below 1")
        _require(self.mtbf_s is None or 1 <= self.mtbf_s < math.inf, "mtbf_s must be at least 1 s, or none")
        for name in ("slo_first_token_s", "slo_duration_s"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, f"{name} is {value:g}; it must be a time above 0")
        _require(math.isfinite(self.price_per_hour) and self.price_per_hour >= 0, "price_per_hour must be at least 0")
        for name in ("latency_window_s", "usage_window_s"):
            value = getattr(self, name)
            _require(1 <= value <= 120, f"{name} is {value:g}; it must be between 1 and 120 s")


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise ModelError(sentence)
