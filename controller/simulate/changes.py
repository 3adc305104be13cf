"""Stoker's changes of the count in a simulated run, with their reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controller.core.decision import Plan
from controller.core.reason import Reason
from controller.simulate.stoker import POOL, START

MOST = 2000  # kept; a bad policy on a long trace makes hundreds of thousands


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the count. `at_s` counts from the trace's start."""

    at_s: float
    before: int
    after: int
    reasons: tuple[Reason, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        reasons = [{"code": why.code.value, "text": why.text, "numbers": dict(why.numbers)} for why in self.reasons]
        return {"at_s": self.at_s, "from": self.before, "to": self.after, "reasons": reasons}


class Changes:
    """Picks the changes out of all plans up to the horizon, and keeps the first `MOST` of them."""

    def __init__(self, horizon_s: float) -> None:
        self._horizon_s = horizon_s
        self.kept: list[Change] = []
        self.count = 0

    def take(self, plan: Plan) -> None:
        """Look at one plan; most change nothing."""
        evaluation = plan.evaluations.get(POOL)
        if evaluation is None or evaluation.current == evaluation.desired:
            return
        at_s = (evaluation.at - START).total_seconds()
        if at_s > self._horizon_s:
            return
        self.count += 1
        if len(self.kept) < MOST:
            self.kept.append(Change(at_s, evaluation.current, evaluation.desired, evaluation.reasons))
