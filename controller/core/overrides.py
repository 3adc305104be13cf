"""What people want of a pool while it runs: a pause, and other bounds than those of the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from controller.core.cron import FloorWindow
from controller.core.evaluation import Evaluation, Move
from controller.core.model import PoolName
from controller.core.policy import ImpossiblePolicy, Mode, PoolPolicy, ScalingPolicy
from controller.core.reason import Reason, ReasonCode

_SPEAKS_OF = {  # which steps a note explains
    ReasonCode.BOUNDS_SET: (ReasonCode.AT_FLOOR, ReasonCode.AT_CEILING),
    ReasonCode.PAUSE_SET: (ReasonCode.PAUSED,),
}


@dataclass(frozen=True, slots=True)
class Pause:
    """The count stays, until somebody resumes it or `until` has come."""

    at: datetime
    by: str
    why: str = ""
    until: datetime | None = None

    def over(self, now: datetime) -> bool:
        """Whether its time is up."""
        return self.until is not None and now >= self.until


@dataclass(frozen=True, slots=True)
class Bounds:
    """Floor and ceiling in place of those of the configuration."""

    floor: int
    ceiling: int
    at: datetime
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Override:
    """All that people want of one pool. It holds until it is withdrawn, also over a changed configuration."""

    pool: PoolName
    pause: Pause | None = None
    bounds: Bounds | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is wanted."""
        return self.pause is None and self.bounds is None


def overridden(policies: Iterable[PoolPolicy], overrides: Iterable[Override], now: datetime) -> tuple[PoolPolicy, ...]:
    """The policies that are in force, each with a note of what people have changed of it.

    Bounds that a changed configuration does not allow any more are left out, and the note says so.
    """
    wanted = {override.pool: override for override in overrides}
    return tuple(_in_force(policy, wanted.get(policy.pool), now) for policy in policies)


def bounded(scaling: ScalingPolicy, floor: int, ceiling: int) -> ScalingPolicy:
    """The same with other bounds. Floors by the calendar still raise the floor, up to the new ceiling.

    Raises:
        ImpossiblePolicy: such a policy can never act; the text says what would be right.
    """
    schedule = tuple(_at_most(window, max(ceiling, 1)) for window in scaling.schedule)
    return replace(scaling, floor=floor, ceiling=ceiling, schedule=schedule)


def explained(evaluation: Evaluation, notes: Sequence[Reason]) -> Evaluation:
    """The evaluation with the notes on the steps that are people's doing, so that its decision says whose."""
    taken = {move.reason.code for move in evaluation.moves}
    last = evaluation.desired
    found = [Move(last, last, note) for note in notes if taken.intersection(_SPEAKS_OF.get(note.code, ()))]
    return replace(evaluation, moves=(*evaluation.moves, *found)) if found else evaluation


def _in_force(policy: PoolPolicy, override: Override | None, now: datetime) -> PoolPolicy:
    if override is None:
        return policy
    if override.bounds is not None:
        policy = _with_bounds(policy, override.bounds)
    if override.pause is not None and not override.pause.over(now):
        policy = _with_pause(policy, override.pause)
    return policy


def _with_bounds(policy: PoolPolicy, bounds: Bounds) -> PoolPolicy:
    was = f"{policy.scaling.floor} to {policy.scaling.ceiling}"
    text = f"bounds {bounds.floor} to {bounds.ceiling}, instead of {was}, set by {bounds.by}{_because(bounds.why)}"
    numbers = {"floor": float(bounds.floor), "ceiling": float(bounds.ceiling)}
    try:
        scaling = bounded(policy.scaling, bounds.floor, bounds.ceiling)
    except ImpossiblePolicy as error:
        note = Reason(ReasonCode.BOUNDS_REFUSED, f"{text}: not in force, since {error}", numbers)
        return replace(policy, notes=(*policy.notes, note))
    return replace(policy, scaling=scaling, notes=(*policy.notes, Reason(ReasonCode.BOUNDS_SET, text, numbers)))


def _with_pause(policy: PoolPolicy, pause: Pause) -> PoolPolicy:
    """A second policy is not scored meanwhile: it could not be held against what nobody decides."""
    end = f" until {pause.until:%Y-%m-%d %H:%M:%S} UTC" if pause.until else ""
    note = Reason(ReasonCode.PAUSE_SET, f"paused by {pause.by}{end}{_because(pause.why)}")
    return replace(policy, mode=Mode.PAUSED, shadow=None, notes=(*policy.notes, note))


def _at_most(window: FloorWindow, ceiling: int) -> FloorWindow:
    return replace(window, floor=min(window.floor, ceiling))


def _because(why: str) -> str:
    return f": {why}" if why else ""
