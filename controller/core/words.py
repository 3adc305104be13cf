"""What a signal says, in words that operators use."""

from __future__ import annotations

from controller.core.model import Signal
from controller.core.votes import Vote

_NAMES = {
    Signal.UTILIZATION: "utilization",
    Signal.KV_CACHE: "KV cache in use",
    Signal.MEMORY: "memory in use",
    Signal.ERRORS: "errors",
    Signal.LATENCY: "latency",
    Signal.TOKENS: "tokens a second",
    Signal.IN_FLIGHT: "in flight and waiting",
}
_RATIOS = (Signal.UTILIZATION, Signal.KV_CACHE, Signal.MEMORY, Signal.ERRORS)


def name(signal: Signal) -> str:
    """As it stands in a sentence."""
    return _NAMES[signal]


def amount(signal: Signal, value: float) -> str:
    """A number of that signal with its unit."""
    if signal in _RATIOS:
        return f"{100 * value:.3g} %"
    if signal is Signal.LATENCY:
        return f"{value:.3g} s"
    return f"{value:.4g}"


def load_of(vote: Vote, replicas: int) -> str:
    """How it stands to its target, `replicas` being those that it is the mean of."""
    value, target = amount(vote.signal, vote.value or 0.0), amount(vote.signal, vote.target)
    if vote.signal is Signal.IN_FLIGHT:
        return f"{vote.load or 0:g} in flight and waiting, target {target} for each of {replicas}"
    if vote.signal is Signal.LATENCY:
        return f"latency {value}, threshold {target}"
    if vote.signal is Signal.TOKENS:
        return f"{value} tokens a second for each of {replicas}, target {target}"
    return f"{name(vote.signal)} {value} of {counted(replicas)}, target {target}"


def counted(replicas: int) -> str:
    """1 replica, 2 replicas."""
    return "1 replica" if replicas == 1 else f"{replicas} replicas"


def numbers_of(vote: Vote) -> dict[str, float]:
    """Its value, target and age, by name."""
    key = vote.signal.value if vote.signal is not Signal.IN_FLIGHT or vote.load is None else "in_flight"
    value = vote.load if vote.signal is Signal.IN_FLIGHT and vote.load is not None else vote.value
    found = {key: value, "target": vote.target, "age_s": vote.age_s}
    return {label: round(number, 4) for label, number in found.items() if number is not None}


def flip_text(signal: Signal, value: float, needed: float, replicas: int) -> str:
    """What the smallest change that matters would have been."""
    was, then = amount(signal, value), amount(signal, needed)
    of_each = "" if signal in (Signal.IN_FLIGHT, Signal.LATENCY) else " of each replica"
    return f"with {name(signal)}{of_each} at {then} instead of {was} it would have been {replicas}"
