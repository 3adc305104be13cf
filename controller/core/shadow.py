"""A second policy beside the live one: it sees the same load, changes nothing, and is scored.

Its world is imagined: its replicas are ready at once and share what the live ones carry. So its score is by counts
alone, and the live policy is scored the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from controller.core.evaluation import Evaluation
from controller.core.model import Known, PoolReadings, Reading, ReplicaId, Shadow, Signal
from controller.core.policy import ScalingPolicy
from controller.core.scaling import decide_scale
from controller.core.votes import PoolView

_LONGEST = timedelta(seconds=60)  # between two ticks; a controller that was away scores no more than that


def cast(live: Evaluation, policy: ScalingPolicy, before: Shadow | None) -> Shadow:
    """The shadow after this tick. Where there was none it begins at the live count."""
    now = live.at
    known = before or Shadow(replace(live.view.memory, shadow=None), now, now)
    evaluation, context = decide_scale(_imagine(live.view, known), policy, now)
    passed_s = max(min(now - known.at, _LONGEST), timedelta(0)).total_seconds()
    was, live_was = known.memory.desired, live.current
    return replace(
        known,
        memory=context.memory,
        at=now,
        replica_s=known.replica_s + was * passed_s,
        short_s=known.short_s + passed_s * _short(live, was),
        changes=known.changes + (evaluation.desired != was),
        live_replica_s=known.live_replica_s + live_was * passed_s,
        live_short_s=known.live_short_s + passed_s * _short(live, live_was),
        live_changes=known.live_changes + (live.desired != live_was),
    )


def _short(live: Evaluation, count: int) -> bool:
    """Whether so many replicas have more in flight than the live target and its tolerance allow."""
    load = next((vote.load for vote in live.votes if vote.signal is Signal.IN_FLIGHT), None) or 0.0
    return load > count * live.policy.in_flight.target * (1 + live.policy.tolerance)


def _imagine(view: PoolView, shadow: Shadow) -> PoolView:
    """The pool with as many replicas as the shadow wants, all of them ready."""
    names = tuple(ReplicaId(f"shadow-{number}") for number in range(shadow.memory.desired))
    spread = {signal: _spread(readings, view.ready, names) for signal, readings in view.readings.replicas.items()}
    readings = PoolReadings(view.readings.pool, spread, view.readings.last_request)
    return PoolView(shadow.memory, names, 0, 0, readings, view.gpus)


def _spread(
    readings: Mapping[ReplicaId, Reading], ready: tuple[ReplicaId, ...], names: tuple[ReplicaId, ...]
) -> dict[ReplicaId, Reading]:
    """What the ready replicas carry, shared out evenly; nothing where it is known of none."""
    found = [reading for name in ready if (reading := readings.get(name)) and reading.known is not Known.UNKNOWN]
    if not found or not names:
        return {}
    each = sum(reading.value for reading in found) / len(found) * len(ready) / len(names)
    oldest: datetime = min(reading.at for reading in found if reading.at is not None)
    return dict.fromkeys(names, Reading.of(each, oldest))
