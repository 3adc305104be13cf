"""Raw readings -> the demand of a pool. Unknown is never zero."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.core.model import UNKNOWN, Known, PoolReadings, Reading, ReplicaId


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests in flight and waiting, for the whole pool.

    `complete` says that it is all there is: only then may a pool shrink. `age_s` is that of the oldest reading used.
    """

    requests: float
    complete: bool
    age_s: float


def fresh(reading: Reading, now: datetime, max_age: timedelta) -> Reading:
    """The reading, or unknown if it is older than `max_age`."""
    if reading.known is Known.UNKNOWN or reading.at is None or now - reading.at > max_age:
        return UNKNOWN
    return reading


def demand_of(readings: PoolReadings, serving: Iterable[ReplicaId], now: datetime, max_age: timedelta) -> Demand | None:
    """The greater of what the gateway holds open and what the serving replicas report; None where neither is known.

    The gateway counts a request from its acceptance on, so it alone is complete. The replicas' sum is complete
    if none is missing; with one missing it is a lower bound.
    """
    gateway = fresh(readings.gateway_in_flight, now, max_age)
    replicas = [fresh(readings.replicas.get(replica, UNKNOWN), now, max_age) for replica in serving]
    known = [reading for reading in replicas if reading.known is not Known.UNKNOWN]
    seen = known if gateway.known is Known.UNKNOWN else [gateway, *known]
    if not seen:
        return None
    reported = sum(reading.value for reading in known)
    complete = gateway.known is not Known.UNKNOWN or len(known) == len(replicas)
    age_s = max((now - reading.at).total_seconds() for reading in seen if reading.at is not None)
    return Demand(max(gateway.value, reported), complete, max(age_s, 0.0))
