"""The arithmetic of one signal: how many replicas put it at its target. Unknown is never zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from controller.core.model import UNKNOWN, Known, Reading

_NOISE = 1e-9  # relative: 0.1 + 0.2 is not to start a replica
FULL_LOAD = 1.0


def replicas_for(ready: Sequence[bool], values: Sequence[float | None], target: float, tolerance: float = 0.1) -> int:
    """How many replicas put the mean of a signal at `target`: the published calculation of the Kubernetes HPA.

    `ready[i]` says whether replica i is ready and `values[i]` is its reading, None (or NaN) where it is missing.
    Replicas that are not ready are left out, and count as 0 where that would grow the pool. A missing reading counts
    as full load (1.0, or the target where that is higher) when shrinking and as 0 when growing. The count stays inside
    the tolerance, without any reading, and where the second estimate turns against the first.

    Source: "Algorithm details" of Kubernetes' page on horizontal pod autoscaling; `GetResourceReplicas` of its
    replica_calculator.go for the details.

    Raises:
        ValueError: the lengths differ, or `target` is not above 0.
    """
    if len(ready) != len(values):
        raise ValueError(f"{len(ready)} replicas and {len(values)} readings; give one reading for each")
    if not target > 0:
        raise ValueError(f"the target is {target:g}; it must be above 0")
    known = [value for here, value in zip(ready, values, strict=True) if here and value is not None]
    known = [value for value in known if math.isfinite(value)]
    return _estimate(known, sum(map(bool, ready)), len(ready), target, tolerance)


def _estimate(known: Sequence[float], ready: int, current: int, target: float, tolerance: float) -> int:
    """`known` are the readings of `ready` of the `current` replicas."""
    ratio = sum(known) / len(known) / target if known else 1.0
    if within(ratio, 0.0):
        return current
    growing, missing, unready = ratio > 1.0, ready - len(known), current - ready
    if not missing and not (growing and unready):
        return current if within(ratio, tolerance) else ceil(ratio * ready)
    load = sum(known) + (0.0 if growing else missing * max(FULL_LOAD, target))
    counted = ready + (unready if growing else 0)
    second = load / counted / target
    if within(second, tolerance) or (second > 1.0) is not growing:
        return current
    return max(ceil(second * counted), current) if growing else min(ceil(second * counted), current)


def replicas_for_total(total: float, current: int, target: float, tolerance: float = 0.1) -> int:
    """How many replicas hold `total` at `target` each. It is complete, so replicas that still start count as well."""
    capacity = current * target
    if current and within(total / capacity, tolerance):
        return current
    return ceil(total / target)


def ceil(value: float) -> int:
    """Rounded up, but for what is only the noise of floating point."""
    return math.ceil(value - _NOISE * max(1.0, abs(value)))


def within(ratio: float, tolerance: float) -> bool:
    """Whether a ratio to the target is near enough to 1; the edge belongs to it."""
    return abs(ratio - 1.0) <= tolerance + _NOISE


def fresh(reading: Reading, now: datetime, max_age: timedelta) -> Reading:
    """The reading, or unknown if it is older than `max_age`."""
    if reading.known is Known.UNKNOWN or reading.at is None or now - reading.at > max_age:
        return UNKNOWN
    return reading
