"""A pool over time, and all pools over the last hour, from what Prometheus and the ledger tell."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from controller.api.deps import Sources
from controller.api.history import Told
from controller.api.history_promql import COLUMN, NUMBERS, escaped, filled, question
from controller.api.marks import MOST, OF_ALL, OF_POOLS, alerts_query, marks_of
from controller.api.timeline_schemas import (
    BillOut,
    FleetHistoryOut,
    LatencyOut,
    MarkOut,
    Numbers,
    PoolHistoryOut,
    TimelineOut,
)
from controller.core.costs import Costs, bill
from controller.core.policy import LatencyPolicy, PoolPolicy
from controller.core.timeline import MINUTE, Axis, Column, axis_of, hours
from controller.ports import DecisionQuery, EventQuery

_LOOKED_THROUGH = 10 * MOST  # decisions and events of the time, the newest
_HIDDEN = ("held", "gpus")  # for the totals only
_SUMMED = (*_HIDDEN, "tokens_per_second")
_FLEET = (
    *("latency_threshold", "error_ratio", "error_threshold"),
    *("requests_per_second", "demand", "held", "gpus", "tokens_per_second"),
)


def timeline_of(
    sources: Sources, policy: PoolPolicy, axis: Axis, asked: tuple[float, float] | None = None
) -> TimelineOut:
    """A pool over this time. `asked` is a part of it, the one that is meant: None where it ends now, and goes on.

    Blocks for 14 s at most, where Prometheus is slow.
    """
    pool, now, moves = str(policy.pool), sources.now().timestamp(), asked is None
    since, until = asked or (axis.start, axis.start + axis.step * axis.points)
    told = sources.history.ask(question(NUMBERS, axis, pool), axis, moves=moves)
    fired = sources.history.ask(filled(alerts_query(escaped(pool)), f"{axis.step}s"), axis, moves=moves)
    found = {name: column for (name,), column in told.columns(COLUMN).items()}
    columns: Numbers = {
        name: list(found.get(name, (None,) * told.axis.points)) for name in NUMBERS if name not in _HIDDEN
    }
    known = [at for at, *values in zip(told.axis.times, *found.values(), strict=True) if any(_known(values))]
    marks, left_out = _marks(sources, policy, (since, until), fired)
    return TimelineOut(
        **_axis(told),
        pool=pool,
        since=known[0] if known else None,
        latency=_latency(policy.scaling.latency),
        columns=columns,
        marks=marks,
        left_out=left_out,
        totals=_totals(found, told.axis, pool, sources.costs, (since, min(until, now)) if asked else (0.0, now)),
    )


def fleet_history(sources: Sources) -> FleetHistoryOut:
    """All configured pools over the last hour: one question for all. The minute that goes on is left out."""
    end = sources.now() - timedelta(seconds=MINUTE)
    axis = axis_of((end - timedelta(hours=1)).timestamp(), end.timestamp(), MINUTE)
    latencies = {_shown(policy.scaling.latency) for policy in sources.policies}
    told = sources.history.ask(question((*sorted(latencies), *_FLEET), axis), axis)
    by_pool: dict[str, dict[str, Column]] = {}
    for (pool, name), column in told.columns("pool", COLUMN).items():
        by_pool.setdefault(pool, {})[name] = column
    pools = {
        str(policy.pool): _pool_history(sources, policy, by_pool.get(policy.pool, {}), told.axis)
        for policy in sources.policies
    }
    return FleetHistoryOut(**_axis(told), pools=pools)


def _pool_history(sources: Sources, policy: PoolPolicy, found: Mapping[str, Column], axis: Axis) -> PoolHistoryOut:
    """The latency is the pool's own measure; its p50 where that is what its threshold is of, else its p95."""
    nothing: Column = (None,) * axis.points
    shown = _shown(policy.scaling.latency)
    return PoolHistoryOut(
        latency=_latency(policy.scaling.latency),
        shown="p50" if shown.endswith("p50") else "p95",
        latency_s=list(found.get(shown, nothing)),
        latency_threshold_s=_newest(found.get("latency_threshold", nothing)),
        error_ratio=list(found.get("error_ratio", nothing)),
        error_threshold=_newest(found.get("error_threshold", nothing)),
        requests_per_second=list(found.get("requests_per_second", nothing)),
        demand=list(found.get("demand", nothing)),
        totals=_totals(found, axis, str(policy.pool), sources.costs, (0.0, sources.now().timestamp())),
    )


def _marks(
    sources: Sources, policy: PoolPolicy, between: tuple[float, float], fired: Told
) -> tuple[list[MarkOut], dict[str, int]]:
    store, now = sources.store, sources.now()
    since, until = (datetime.fromtimestamp(at, UTC) for at in between)
    most = _LOOKED_THROUGH
    decisions = store.find_decisions(DecisionQuery(policy.pool, since=since, until=until, limit=most))
    own = store.find_events(EventQuery(policy.pool, kinds=OF_POOLS, since=since, until=until, limit=most))
    others = store.find_events(EventQuery(kinds=OF_ALL, since=since, until=until, limit=most))
    made, left_out = marks_of(decisions, (*own, *others), fired, policy.pool, now.timestamp())
    # An alert is known by the numbers of the axis, which may begin before that time.
    return [mark for mark in made if mark.until is None or mark.until > between[0]], left_out


def _totals(found: Mapping[str, Column], axis: Axis, pool: str, costs: Costs, between: tuple[float, float]) -> BillOut:
    """Of that part of the axis. What is not known is none, and neither is what follows from it."""
    known = [name for name in _SUMMED if any(_known(list(found.get(name, ()))))]
    since, until = between
    sums = {name: hours(found[name], axis, until, since) for name in known}
    held, tokens = sums.get("held"), sums.get("tokens_per_second")
    made = bill(held or 0.0, sums.get("gpus"), (tokens or 0.0) * 3600, costs.of(pool))
    return BillOut(
        replica_hours=_rounded(held),
        gpu_hours=_rounded(made.gpu_hours),
        tokens=None if tokens is None else round(made.tokens),
        cost=None if held is None else _rounded(made.cost),
        cost_per_million_tokens=None if held is None else _rounded(made.cost_per_million_tokens),
        currency=costs.currency if costs.of(pool).known else None,
    )


def _axis(told: Told) -> dict[str, Any]:
    """The fields of an `AxisOut`."""
    axis = told.axis
    return {
        "as_of": told.as_of,
        "stale_since": told.stale_since,
        "step_s": axis.step,
        "of_minutes": axis.of_minutes,
        "at": list(axis.times),
    }


def _latency(policy: LatencyPolicy) -> LatencyOut:
    statistic = "mean" if policy.quantile is None else f"p{policy.quantile * 100:g}"
    return LatencyOut(measure=policy.measure.value, statistic=statistic, enabled=policy.enabled)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _shown(policy: LatencyPolicy) -> str:
    """The number that comes nearest to what the pool's threshold is of."""
    return f"{policy.measure.value}_{'p50' if policy.quantile == 0.5 else 'p95'}"


def _newest(column: Column) -> float | None:
    return next((value for value in reversed(column) if value is not None), None)


def _known(values: list[float | None]) -> list[bool]:
    return [value is not None for value in values]
