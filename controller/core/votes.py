"""What each signal says of a pool, and the count that it asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from controller.core.model import UNKNOWN, Gpu, Known, PoolMemory, PoolReadings, Reading, ReplicaId, Signal
from controller.core.policy import ScalingPolicy
from controller.core.signals import FULL_LOAD, ceil, fresh, replicas_for, replicas_for_total, within

_BUSY = 0.5  # of the target in flight: with less than that a slow answer is not for want of replicas


@dataclass(frozen=True, slots=True)
class PoolView:
    """What scaling needs of a pool.

    `ready` are the replicas that serve; `starting` and `draining` count the others that live. `gpus` are those of all
    nodes. `unplaced` are those that start and of which nobody knows on which GPU; None: that is all of them.
    """

    memory: PoolMemory
    ready: tuple[ReplicaId, ...] = ()
    starting: int = 0
    draining: int = 0
    readings: PoolReadings = field(default_factory=PoolReadings)
    gpus: tuple[Gpu, ...] = ()
    unplaced: int | None = None

    @property
    def homeless(self) -> int:
        """Those that start, less those whose memory is promised on a GPU."""
        return self.starting if self.unplaced is None else self.unplaced

    @property
    def pending(self) -> int:
        """Replicas that are wanted already and do not serve yet, started or not."""
        return max(self.memory.desired - len(self.ready), 0)


@dataclass(frozen=True, slots=True)
class Vote:
    """What one signal says. `value` is compared with `target`: the mean of a replica, or the pool's latency.

    `load` is the sum over the pool, where a replica that goes leaves its share to the others. `wanted` is the count
    that it asks for with the replicas that are still to come taken into account, `unguarded` without them. What is
    None is not known, or does not apply.
    """

    signal: Signal
    known: Known
    target: float
    value: float | None = None
    load: float | None = None
    age_s: float | None = None
    wanted: int | None = None
    unguarded: int | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """A pool at one time, under one policy. `over` names the thresholds that were crossed for long enough."""

    view: PoolView
    policy: ScalingPolicy
    now: datetime
    over: frozenset[str] = frozenset()

    def fresh(self, reading: Reading) -> Reading:
        """The reading, unless it is too old."""
        return fresh(reading, self.now, self.policy.max_reading_age)

    def pool(self, signal: Signal) -> Reading:
        """The reading of the pool as a whole."""
        return self.fresh(self.view.readings.pool.get(signal, UNKNOWN))

    def replicas(self, signal: Signal) -> list[Reading]:
        """One reading for each ready replica, in their order. A replica that is gone or drains is not asked."""
        found, oldest = self.view.readings.replicas.get(signal, {}), self.now - self.policy.max_reading_age
        readings = [found.get(replica, UNKNOWN) for replica in self.view.ready]
        # `fresh` in line: this is asked several times a tick of every replica that there is.
        return [reading if reading.at is not None and reading.at >= oldest else UNKNOWN for reading in readings]

    def age_s(self, readings: Iterable[Reading]) -> float:
        """Of the oldest of them."""
        times = [reading.at for reading in readings if reading.at is not None]
        return max((self.now - min(times)).total_seconds(), 0.0) if times else 0.0


def votes_of(moment: Moment) -> tuple[Vote, ...]:
    """The enabled signals that count replicas, in a fixed order. Errors and memory only recycle: `recycle.py`."""
    policy = moment.policy
    in_flight = _in_flight(moment) if policy.in_flight.enabled else None
    found = [
        in_flight,
        _utilization(moment) if policy.utilization.enabled else None,
        _of_replicas(moment, Signal.KV_CACHE, policy.kv_cache.target) if policy.kv_cache.enabled else None,
        _of_replicas(moment, Signal.TOKENS, policy.tokens.target) if policy.tokens.enabled else None,
        _latency(moment, in_flight) if policy.latency.enabled else None,
    ]
    return tuple(vote for vote in found if vote is not None)


def _in_flight(moment: Moment) -> Vote:
    """The greater of what the gateway holds open and what the replicas report.

    The gateway counts a request from its acceptance on, so it alone is complete; without it the replicas are asked,
    and one of them that is missing is filled in.
    """
    target, gateway = moment.policy.in_flight.target, moment.pool(Signal.IN_FLIGHT)
    if gateway.known is Known.UNKNOWN:
        return _of_replicas(moment, Signal.IN_FLIGHT, target)
    used = [gateway, *(reading for reading in moment.replicas(Signal.IN_FLIGHT) if reading.known is not Known.UNKNOWN)]
    total = max(gateway.value, sum(reading.value for reading in used[1:]))
    wanted = replicas_for_total(total, moment.view.memory.desired, target, moment.policy.tolerance)
    known = Known.VALUE if total > 0 else Known.IDLE
    mean = total / max(len(moment.view.ready), 1)
    return Vote(Signal.IN_FLIGHT, known, target, mean, total, moment.age_s(used), wanted, wanted)


def _of_replicas(moment: Moment, signal: Signal, target: float) -> Vote:
    readings, tolerance = moment.replicas(signal), moment.policy.tolerance
    known = [reading for reading in readings if reading.known is not Known.UNKNOWN]
    if not known:
        return Vote(signal, Known.UNKNOWN, target)
    view, count = moment.view, len(readings)
    values = [None if reading.known is Known.UNKNOWN else reading.value for reading in readings]
    load = sum(reading.value for reading in known)
    filled = load + (count - len(known)) * max(FULL_LOAD, target)
    unguarded = wanted = _or_hold(replicas_for([True] * count, values, target, tolerance), count, view)
    if count > view.memory.desired:
        unguarded = wanted = _of_fewer(load, filled, moment, target)
    if view.pending:
        ready, every = [True] * count + [False] * view.pending, [*values, *[None] * view.pending]
        wanted = replicas_for(ready, every, target, tolerance)
    state = Known.VALUE if load > 0 else Known.IDLE
    mean, age_s = load / len(known), moment.age_s(known)
    return Vote(signal, state, target, mean, filled, age_s, wanted, max(unguarded, wanted))


def _of_fewer(least: float, most: float, moment: Moment, target: float) -> int:
    """Where more serve than are desired, those that stay take over the load of the others, which is no less than
    `least` and no more than `most`."""
    desired, tolerance = moment.view.memory.desired, moment.policy.tolerance
    low, high = (replicas_for_total(load, desired, target, tolerance) for load in (least, most))
    return max(low, min(high, desired))


def _or_hold(asked: int, asked_of: int, view: PoolView) -> int:
    """The calculation holds by giving back the count it was asked of; to hold is to keep what is desired."""
    return view.memory.desired if asked == asked_of else asked


def _utilization(moment: Moment) -> Vote:
    """By its target, and by one more above its threshold."""
    policy = moment.policy.utilization
    vote = _of_replicas(moment, Signal.UTILIZATION, policy.target)
    return _one_more(vote, moment) if Signal.UTILIZATION in moment.over else vote


def _latency(moment: Moment, in_flight: Vote | None) -> Vote:
    """One more above the threshold; below it, as many as would keep it there if it grew as the others' share does.

    Requests that are slow while the replicas have little to do would be as slow on more of them: then it asks for
    nothing.
    """
    target, reading = moment.policy.latency.threshold, moment.pool(Signal.LATENCY)
    if reading.known is Known.UNKNOWN:
        return Vote(Signal.LATENCY, Known.UNKNOWN, target)
    count, ratio = len(moment.view.ready), reading.value / target
    vote = Vote(Signal.LATENCY, reading.known, target, reading.value, None, moment.age_s([reading]))
    if not _busy(in_flight):
        return vote
    if Signal.LATENCY in moment.over:
        return _one_more(vote, moment)
    desired = moment.view.memory.desired
    wanted = desired if ratio > 1 or within(ratio, moment.policy.tolerance) else min(ceil(ratio * count), desired)
    return Vote(vote.signal, vote.known, target, vote.value, ratio * target * count, vote.age_s, wanted, wanted)


def _busy(in_flight: Vote | None) -> bool:
    if in_flight is None or in_flight.value is None:
        return True
    return in_flight.value >= _BUSY * in_flight.target


def _one_more(vote: Vote, moment: Moment) -> Vote:
    """Than are desired; those of them that are still to come are to come first."""
    view = moment.view
    more = view.memory.desired if view.pending else view.memory.desired + 1
    wanted, unguarded = max(vote.wanted or 0, more), max(vote.unguarded or 0, more)
    load = vote.load if vote.load is not None else (vote.value or 0.0) * len(view.ready)
    return Vote(vote.signal, vote.known, vote.target, vote.value, load, vote.age_s, wanted, unguarded)
