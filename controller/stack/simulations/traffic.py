"""A pool's own traffic of the last hours, as Prometheus has it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from controller.api.history import HistoryBook
from controller.api.history_promql import COLUMN, question
from controller.api.simulations import SimulationRefused
from controller.core.timeline import MINUTE, Column, axis
from controller.stack.simulations.ask import Traffic

_REQUESTS, _PROMPTS, _ANSWERS = "requests_per_second", "prompt_tokens_per_second", "tokens_per_second"


def traffic_of(history: HistoryBook, now: Callable[[], datetime], pool: str, hours: float) -> Traffic:
    """Requests a second of each minute, or of a few where the hours are many. Blocks for at most 7 s.

    Raises:
        SimulationRefused: nobody tells.
    """
    end = now().timestamp()
    wanted = axis(end - 3600 * hours, end, shortest=MINUTE)
    told = history.ask(question((_REQUESTS, _PROMPTS, _ANSWERS), wanted, pool), wanted)
    if told.as_of is None:
        raise SimulationRefused("Prometheus does not answer, so that nobody knows the traffic; choose another trace")
    found = told.columns(COLUMN)
    nothing: Column = (None,) * wanted.points
    requests, prompts, answers = (found.get((name,), nothing) for name in (_REQUESTS, _PROMPTS, _ANSWERS))
    return Traffic(float(told.axis.step), requests, _mean(prompts, requests), _mean(answers, requests))


def _mean(tokens: Column, requests: Column) -> int | None:
    """Tokens of a request; None where there is not enough to say."""
    pairs = [(of, count) for of, count in zip(tokens, requests, strict=True) if of is not None and count]
    count = sum(pair[1] for pair in pairs)
    mean = sum(pair[0] for pair in pairs) / count if count else 0.0
    return round(mean) if mean >= 1 else None
