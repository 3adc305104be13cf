"""Traffic by its rate over time, as it was measured: requests are made up so that they come at that rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from controller.simulate.errors import TraceError
from controller.simulate.synthetic import length
from controller.simulate.traces import MOST_TOKENS, Request

_MOST_STEPS = 10_000
_MOST_RPS = 10_000


@dataclass(frozen=True, slots=True)
class Profile:
    """A workload that is made while it is played; the same values make the same requests.

    `rates` are requests per second, each for `step_s`. Arrivals are a Poisson process at that rate, lengths of prompts
    and answers are exponential about their means: what was measured is how many came, not which.

    Raises:
        TraceError: there is nothing to play, or a value is impossible.
    """

    name: str
    step_s: float
    rates: tuple[float, ...]
    prompt: int = 1000  # mean tokens
    output: int = 200  # mean tokens
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= len(self.rates) <= _MOST_STEPS:
            raise TraceError(f"{self.name} has {len(self.rates)} steps; it must have 1 to {_MOST_STEPS}")
        if not (math.isfinite(self.step_s) and 1 <= self.step_s <= 86_400):
            raise TraceError(f"{self.name} has steps of {self.step_s:g} s; they must be 1 to 86400 s long")
        odd = next((rate for rate in self.rates if not 0 <= rate <= _MOST_RPS), None)
        if odd is not None:
            raise TraceError(f"{self.name} has a rate of {odd:g}/s; rates must lie between 0 and {_MOST_RPS}")
        if not any(self.rates):
            raise TraceError(f"{self.name} has no request in it; choose a time with traffic")
        for what, tokens in (("prompt", self.prompt), ("output", self.output)):
            if not 1 <= tokens <= MOST_TOKENS // 100:
                raise TraceError(f"{what} is {tokens}; give 1 to {MOST_TOKENS // 100}")

    @property
    def duration_s(self) -> float:
        """Of the whole."""
        return self.step_s * len(self.rates)

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
        """None: where nothing was measured, no request is made."""
        return ()

    def __iter__(self) -> Iterator[Request]:
        chance = Random(self.seed)
        for place, rate in enumerate(self.rates):
            at_s, end_s = place * self.step_s, (place + 1) * self.step_s
            while rate > 0:
                at_s += chance.expovariate(rate)
                if at_s >= end_s:
                    break
                yield Request(at_s, length(chance, self.prompt), length(chance, self.output))
