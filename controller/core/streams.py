"""Counters of several gateways -> one counter of each key, which only grows. Pure.

Each gateway counts for itself, from zero whenever its exporter starts. Their sum would fall when one goes, and rise
when it is back, although nobody used anything: so the growth of each is added up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from controller.core.access import KeyId


class Stream(NamedTuple):
    """What one gateway counts of one key."""

    gateway: str
    key: KeyId


@dataclass(frozen=True, slots=True)
class Sums:
    """What each gateway said last, and the counter of each key over all of them."""

    last: Mapping[Stream, float]
    counters: Mapping[KeyId, float]


def add_up(last: Mapping[Stream, float], counters: Mapping[KeyId, float], readings: Mapping[Stream, float]) -> Sums:
    """Go on from there. Only keys that are in the readings are in the new counters.

    A counter that fell began anew, at zero, and so did one that is new: its gateway had forgotten it, if it ever had
    it. Of a gateway that was never seen before nobody knows when it began: what it has counted counts for nothing.
    """
    known, told = {stream.gateway for stream in last}, {stream.gateway for stream in readings}
    grown: dict[KeyId, float] = {}
    fresh = {stream: value for stream, value in last.items() if stream.gateway not in told}
    for stream, value in readings.items():
        if not math.isfinite(value) or value < 0:
            continue
        before = last.get(stream, 0.0 if stream.gateway in known else value)
        grown[stream.key] = grown.get(stream.key, 0.0) + (value - before if value >= before else value)
        fresh[stream] = value
    return Sums(fresh, {key: counters.get(key, 0.0) + more for key, more in grown.items()})
