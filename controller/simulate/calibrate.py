"""Measures a running replica and makes an engine model of it. Give it a server that has nothing else to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random, SystemRandom
from typing import Any, Protocol, TypeVar

from controller.simulate import estimates
from controller.simulate.engine import EngineModel
from controller.simulate.estimates import Spread
from controller.simulate.streaming import CalibrateError, HttpClient, Timed, first_model, server_at

_T = TypeVar("_T")
Say = Callable[[str], None]

_WORDS = ("amber", "bridge", "candle", "desert", "engine", "forest", "garden", "island", "jungle", "lantern", "river")


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is asked for. A prompt's words are about as many tokens."""

    short_words: int = 64
    long_words: int = 512
    decode_words: int = 8  # of the prompts whose answers are timed
    output_tokens: int = 48
    repeats: int = 3
    streams: int = 8  # at once
    slots: int | None = None  # of the server, where it is known
    limit_s: float = 180.0  # for everything

    def __post_init__(self) -> None:
        for name, least, most in (
            ("short_words", 1, 100_000),
            ("long_words", self.short_words + 1, 100_000),
            ("decode_words", 1, 100_000),
            ("output_tokens", 8, 10_000),
            ("repeats", 1, 20),
            ("streams", 2, 256),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise CalibrateError(f"{name} is {value}; give {least} to {most}")
        if not 0 < self.limit_s <= 3600:
            raise CalibrateError(f"limit_s is {self.limit_s:g}; give a time up to 3600 s")


@dataclass(frozen=True, slots=True)
class Calibration:
    """A model, and how sure its numbers are.

    `slots_at_least`: all streams ran at once, so that the server may have more slots than the model says.
    """

    model: EngineModel
    prefill_tokens_per_s: Spread
    decode_step_s: Spread
    together: int
    together_step_s: Spread
    share_during_prefill: Spread | None
    slots_at_least: bool

    def as_dict(self) -> dict[str, Any]:
        """For the model's file; without the model itself."""
        content = asdict(self)
        content.pop("model")
        return content


class Client(Protocol):
    """Asks the server; every call blocks until its answers are complete."""

    def alone(self, prompt: str, tokens: int) -> Timed:
        """One request."""
        ...

    def at_once(self, prompts: Sequence[str], tokens: int) -> list[Timed]:
        """All of them at the same time."""
        ...

    def beside(self, decoding: str, tokens: int, prompt: str) -> tuple[Timed, Timed]:
        """One request, and as soon as it decodes a second one for a single token."""
        ...


def calibrate(url: str, say: Say, effort: Effort | None = None) -> Calibration:
    """Measure the server at `url`. Blocks for at most `effort.limit_s` and what one answer takes.

    Raises:
        CalibrateError: it does not answer, or answers what cannot be measured.
    """
    effort = effort or Effort()
    server = server_at(url, time.monotonic() + effort.limit_s)
    return measure(HttpClient(replace(server, model=first_model(server))), effort, say, SystemRandom())


def measure(client: Client, effort: Effort, say: Say, chance: Random) -> Calibration:
    """Ask, and work the model out.

    Every prompt is new, so that no cache of prefixes helps. The KV cache cannot be measured: the model has the default.
    """

    def prompt(words: int) -> str:
        return " ".join(chance.choice(_WORDS) for _ in range(words))

    def repeat(what: str, once: Callable[[], _T]) -> list[_T]:
        found = []
        for number in range(1, effort.repeats + 1):
            say(f"{what}, {number} of {effort.repeats}")
            found.append(once())
        return found

    tokens, few = effort.output_tokens, effort.decode_words
    client.alone(prompt(effort.short_words), tokens)  # the first request of all is often slow
    short = repeat("short prompts", lambda: client.alone(prompt(effort.short_words), 1))
    long = repeat("long prompts", lambda: client.alone(prompt(effort.long_words), 1))
    step = estimates.step_s(repeat("one stream", lambda: client.alone(prompt(few), tokens)))
    crowds = repeat(
        f"{effort.streams} streams at once",
        lambda: estimates.together(client.at_once([prompt(few) for _ in range(effort.streams)], 2 * tokens)),
    )
    pairs = repeat(
        "a long prompt beside a stream", lambda: client.beside(prompt(few), 4 * tokens, prompt(effort.long_words))
    )
    shares = [estimates.share_during_prefill(decoding, read, step.median) for decoding, read in pairs]
    prefill = estimates.prefill_tokens_per_s(short, long)
    return _calibration(effort, prefill, step, (crowds, [share for share in shares if share is not None]))


def _calibration(
    effort: Effort,
    prefill: Spread,
    step: Spread,
    several: tuple[list[tuple[int, float]], list[float]],
) -> Calibration:
    """All numbers together; `several` are the crowds and the shares during prefill."""
    crowds, shares = several
    together = max(count for count, _ in crowds)
    crowd_steps = Spread.of([seconds for count, seconds in crowds if count == together])
    share = Spread.of(shares) if shares else None
    usual = EngineModel()
    more_s = (crowd_steps.median - step.median) / max(together - 1, 1)
    model = EngineModel(
        slots=effort.slots or together,
        prefill_tokens_per_s=prefill.median,
        decode_tokens_per_s=1 / step.median,
        decode_s_per_sequence=max(more_s, 0.0) if together > 1 else usual.decode_s_per_sequence,
        decode_share_during_prefill=share.median if share else usual.decode_share_during_prefill,
    )
    return Calibration(model, prefill, step, together, crowd_steps, share, together == effort.streams)
