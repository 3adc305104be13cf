"""What a plan and the policies say of the pools, as the controller's own metrics have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from controller.core import anatomy
from controller.core.decision import Plan
from controller.core.limits import scheduled_floor
from controller.core.model import PoolName, ReplicaId, ReplicaState, Snapshot
from controller.core.policy import PoolPolicy, ScalingPolicy
from controller.ports import Threshold, TickReport
from controller.reconcile.queries import latency_of

_QUANTILES = (0.5, 0.95)
_BAD = (ReplicaState.SUSPECT, ReplicaState.UNREADY, ReplicaState.STOPPED)


def with_policies(report: TickReport, policies: Sequence[PoolPolicy]) -> TickReport:
    """The report with what is wanted of the pools, whether or not a tick has ended yet."""
    return replace(
        report,
        bounds={policy.pool: _bounds(policy.scaling, report.at) for policy in policies},
        targets={it.pool: it.scaling.in_flight.target for it in policies if it.scaling.in_flight.enabled},
        thresholds=tuple(threshold for policy in policies for threshold in _thresholds(policy.pool, policy.scaling)),
    )


def with_nodes(report: TickReport, snapshot: Snapshot) -> TickReport:
    """The report with which nodes answer."""
    return replace(report, nodes={node.name: node.silent_since is None for node in snapshot.nodes})


def with_pools(report: TickReport, plan: Plan, policies: Sequence[PoolPolicy], *, new: bool) -> TickReport:
    """The report with the counts of the configured pools and of all replicas. `new`: no report has had this plan yet,
    so that what it changed is to be counted."""
    configured = {policy.pool for policy in policies}
    pools = {pool: known for pool, known in plan.memory.pools.items() if pool in configured}
    return replace(
        report,
        desired={pool: known.desired for pool, known in pools.items()},
        states=Counter((known.pool, known.state.value) for known in plan.memory.replicas.values()),
        wanted={
            (pool, vote.signal.value): vote.wanted
            for pool, evaluation in plan.evaluations.items()
            for vote in evaluation.votes
            if vote.wanted is not None
        },
        standing=frozenset((pool, reason.code.value) for pool, reasons in plan.standing.items() for reason in reasons),
        starting=_starting(plan, report.at),
        cold_starts={
            (pool, f"{share:g}"): seconds
            for pool, known in pools.items()
            for share in _QUANTILES
            if (seconds := anatomy.quantile(known.cold_starts, share)) is not None
        },
        failed_replicas=_failed(plan, new=new),
    )


def _bounds(policy: ScalingPolicy, at: datetime) -> tuple[int, int]:
    return max(policy.floor, scheduled_floor(policy, at)), policy.ceiling


def _thresholds(pool: PoolName, policy: ScalingPolicy) -> Iterator[Threshold]:
    """Those of the signals that are enabled, and of what they are."""
    utilization, memory, latency, errors = policy.utilization, policy.memory, policy.latency, policy.errors
    if utilization.enabled:
        yield Threshold(pool, "utilization", utilization.threshold, of=utilization.source.value)
    if memory.enabled:
        yield Threshold(pool, "memory", memory.threshold, of=memory.of.value)
    if latency.enabled:
        measure, statistic = latency_of(latency)
        yield Threshold(pool, "latency", latency.threshold, measure=measure, statistic=statistic)
    if errors.enabled:
        yield Threshold(pool, "errors", errors.threshold)


def _starting(plan: Plan, at: datetime) -> dict[tuple[PoolName, ReplicaId], float]:
    """For how long each replica that was never ready has been starting, also where that took too long."""
    return {
        (known.pool, known.replica): max((at - known.created_at).total_seconds(), 0.0)
        for known in plan.memory.replicas.values()
        if known.ready_at is None and known.state in (ReplicaState.STARTING, ReplicaState.UNREADY)
    }


def _failed(plan: Plan, *, new: bool) -> dict[tuple[PoolName, ReplicaId], int]:
    """All replicas, and 1 for each that served well until this tick. One that goes because it is to is none of them."""
    changed = {change.replica: (change.was, change.now) for change in plan.changes if new}
    return {
        (known.pool, known.replica): int(_fell(*changed.get(known.replica, (None, known.state))))
        for known in plan.memory.replicas.values()
    }


def _fell(was: ReplicaState | None, now: ReplicaState) -> bool:
    """Out of service, or under suspicion; once, and not again on the way from one to the other."""
    return was is ReplicaState.READY and now in _BAD
