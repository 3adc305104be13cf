"""An evaluation as pages explain it: every signal, every step, what held it back, what would have changed it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from controller.api.web import formats
from controller.core.evaluation import Evaluation
from controller.core.model import Known, Signal
from controller.core.reason import Reason
from controller.core.sensitivity import value_of
from controller.core.votes import Vote

_RATIOS = (Signal.UTILIZATION, Signal.KV_CACHE, Signal.MEMORY, Signal.ERRORS)


@dataclass(frozen=True, slots=True)
class SignalRow:
    """What one signal said. `value` is the sum over the pool where it is `in_all`, else the mean of a replica; the
    target is for each replica where it is `each`. `most`: no other asks for more."""

    signal: str
    known: str
    value: str
    target: str
    in_all: bool
    each: bool
    age: str
    wanted: int | None
    most: bool


@dataclass(frozen=True, slots=True)
class Why:
    """One step: the count before and after it, in the words of the controller."""

    before: int
    after: int
    text: str
    code: str


@dataclass(frozen=True, slots=True)
class Edge:
    """The smallest change of one signal that would have made a difference."""

    signal: str
    value: str
    needed: str
    each: bool
    replicas: int


@dataclass(frozen=True, slots=True)
class Explained:
    """One evaluation."""

    at: datetime
    current: int
    desired: int
    ready: int
    starting: int
    draining: int
    signals: tuple[SignalRow, ...]
    steps: tuple[Why, ...]
    held: tuple[Reason, ...]
    shadow: int | None
    edge: Edge | None


def explained(known: Evaluation) -> Explained:
    """As a page shows it. Its `flip` is told where it has one."""
    view, flip = known.view, known.flip
    most = max((vote.wanted for vote in known.votes if vote.wanted is not None), default=None)
    edge = None
    if flip is not None:
        value, needed = amount(flip.signal, flip.value), amount(flip.signal, flip.needed)
        edge = Edge(flip.signal.value, value, needed, _of_each(flip.signal), flip.replicas)
    return Explained(
        at=known.at,
        current=known.current,
        desired=known.desired,
        ready=len(view.ready),
        starting=view.starting,
        draining=view.draining,
        signals=tuple(_row(vote, most) for vote in known.votes),
        steps=tuple(
            Why(move.before, move.after, move.reason.text, move.reason.code.value) for move in known.moves
        ),
        held=known.held,
        shadow=known.shadow,
        edge=edge,
    )  # fmt: skip


def amount(signal: Signal, value: float | None) -> str:
    """A number of that signal with its unit."""
    if signal in _RATIOS:
        return formats.percent(value)
    written: Callable[[float | None], str] = formats.seconds if signal is Signal.LATENCY else formats.number
    return written(value)


def commands(pool: str, known: Evaluation) -> tuple[str, str]:
    """What to type to evaluate it again: fetch it, and explain it with another number."""
    at = formats.iso(known.at)
    fetch = f"stoker why {shlex.quote(pool)} --at {at} --json > why.json"
    return fetch, f"stoker explain --snapshot why.json --set {_other(known)}"


def _other(known: Evaluation) -> str:
    """The change that would have mattered, else any."""
    if known.flip is not None:
        return f"{known.flip.signal.value}={known.flip.needed:.6g}"
    for vote in known.votes:
        value = value_of(vote, len(known.view.ready))
        if value is not None:
            return f"{vote.signal.value}={2 * value or 1:.6g}"
    return "in_flight=10"


def _row(vote: Vote, most: int | None) -> SignalRow:
    in_all = vote.signal is Signal.IN_FLIGHT and vote.load is not None
    value = vote.load if in_all else vote.value
    unknown = vote.known is Known.UNKNOWN
    return SignalRow(
        signal=vote.signal.value,
        known=vote.known.value,
        value=formats.NOTHING if unknown else amount(vote.signal, value),
        target=amount(vote.signal, vote.target),
        in_all=in_all and not unknown,
        each=_of_each(vote.signal) or vote.signal is Signal.IN_FLIGHT,
        age=formats.NOTHING if vote.age_s is None else f"{vote.age_s:.1f} s",
        wanted=vote.wanted,
        most=vote.wanted is not None and vote.wanted == most,
    )


def _of_each(signal: Signal) -> bool:
    return signal not in (Signal.IN_FLIGHT, Signal.LATENCY)
