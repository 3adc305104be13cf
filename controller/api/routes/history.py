"""/api/v1: numbers over time. Where Prometheus is away the last known ones are told, with since when they are old."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from controller.api.access import VIEWER, CallerDep
from controller.api.deps import SourcesDep, policy_of
from controller.api.inputs import Moment
from controller.api.timeline_schemas import FleetHistoryOut, TimelineOut
from controller.api.timelines import fleet_history, timeline_of
from controller.api.traffic import sees_keys, traffic_of
from controller.api.traffic_schemas import TrafficOut
from controller.core.timeline import MOST, STEPS, Axis, axis_of, axis_over

router = APIRouter(prefix="/api/v1", dependencies=[VIEWER])
SHORTEST, LONGEST = timedelta(minutes=15), timedelta(days=31)
_DURATION = r"[1-9][0-9]{0,4}[mhd]"
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_TOLD = "a range is 15 minutes to 31 days long"
From = Annotated[Moment | None, Query(alias="from", description="It names its time zone; none: 15 min earlier.")]
To = Annotated[Moment | None, Query(description="None: now.")]
Step = Annotated[
    int | None, Query(description=f"Seconds: {', '.join(map(str, STEPS))}. None: so that it is at most {MOST} points.")
]
Range = Annotated[str, Query(alias="range", pattern=f"^{_DURATION}$", description="Such as 15m, 6h or 30d.")]


@router.get("/pools/{pool}/timeline")
def timeline(pool: str, sources: SourcesDep, start: From = None, to: To = None, step: Step = None) -> TimelineOut:
    """What was asked of a pool, what it had and what its users saw, on one axis of time, and what happened meanwhile.

    At most 100 marks of a kind are told of, the newest. `as_of` is none where nothing is known: the columns are empty
    then, and the marks are there all the same. 404 for a pool that is not configured, 422 for an impossible range.
    """
    policy = policy_of(sources, pool)
    end = to or sources.now()
    span = _possible(end - (start or end - SHORTEST))
    asked = ((end - span).timestamp(), end.timestamp())
    return timeline_of(sources, policy, _axis(asked, step, moves=to is None), None if to is None else asked)


@router.get("/fleet/history")
def fleet(sources: SourcesDep) -> FleetHistoryOut:
    """The last hour of all pools, minute by minute: latency and errors with their thresholds, demand, and costs."""
    return fleet_history(sources)


@router.get("/gateway/traffic")
def traffic(sources: SourcesDep, who: CallerDep, span: Range = "1h") -> TrafficOut:
    """Requests by pool, plan and key, refusals by cause, hits of the caches, quotas in use. For a viewer keys have
    ids only."""
    return traffic_of(sources, _possible(timedelta(**{_UNITS[span[-1]]: int(span[:-1])})), sees_keys(who))


def _possible(span: timedelta) -> timedelta:
    if not SHORTEST <= span <= LONGEST:
        raise HTTPException(422, f"{_TOLD}, and this one is {span.total_seconds():g} s")
    return span


def _axis(asked: tuple[float, float], step: int | None, *, moves: bool) -> Axis:
    """One that moves ends now, so that all who look ask the same; another one has all of the time that is asked for."""
    made = [(axis_of if moves else axis_over)(*asked, known) for known in STEPS]
    most = MOST if moves else MOST + 1  # the first and the last number may be of a part of their steps
    fitting = {axis.step: axis for axis in made if axis.points <= most}
    if step is None:
        return next(iter(fitting.values()))
    if step not in fitting:
        raise HTTPException(422, f"a step of {step} s does not fit; one of {', '.join(map(str, fitting))} would")
    return fitting[step]
