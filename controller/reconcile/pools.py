"""What a plan says of the pools, as the controller's own metrics have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import replace

from controller.core.decision import Plan
from controller.core.model import PoolName
from controller.ports import TickReport


def with_pools(report: TickReport, plan: Plan, configured: Container[PoolName]) -> TickReport:
    """The report with the counts of the configured pools and of all replicas."""
    return replace(
        report,
        desired={pool: known.desired for pool, known in plan.memory.pools.items() if pool in configured},
        states=Counter((known.pool, known.state.value) for known in plan.memory.replicas.values()),
        wanted={
            (pool, vote.signal.value): vote.wanted
            for pool, evaluation in plan.evaluations.items()
            for vote in evaluation.votes
            if vote.wanted is not None
        },
        standing=frozenset((pool, reason.code.value) for pool, reasons in plan.standing.items() for reason in reasons),
    )
