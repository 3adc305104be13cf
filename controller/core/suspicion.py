"""Passive evidence: who has more trouble than its peers.

Neither number means anything by itself: where all replicas fail, or all are slow, it is not the replica.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from controller.core.model import SERVING, UNKNOWN, Known, PoolReadings, Replica, ReplicaId, Signal
from controller.core.policy import HealthPolicy, ScalingPolicy
from controller.core.reason import Reason, ReasonCode
from controller.core.signals import fresh
from controller.core.words import amount

SLOW_FOR = timedelta(seconds=20)  # twice the window of the tokens: a request that begins makes few
STANDS_OUT = 2.0  # times the mean of the peers


def suspicions(
    mine: Sequence[Replica], health: HealthPolicy, scaling: ScalingPolicy, readings: PoolReadings, now: datetime
) -> Mapping[ReplicaId, Reason]:
    """Why which of the serving replicas is suspect."""
    serving = [item for item in mine if item.memory is not None and item.memory.state in SERVING]
    if len(serving) < 2:
        return {}
    return _slow(serving, health, now) | _failing(serving, health, scaling, readings, now)


def slowness(
    mine: Sequence[Replica], health: HealthPolicy, scaling: ScalingPolicy, readings: PoolReadings, now: datetime
) -> list[Replica]:
    """The replicas, with since when each is slower than its peers in their memories."""
    if not readings.tokens:
        return list(mine)
    speeds: dict[ReplicaId, tuple[float, float]] = {}  # tokens a second, in all and for each request
    for item in mine:
        name, probe = item.container.replica, item.probe
        made = fresh(readings.tokens.get(name, UNKNOWN), now, scaling.max_reading_age)
        if item.memory is not None and probe is not None and probe.in_flight and made.known is not Known.UNKNOWN:
            speeds[name] = made.value, made.value / probe.in_flight
    ordered = [sorted(speed[measure] for speed in speeds.values()) for measure in (0, 1)]
    return [_with_speed(item, _share(speeds.get(item.container.replica), ordered), health, now) for item in mine]


def _with_speed(item: Replica, share: float, health: HealthPolicy, now: datetime) -> Replica:
    known = item.memory
    if known is None or known.busy is None:
        return item
    since = (known.busy.slow_since or now) if share < health.suspect_speed else None
    if since == known.busy.slow_since:
        return item
    return replace(item, memory=replace(known, busy=replace(known.busy, slow_since=since, speed=share)))


def _share(mine: tuple[float, float] | None, ordered: Sequence[Sequence[float]]) -> float:
    """Of what its peers make: in all, or for each request if that is more, since a full one is slow for each.

    One that makes none may be at a long prompt; whether it is dead is a question of the stall time-out.
    """
    if mine is None or len(ordered[0]) < 2 or mine[0] <= 0:
        return 1.0
    usual = [_median_without(own, all_of) for own, all_of in zip(mine, ordered, strict=True)]
    return max(own / other if other > 0 else 1.0 for own, other in zip(mine, usual, strict=True))


def _median_without(own: float, ordered: Sequence[float]) -> float:
    """The median of the others; `ordered` has `own` in it."""
    place, count = bisect_left(ordered, own), len(ordered) - 1

    def other(index: int) -> float:
        return ordered[index if index < place else index + 1]

    return other(count // 2) if count % 2 else (other(count // 2 - 1) + other(count // 2)) / 2


def _slow(serving: Sequence[Replica], health: HealthPolicy, now: datetime) -> dict[ReplicaId, Reason]:
    found: dict[ReplicaId, Reason] = {}
    for item in serving:
        busy = item.memory.busy if item.memory is not None else None
        if busy is not None and busy.slow_since is not None and now - busy.slow_since >= SLOW_FOR:
            text = f"it makes {busy.speed:.0%} of the tokens that its peers make, for {SLOW_FOR.total_seconds():.0f} s"
            numbers = {"speed": round(busy.speed, 4), "threshold": round(health.suspect_speed, 4)}
            found[item.container.replica] = Reason(ReasonCode.SPEED_STANDS_OUT, text, numbers)
    return found


def _failing(
    serving: Sequence[Replica], health: HealthPolicy, scaling: ScalingPolicy, readings: PoolReadings, now: datetime
) -> dict[ReplicaId, Reason]:
    errors = readings.replicas.get(Signal.ERRORS, {})
    known = {
        item.container.replica: reading.value
        for item in serving
        if (reading := fresh(errors.get(item.container.replica, UNKNOWN), now, scaling.max_reading_age)).known
        is not Known.UNKNOWN
    }
    found: dict[ReplicaId, Reason] = {}
    peers, total = len(known) - 1, sum(known.values())
    for name, value in known.items():
        usual = max(total - value, 0.0) / peers if peers else value
        if peers and value > health.suspect_errors and value > STANDS_OUT * usual:
            share, theirs = amount(Signal.ERRORS, value), amount(Signal.ERRORS, usual)
            text = f"{share} of the requests that it was sent failed, {theirs} of its peers'"
            numbers = {"errors": round(value, 4), "peers": round(usual, 4), "threshold": health.suspect_errors}
            found[name] = Reason(ReasonCode.ERRORS_STAND_OUT, text, numbers)
    return found
