"""Runs by hand, so that what is shown does not hang on what the core decides."""

from __future__ import annotations

from dataclasses import replace

from controller.core.policy import ScalingPolicy, TargetPolicy
from controller.core.reason import Reason, ReasonCode
from controller.simulate.changes import Change, Changes
from controller.simulate.contest import Contest
from controller.simulate.score import Result
from controller.simulate.series import Point
from controller.simulate.setup import Setup
from controller.simulate.traces import Request, Trace

TRACE = Trace("day.csv", (Request(0.0, 100, 10), Request(3600.0, 300, 30)), ((7, "it has no <time>"),), 1)
SETUP = Setup(policy=ScalingPolicy(floor=1, ceiling=4, in_flight=TargetPolicy(2.0)), price_per_hour=2.5)
ABOVE = Reason(
    ReasonCode.ABOVE_TARGET, "9 in flight and waiting, target 2 for each of 1: 5 would do", {"in_flight": 9.0}
)
CEILING = Reason(ReasonCode.AT_CEILING, "the ceiling is 4", {"ceiling": 4.0})
POINTS = (
    Point(0.0, 2.0, 1.0, 1.0, 1.0, 0.4),
    Point(1200.0, 8.0, 90.0, 1.0, 4.0, None),
    Point(2400.0, 4.0, 6.0, 4.0, 4.0, 3.5),
)
OURS = Result(
    scaler="stoker",
    trace="day.csv",
    duration_s=3600.0,
    requests=12_345,
    done=12_340,
    failed=2,
    cut=3,
    slo_share=0.9757,
    slo_first_token_share=0.98,
    slo_duration_share=1.0,
    replica_hours=3.25,
    cost=8.125,
    scale_ups=2,
    scale_downs=1,
    flips=1,
    worst_queue=1234,
    peak_replicas=4,
    deaths=0,
    first_token_p50_s=0.3,
    first_token_p95_s=1.5,
    first_token_p99_s=3.0,
    series=POINTS,
)


def run(name: str, **change: object) -> Result:
    """Like Stoker's, but for what is given."""
    return replace(OURS, scaler=name, **change)  # type: ignore[arg-type]


STATIC = run("static:4", slo_share=0.99996, replica_hours=4.0, cost=10.0, scale_ups=0, scale_downs=0, flips=0)
KPA = run("kpa", slo_share=0.5, replica_hours=1.75, cost=4.375, first_token_p95_s=123.4)
NOTHING = run("skyserve", slo_share=0.0, first_token_p95_s=None)


def contest(*others: Result, changes: int = 1) -> Contest:
    """Stoker's run and others; `changes` is how many there were, of which one is kept."""
    found = Changes(3600.0)
    found.count = changes
    found.kept = [Change(1200.0, 1, 4, (ABOVE, CEILING))] if changes else []
    return Contest(TRACE, SETUP, (OURS, *others), found)
