"""Made-up traffic: requests one after the other from a seed, in constant memory.

Arrivals are a Poisson process; a rate that changes is made by thinning: candidates come at the highest rate, and each
is kept with the chance that its moment's rate has of it. Lengths of prompts and answers are exponential.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from random import Random
from typing import Any

from controller.simulate.errors import TraceError
from controller.simulate.traces import MOST_TOKENS, Request

PREFIX = "synthetic:"
_DAY_S = 86_400.0
_BURST = 4.0  # times the mean
_BURSTS = 10  # in the whole duration
_BURST_SHARE = 0.1  # of the time
_OUTAGE = (0.4, 0.6)  # of the duration: metrics are missing from here to there
_OUTAGE_BURST = (0.3, 0.7)  # the load is higher from here to there: who takes missing for nothing shrinks within it
_OUTAGE_FACTOR = 2.0  # times the mean
_SPIKE = (0.45, 0.55)  # of the duration
_SPIKE_FACTOR = 2.5  # times the mean: three times what is before and after
_CROWD = 0.3  # of the duration: when it comes
_CROWD_FACTOR = 8.0  # times what was before
_CROWD_FADES = 0.15  # of the duration: after so long a 1/e of it is left
_MOST_REQUESTS = 50_000_000


class Kind(StrEnum):
    """How the rate goes. Each has the given mean over its whole duration, the diurnal one over whole days."""

    FLAT = "flat"
    RAMP = "ramp"  # from nothing to twice the mean
    BURST = "burst"  # ten bursts of four times the mean, over a lower base
    DIURNAL = "diurnal"  # a sine over 24 hours: lowest at the start, nearly twice the mean half a day later
    SPIKE = "spike"  # three times as much for a tenth of the time, in the middle
    CROWD = "crowd"  # a flash crowd: suddenly eight times as much, which fades away
    OUTAGE = "outage"  # flat, with one long burst, in the middle of which metrics are missing


@dataclass(frozen=True, slots=True)
class Synthetic:
    """A workload that is made while it is played; the same values make the same requests."""

    kind: Kind
    hours: float = 1.0
    rps: float = 3.0  # mean
    seed: int = 0
    prompt: int = 1000  # mean tokens
    output: int = 200  # mean tokens

    def __post_init__(self) -> None:
        for name, low, high in (("hours", 0.001, 10_000), ("rps", 0.001, 10_000)):
            value = getattr(self, name)
            _require(math.isfinite(value) and low <= value <= high, f"{name} is {value:g}; give {low:g} to {high:g}")
        for name, most in (("seed", 2**63), ("prompt", MOST_TOKENS // 100), ("output", MOST_TOKENS // 100)):
            value, least = getattr(self, name), 0 if name == "seed" else 1
            _require(least <= value <= most, f"{name} is {value}; give {least} to {most}")
        expected = self.hours * 3600 * self.rps
        _require(
            expected <= _MOST_REQUESTS,
            f"hours={self.hours:g} at rps={self.rps:g} make {expected:.3g} requests; make it at most {_MOST_REQUESTS}",
        )

    @property
    def name(self) -> str:
        """As it is written on a command line."""
        given = "&".join(f"{name}={_written(getattr(self, name))}" for name in _NAMES)
        return f"{PREFIX}{self.kind}?{given}"

    @property
    def duration_s(self) -> float:
        """Of the whole."""
        return self.hours * 3600

    @property
    def mean_prompt_tokens(self) -> float:
        """As asked for."""
        return float(self.prompt)

    @property
    def mean_output_tokens(self) -> float:
        """As asked for."""
        return float(self.output)

    @property
    def outages(self) -> tuple[tuple[float, float], ...]:
        """The time without metrics."""
        if self.kind is not Kind.OUTAGE:
            return ()
        return ((_OUTAGE[0] * self.duration_s, _OUTAGE[1] * self.duration_s),)

    def rate(self, at_s: float) -> float:
        """Requests per second at that time."""
        part = at_s / self.duration_s
        match self.kind:
            case Kind.FLAT:
                return self.rps
            case Kind.RAMP:
                return 2 * self.rps * part
            case Kind.DIURNAL:
                return self.rps * (1 - 0.9 * math.cos(2 * math.pi * at_s / _DAY_S))
            case Kind.BURST:
                # Each burst ends the tenth that it is in.
                bursting = part * _BURSTS % 1 >= 1 - _BURST_SHARE
                return self.rps * (_BURST if bursting else _base(_BURST, (1 - _BURST_SHARE, 1)))
            case Kind.SPIKE:
                spiking = _SPIKE[0] <= part < _SPIKE[1]
                return self.rps * (_SPIKE_FACTOR if spiking else _base(_SPIKE_FACTOR, _SPIKE))
            case Kind.CROWD:
                here = math.exp((_CROWD - part) / _CROWD_FADES) if part >= _CROWD else 0.0
                return self.rps * _quiet() * (1 + (_CROWD_FACTOR - 1) * here)
            case Kind.OUTAGE:
                bursting = _OUTAGE_BURST[0] <= part < _OUTAGE_BURST[1]
                return self.rps * (_OUTAGE_FACTOR if bursting else _base(_OUTAGE_FACTOR, _OUTAGE_BURST))

    def __iter__(self) -> Iterator[Request]:
        chance = Random(self.seed)
        most = self._most()
        at_s = 0.0
        while True:
            at_s += chance.expovariate(most)
            if at_s >= self.duration_s:
                return
            if chance.random() * most <= self.rate(at_s):
                yield Request(at_s, length(chance, self.prompt), length(chance, self.output))

    def _most(self) -> float:
        match self.kind:
            case Kind.FLAT:
                return self.rps
            case Kind.RAMP | Kind.DIURNAL | Kind.OUTAGE:
                return 2 * self.rps
            case Kind.BURST:
                return _BURST * self.rps
            case Kind.SPIKE:
                return _SPIKE_FACTOR * self.rps
            case Kind.CROWD:
                return _CROWD_FACTOR * _quiet() * self.rps


_NAMES = tuple(known.name for known in fields(Synthetic)[1:])


def _base(factor: float, burst: tuple[float, float]) -> float:
    """What is left outside a burst, as a factor of the mean too."""
    share = burst[1] - burst[0]
    return (1 - factor * share) / (1 - share)


def _quiet() -> float:
    """What is before the crowd, as a factor of the mean."""
    more = (_CROWD_FACTOR - 1) * _CROWD_FADES * (1 - math.exp((_CROWD - 1) / _CROWD_FADES))
    return 1 / (1 + more)


def length(chance: Random, mean: int) -> int:
    """At least one; exponential about the mean."""
    return min(max(round(chance.expovariate(1 / mean)), 1), MOST_TOKENS)


def parse(text: str) -> Synthetic:
    """`synthetic:KIND?hours=24&rps=3&seed=1&prompt=1000&output=200`; every value has a default.

    Raises:
        TraceError: it cannot be made.
    """
    kind, _, given = text.removeprefix(PREFIX).partition("?")
    if kind not in set(Kind):
        raise TraceError(f"there is no synthetic trace {kind!r}; choose among {', '.join(Kind)}")
    changes: dict[str, Any] = {}
    for item in filter(None, given.split("&")):
        name, _, value = item.partition("=")
        if name not in _NAMES:
            raise TraceError(f"a synthetic trace has no {name!r}; give some of {', '.join(_NAMES)}")
        if name in changes:
            raise TraceError(f"{name} is given twice; give it once")
        changes[name] = _number(name, value)
    return replace(Synthetic(Kind(kind)), **changes)


def _number(name: str, text: str) -> float:
    """Hours and rate may have a fraction."""
    if name not in ("hours", "rps"):
        if not text.isdecimal() or len(text) > 19:
            raise TraceError(f"{name} is {text!r}; it must be a whole number, such as 1")
        return int(text)
    try:
        return float(text)
    except ValueError:
        raise TraceError(f"{name} is {text!r}; it must be a number, such as 1.5") from None


def _written(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise TraceError(f"{sentence} in a synthetic trace")
