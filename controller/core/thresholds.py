"""Thresholds with durations: since when each is crossed, and which have been for long enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from controller.core.model import Known, ReplicaId, Signal
from controller.core.policy import ScalingPolicy
from controller.core.votes import Moment

PANIC = "panic"


def key_of(signal: Signal, replica: ReplicaId) -> str:
    """The name of a replica's own threshold."""
    return f"{signal.value}/{replica}"


def watch(before: Mapping[str, datetime], crossed: Iterable[str], now: datetime) -> dict[str, datetime]:
    """Since when each of the `crossed` is. What is no longer crossed, or no longer known, begins anew."""
    return {name: before.get(name, now) for name in crossed}


def long_enough(since: Mapping[str, datetime], durations: Mapping[str, timedelta], now: datetime) -> frozenset[str]:
    """Those that have been crossed for their duration. A replica's threshold has the duration of its signal."""
    return frozenset([name for name, at in since.items() if now - at >= durations[name.partition("/")[0]]])


def next_due(since: Mapping[str, datetime], policy: ScalingPolicy, now: datetime) -> datetime | None:
    """When the next of these will have been crossed for its duration; None where none is to come."""
    durations = durations_of(policy)
    due = (at + durations[name.partition("/")[0]] for name, at in since.items())
    return min((at for at in due if at > now), default=None)


def crossed_by(moment: Moment) -> list[str]:
    """The names of the thresholds that the readings of this moment are above."""
    policy = moment.policy
    found: list[str] = []
    latency = moment.pool(Signal.LATENCY)
    if policy.latency.enabled and latency.known is Known.VALUE and latency.value > policy.latency.threshold:
        found.append(Signal.LATENCY.value)
    if policy.utilization.enabled:
        busy = [reading.value for reading in moment.replicas(Signal.UTILIZATION) if reading.known is not Known.UNKNOWN]
        if busy and sum(busy) / len(busy) > policy.utilization.threshold:
            found.append(Signal.UTILIZATION.value)
    far = policy.panic.factor * policy.in_flight.target * max(len(moment.view.ready), 1)
    if policy.in_flight.enabled and _in_flight(moment) >= far:
        found.append(PANIC)
    if policy.memory.enabled:
        found += _replicas_above(moment, Signal.MEMORY, policy.memory.threshold)
    if policy.errors.enabled:
        found += _replicas_above(moment, Signal.ERRORS, policy.errors.threshold)
    return found


def _in_flight(moment: Moment) -> float:
    reported = sum(reading.value for reading in moment.replicas(Signal.IN_FLIGHT))
    return max(moment.pool(Signal.IN_FLIGHT).value, reported)


def _replicas_above(moment: Moment, signal: Signal, threshold: float) -> list[str]:
    readings = zip(moment.view.ready, moment.replicas(signal), strict=True)
    return [key_of(signal, name) for name, reading in readings if reading.value > threshold]


def durations_of(policy: ScalingPolicy) -> dict[str, timedelta]:
    """How long each must be crossed."""
    return {
        Signal.LATENCY.value: policy.latency.duration,
        Signal.UTILIZATION.value: policy.utilization.duration,
        Signal.MEMORY.value: policy.memory.duration,
        Signal.ERRORS.value: policy.errors.duration,
        PANIC: policy.panic.after,
    }
