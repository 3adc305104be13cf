"""Alarms of those who give the numbers: Prometheus, the gateway's exporter, engines, launchers and GPUs' exporters.

The controller sees numbers and how old they are: a source of which all have been missing for long is down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controller.core.alarm import Finding, Key
from controller.core.alarm_table import Words, find, key_of
from controller.core.model import Known, PoolName, Reading, ReplicaId, Signal
from controller.core.policy import MemoryOf, ScalingPolicy, Source
from controller.core.votes import Moment

METRICS = "metrics"  # in Snapshot.unknown: Prometheus gave no answer
_NAME = "StokerTargetDown"
_FOR = "For a minute; what it would tell is unknown."
_PROMETHEUS, _EDGE = {"job": "prometheus"}, {"job": "edge"}


def of_sources(moments: Sequence[tuple[PoolName, Moment]], blind: bool) -> Iterator[Finding | Key]:
    """Those that are silent. `blind`: Prometheus is, so that of the others nobody can tell.

    Each moment has the replicas of its pool that serve, and whose nodes answer.
    """
    if blind:
        yield find(_NAME, _PROMETHEUS, Words("The controller gets no answer from Prometheus.", _FOR))
        yield key_of(_NAME, _EDGE)
    elif moments and all(_unknown(moment.pool(Signal.IN_FLIGHT)) for _, moment in moments):
        yield find(_NAME, _EDGE, Words("Prometheus gets no metrics from edge.", _FOR))
    for pool, moment in moments:
        for job, signals in _jobs(moment.policy).items():
            yield from _of_job(job, signals, pool, moment, blind)


def _of_job(
    job: str, signals: Sequence[Signal], pool: PoolName, moment: Moment, blind: bool
) -> Iterator[Finding | Key]:
    of_each = zip(*(moment.replicas(signal) for signal in signals), strict=True)
    for replica, readings in zip(moment.view.ready, of_each, strict=True):
        if all(map(_unknown, readings)):
            labels = {"job": job, "pool": pool, "replica": replica}
            yield key_of(_NAME, labels) if blind else find(_NAME, labels, _words(job, replica, pool))


def _words(job: str, replica: ReplicaId, pool: PoolName) -> Words:
    return Words(f"Prometheus gets no metrics from {job} of {replica} of {pool}.", _FOR)


def _jobs(policy: ScalingPolicy) -> dict[str, tuple[Signal, ...]]:
    """What each of a replica's sources tells of the signals that are enabled."""
    gpu: list[Signal] = []
    launcher: list[Signal] = []
    if policy.utilization.enabled:
        (gpu if policy.utilization.source is Source.GPU else launcher).append(Signal.UTILIZATION)
    if policy.memory.enabled:
        (gpu if policy.memory.of is MemoryOf.GPU else launcher).append(Signal.MEMORY)
    found = {"engine": [Signal.IN_FLIGHT], "launcher": launcher, "gpu": gpu}
    return {job: tuple(signals) for job, signals in found.items() if signals}


def _unknown(reading: Reading) -> bool:
    return reading.known is Known.UNKNOWN
