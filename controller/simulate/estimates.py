"""Timed answers -> the numbers of an engine model. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from controller.simulate.streaming import CalibrateError, Timed


@dataclass(frozen=True, slots=True)
class Spread:
    """One number, measured several times."""

    median: float
    low: float
    high: float
    count: int

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """Of at least one."""
        return Spread(statistics.median(values), min(values), max(values), len(values))


def prefill_tokens_per_s(short: Sequence[Timed], long: Sequence[Timed]) -> Spread:
    """From the time that the longer prompts take more: what every request takes besides cancels out.

    Each long one is set against the median of the short ones.
    """
    base_s = statistics.median(timed.first_token_s for timed in short)
    base_tokens = statistics.median(_prompt_tokens(timed) for timed in short)
    rates = []
    for timed in long:
        more_tokens, more_s = _prompt_tokens(timed) - base_tokens, timed.first_token_s - base_s
        if more_s <= 0 or more_tokens <= 0:
            raise CalibrateError(
                f"a prompt of {_prompt_tokens(timed):.0f} tokens takes no longer than one of {base_tokens:.0f}; "
                "measure with longer prompts, and without other load"
            )
        rates.append(more_tokens / more_s)
    return Spread.of(rates)


def step_s(alone: Sequence[Timed]) -> Spread:
    """The time of one decoding step of a single sequence."""
    return Spread.of([_gap_s(timed) for timed in alone])


def together(streams: Sequence[Timed]) -> tuple[int, float]:
    """How many sequences decoded at once, and the time of a step with so many.

    Counted where all of them that ran at once did: from the last first token to the first end. Where some began only
    after others had ended, the server has fewer slots than that.
    """
    spans = sorted((timed.token_at_s[0], timed.token_at_s[-1]) for timed in streams)
    first_end = min(end for _, end in spans)
    at_once = [timed for timed in streams if timed.token_at_s[0] < first_end]
    start = max((timed.token_at_s[0] for timed in at_once), default=first_end)
    if first_end <= start:
        raise CalibrateError("the streams hardly overlap; measure with longer answers, and without other load")
    tokens = sum(_tokens_within(timed, start, first_end) for timed in at_once)
    if tokens <= 0:
        raise CalibrateError("no token came while all streams ran; measure with longer answers")
    return len(at_once), (first_end - start) * len(at_once) / tokens


def share_during_prefill(decoding: Timed, prompt: Timed, alone_step_s: float) -> float | None:
    """How fast one sequence decodes while another's prompt is read, as a share of its speed alone, 0.001..1.

    None where the two did not overlap: it had ended before, or the prompt waited for its slot.
    """
    start, end = prompt.sent_at_s, prompt.token_at_s[0]
    if end <= start or decoding.token_at_s[0] > start or decoding.token_at_s[-1] < end:
        return None
    expected = (end - start) / alone_step_s
    return min(max(_tokens_within(decoding, start, end) / expected, 0.001), 1.0)


def _tokens_within(timed: Timed, start: float, end: float) -> float:
    """Some servers send several tokens in a piece."""
    pieces = sum(1 for at in timed.token_at_s if start < at <= end)
    return pieces * timed.output_tokens / len(timed.token_at_s)


def _prompt_tokens(timed: Timed) -> float:
    if timed.prompt_tokens is None:
        raise CalibrateError("the server does not tell how many tokens a prompt has (stream_options.include_usage)")
    return float(timed.prompt_tokens)


def _gap_s(timed: Timed) -> float:
    took = timed.token_at_s[-1] - timed.token_at_s[0]
    if timed.output_tokens < 2 or took <= 0:
        raise CalibrateError("the model stops after one token; measure one that answers at some length")
    return took / (timed.output_tokens - 1)
