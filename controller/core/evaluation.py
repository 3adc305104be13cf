"""One evaluation of a pool's size: everything that went in, each step that moved the count, and what came out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from controller.core.model import PoolName, Signal
from controller.core.policy import Mode, ScalingPolicy
from controller.core.reason import Reason, ReasonCode
from controller.core.votes import PoolView, Vote


@dataclass(frozen=True, slots=True)
class Move:
    """One step of the way: the count before and after it, and why. The first one says what the signals ask for."""

    before: int
    after: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Step:
    """A count on its way through the steps."""

    replicas: int
    moves: tuple[Move, ...] = ()

    def then(self, replicas: int, code: ReasonCode, text: str, **numbers: float) -> Step:
        """The next count; the reason is added only if the count moves."""
        if replicas == self.replicas:
            return self
        return self.because(replicas, Reason(code, text, numbers))

    def because(self, replicas: int, reason: Reason) -> Step:
        """The next count with its reason, also where it stays."""
        return Step(replicas, (*self.moves, Move(self.replicas, replicas, reason)))


@dataclass(frozen=True, slots=True)
class Flip:
    """The smallest change of one signal that would have led to another count.

    `value` and `needed` are that of a replica on average, of the whole pool for requests in flight.
    """

    signal: Signal
    value: float
    needed: float
    replicas: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """See above. `view` and `policy` are what went in: the same again give the same. `shadow` is what the second
    policy would have."""

    pool: PoolName
    at: datetime
    view: PoolView
    policy: ScalingPolicy
    mode: Mode
    votes: tuple[Vote, ...]
    moves: tuple[Move, ...]
    desired: int
    held: tuple[Reason, ...] = ()  # why less than decided is done: surge, back-off, no GPU
    shadow: int | None = field(default=None)
    flip: Flip | None = field(default=None)

    @property
    def current(self) -> int:
        """The count before."""
        return self.view.memory.desired

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Of the moves, in order."""
        return tuple(move.reason for move in self.moves)
