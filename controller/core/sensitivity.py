"""The smallest change of one signal that would have led to another count.

More load never asks for fewer replicas, so the count is monotone in each signal and the edge is found by bisection.
About 20 evaluations for each signal that matters, two for each that does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from controller.core.evaluation import Evaluation, Flip
from controller.core.model import Known, PoolReadings, Reading, ReplicaId, Signal
from controller.core.scaling import decide_scale
from controller.core.votes import Moment, Vote

_ROUNDS = 20
_RATIOS = (Signal.UTILIZATION, Signal.KV_CACHE)
_FAR = 10.0  # times the target: a latency or a rate beyond that is not looked at


def with_flip(evaluation: Evaluation) -> Evaluation:
    """The same with its `flip`: None where no change of a single signal would have made a difference."""
    return replace(evaluation, flip=smallest_change(evaluation))


def smallest_change(evaluation: Evaluation) -> Flip | None:
    """The one that is smallest in proportion to the signal's target."""
    found = [flip for vote in evaluation.votes for flip in _flips(evaluation, vote)]
    return min(found, key=lambda item: item[0])[1] if found else None


def what_if(evaluation: Evaluation, signal: Signal, value: float) -> Evaluation:
    """The evaluation with another value of one signal: of a replica on average, of the pool for requests in flight."""
    view = replace(evaluation.view, readings=_with(evaluation, signal, value))
    return decide_scale(view, evaluation.policy, evaluation.at, evaluation.mode)[0]


def value_of(vote: Vote, ready: int) -> float | None:
    """The number of a vote that `what_if` replaces. Nothing is counted for replicas that do not tell."""
    if vote.signal is not Signal.IN_FLIGHT or vote.value is None:
        return vote.value
    return round(vote.value * max(ready, 1), 9)


def _flips(evaluation: Evaluation, vote: Vote) -> list[tuple[float, Flip]]:
    value = value_of(vote, len(evaluation.view.ready))
    if vote.known is Known.UNKNOWN or value is None:
        return []
    whole = vote.target * (max(evaluation.current, 1) if vote.signal is Signal.IN_FLIGHT else 1)
    found = []
    for end in (0.0, _highest(evaluation, vote)):
        flip = _edge(evaluation, vote.signal, value, end)
        if flip is not None:
            found.append((abs(flip.needed - value) / whole, flip))
    return found


def _highest(evaluation: Evaluation, vote: Vote) -> float:
    if vote.signal in _RATIOS:
        return 1.0
    if vote.signal is Signal.IN_FLIGHT:
        return vote.target * (evaluation.policy.ceiling + 1) * evaluation.policy.panic.factor
    return vote.target * _FAR


def _edge(evaluation: Evaluation, signal: Signal, start: float, end: float) -> Flip | None:
    """Where between the two the count changes first; None where it is the same at both."""
    if start == end or what_if(evaluation, signal, end).desired == evaluation.desired:
        return None
    same, other = start, end
    for _ in range(_ROUNDS):
        middle = (same + other) / 2
        if what_if(evaluation, signal, middle).desired == evaluation.desired:
            same = middle
        else:
            other = middle
    whole, up = signal is Signal.IN_FLIGHT, end > start
    needed, nearer = _rounded(other, up=up, whole=whole), _rounded(other, up=not up, whole=whole)
    between = min(start, needed) < nearer < max(start, needed)
    if between and what_if(evaluation, signal, nearer).desired != evaluation.desired:
        needed = nearer  # the edge itself, which the bisection only comes close to
    return Flip(signal, start, needed, what_if(evaluation, signal, needed).desired)


def _rounded(value: float, *, up: bool, whole: bool) -> float:
    """Away from where it began, to what people read: whole requests, three digits of anything else."""
    digits = 0 if whole or value <= 0 else max(2 - math.floor(math.log10(value)), 0)
    scaled = value * 10**digits
    return float(math.ceil(scaled) if up else math.floor(scaled)) / 10.0**digits


def _with(evaluation: Evaluation, signal: Signal, value: float) -> PoolReadings:
    """The readings with another value, measured when the old one was, or now where there was none."""
    moment, now = Moment(evaluation.view, evaluation.policy, evaluation.at), evaluation.at
    readings, ready = evaluation.view.readings, evaluation.view.ready
    pool, replicas, whole = dict(readings.pool), dict(readings.replicas), moment.pool(signal)
    each = dict(zip(ready, moment.replicas(signal), strict=True))
    told = any(reading.known is not Known.UNKNOWN for reading in each.values())
    of_pool = whole.known is not Known.UNKNOWN or (signal is Signal.IN_FLIGHT and not told)
    if signal is Signal.LATENCY or of_pool:
        pool[signal] = _measured(value, whole, now)
    if told or not of_pool:
        mean = value / max(len(ready), 1) if signal is Signal.IN_FLIGHT else value
        replicas[signal] = _scaled(each, mean, now)
    return PoolReadings(pool, replicas, readings.last_request)


def _scaled(before: Mapping[ReplicaId, Reading], mean: float, now: datetime) -> dict[ReplicaId, Reading]:
    """Each in proportion, so that their mean is as given; all alike where there was nothing to scale."""
    known = {name: reading for name, reading in before.items() if reading.known is not Known.UNKNOWN}
    usual = sum(reading.value for reading in known.values()) / len(known) if known else 0.0
    if usual <= 0:
        return {name: _measured(mean, reading, now) for name, reading in (known or before).items()}
    return {name: _measured(reading.value * mean / usual, reading, now) for name, reading in known.items()}


def _measured(value: float, before: Reading, now: datetime) -> Reading:
    return Reading.of(value, before.at or now)
