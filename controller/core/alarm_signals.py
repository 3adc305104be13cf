"""The four thresholds of a pool as alarms: utilisation, memory, latency and errors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from controller.core.alarm import Finding, Key
from controller.core.alarm_table import Words, find, key_of
from controller.core.model import Known, PoolName, Reading, ReplicaId, Signal
from controller.core.policy import LatencyPolicy
from controller.core.votes import Moment
from controller.core.words import amount

_FEWEST_ERRORS = 1.5  # within a minute: one request that failed is no reason to wake anybody


def of_signals(pool: PoolName, moment: Moment) -> Iterator[Finding | Key]:
    """Those that are crossed now, and the keys of those of which nothing is known. A pool of which nothing serves has
    none: that it is down says it all."""
    policy = moment.policy
    found: list[Finding | Key | None] = []
    if moment.view.ready and policy.utilization.enabled:
        found.append(_utilization(pool, moment))
    if policy.memory.enabled:
        readings = zip(moment.view.ready, moment.replicas(Signal.MEMORY), strict=True)
        found += [_memory(pool, moment, replica, reading) for replica, reading in readings]
    if moment.view.ready and policy.latency.enabled:
        found.append(_latency(pool, moment))
    if moment.view.ready and policy.errors.enabled:
        found.append(_errors(pool, moment))
    yield from (item for item in found if item is not None)


def _utilization(pool: PoolName, moment: Moment) -> Finding | Key | None:
    """By the mean of the replicas, as scaling has it."""
    name, policy = "StokerGpuUtilizationHigh", moment.policy.utilization
    labels = {"pool": pool, "of": policy.source.value}
    known = [reading.value for reading in moment.replicas(Signal.UTILIZATION) if reading.known is not Known.UNKNOWN]
    if not known:
        return key_of(name, labels)
    mean = sum(known) / len(known)
    if mean <= policy.threshold:
        return None
    value, above = amount(Signal.UTILIZATION, mean), _above(Signal.UTILIZATION, policy.threshold, policy.duration)
    summary = f"The {policy.source.upper()}s of {pool} are busier than they should be."
    return find(name, labels, Words(summary, f"{value} on average of its replicas, {above}."), policy.duration)


def _memory(pool: PoolName, moment: Moment, replica: ReplicaId, reading: Reading) -> Finding | Key | None:
    name, policy = "StokerMemoryHigh", moment.policy.memory
    labels = {"pool": pool, "replica": replica, "of": policy.of.value}
    if reading.known is Known.UNKNOWN:
        return key_of(name, labels)
    if reading.value <= policy.threshold:
        return None
    value, above = amount(Signal.MEMORY, reading.value), _above(Signal.MEMORY, policy.threshold, policy.duration)
    summary = f"Replica {replica} of {pool} has little memory left."
    return find(name, labels, Words(summary, f"{value} of its {policy.of} memory is in use, {above}."), policy.duration)


def _latency(pool: PoolName, moment: Moment) -> Finding | Key | None:
    name, policy, reading = "StokerLatencyHigh", moment.policy.latency, moment.pool(Signal.LATENCY)
    measure, statistic = policy.measure.value, _statistic(policy)
    labels = {"pool": pool, "measure": measure, "statistic": statistic}
    if reading.known is Known.UNKNOWN:
        return key_of(name, labels)
    if reading.value <= policy.threshold:
        return None
    value, above = amount(Signal.LATENCY, reading.value), _above(Signal.LATENCY, policy.threshold, policy.duration)
    words = Words(f"Users of {pool} wait longer than they should.", f"{value} ({measure}, {statistic}), {above}.")
    return find(name, labels, words, policy.duration)


def _errors(pool: PoolName, moment: Moment) -> Finding | Key | None:
    name, policy, reading = "StokerErrorsHigh", moment.policy.errors, moment.pool(Signal.ERRORS)
    labels = {"pool": pool}
    sent = moment.fresh(moment.view.readings.sent)
    if Known.UNKNOWN in (reading.known, sent.known):
        return key_of(name, labels)
    if reading.value <= policy.threshold or reading.value * sent.value < _FEWEST_ERRORS:
        return None
    value, above = amount(Signal.ERRORS, reading.value), _above(Signal.ERRORS, policy.threshold, policy.duration)
    words = Words(f"Requests to {pool} fail.", f"{value} of a minute's requests were answered with 5xx, {above}.")
    return find(name, labels, words, policy.duration)


def _above(signal: Signal, threshold: float, duration: timedelta) -> str:
    return f"above {amount(signal, threshold)} for {duration.total_seconds():g} s"


def _statistic(policy: LatencyPolicy) -> str:
    """As the recorded latencies have it."""
    return "mean" if policy.quantile is None else f"p{policy.quantile * 100:g}"
