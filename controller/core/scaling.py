"""How many replicas a pool should have.

Pure: the same arguments, the same answer. The steps run in a fixed order; each may move the count and must then
say why:

    track_target -> clamp -> hold_incomplete -> stabilize_down -> one_down_at_a_time -> clamp

The bounds come early, so that the steps after them speak only of what can happen, and once more last, because they win.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime

from controller.core.decision import Reason, ReasonCode
from controller.core.model import PoolMemory, Recommendation
from controller.core.policy import ScalingPolicy
from controller.core.signals import Demand


@dataclass(frozen=True, slots=True)
class PoolView:
    """What scaling needs of a pool. `moving` counts its replicas that start or drain."""

    memory: PoolMemory
    demand: Demand | None
    moving: int


@dataclass(frozen=True, slots=True)
class Step:
    """A count on its way through the pipeline, with the reasons so far."""

    replicas: int
    reasons: tuple[Reason, ...] = ()

    def then(self, replicas: int, code: ReasonCode, text: str, **numbers: float) -> Step:
        """The next count; the reason is added only if the count moves."""
        if replicas == self.replicas:
            return self
        return Step(replicas, (*self.reasons, Reason(code, text, numbers)))


def decide_scale(view: PoolView, policy: ScalingPolicy, now: datetime) -> tuple[Step, PoolMemory]:
    """The pool's count for this tick with its reasons, and its memory with that count and the recommendation.

    Without demand the count is held; floor and ceiling count even then.
    """
    wanted = clamp(track_target(view, policy), policy)
    memory = remember(view.memory, wanted.replicas, policy, now)
    step = hold_incomplete(wanted, view)
    step = stabilize_down(step, memory, policy, now)
    step = one_down_at_a_time(step, view)
    step = clamp(step, policy)
    return step, replace(memory, desired=step.replicas)


def track_target(view: PoolView, policy: ScalingPolicy) -> Step:
    """The count that puts the demand per replica at the target; inside the tolerance nothing moves."""
    desired, demand = view.memory.desired, view.demand
    if demand is None:
        return Step(desired, (Reason(ReasonCode.NO_DATA, "neither gateway nor replicas say how much is in flight"),))
    target = policy.target_in_flight
    numbers = {"in_flight": demand.requests, "target": target, "age_s": round(demand.age_s, 3)}
    load = f"{demand.requests:g} in flight and waiting, target {target:g} for each of {desired}"
    capacity = desired * target
    if abs(demand.requests - capacity) <= policy.tolerance * capacity:
        return Step(desired, (Reason(ReasonCode.ON_TARGET, load, numbers),))
    wanted = math.ceil(demand.requests / target)
    if wanted == desired:
        return Step(desired, (Reason(ReasonCode.ON_TARGET, load, numbers),))
    code = ReasonCode.ABOVE_TARGET if wanted > desired else ReasonCode.BELOW_TARGET
    return Step(wanted, (Reason(code, f"{load}: {wanted} would do", numbers),))


def hold_incomplete(step: Step, view: PoolView) -> Step:
    """A sum with a part missing may ask for more, never for less."""
    if view.demand is None or view.demand.complete or step.replicas >= view.memory.desired:
        return step
    return step.then(view.memory.desired, ReasonCode.PARTIAL_DATA, "held: a replica's count is missing")


def stabilize_down(step: Step, memory: PoolMemory, policy: ScalingPolicy, now: datetime) -> Step:
    """Go down no further than the highest count recommended within the window (as the HPA does)."""
    if step.replicas >= memory.desired:
        return step
    window_s = policy.scale_down_window.total_seconds()
    since = memory.history_since or now
    if now - since < policy.scale_down_window:
        # A controller that has just begun has no proof that the load was low for the whole window.
        watched = (now - since).total_seconds()
        text = f"held: watched for {watched:.0f} s of the {window_s:.0f} s window"
        return step.then(memory.desired, ReasonCode.WARMING_UP, text, watched_s=round(watched, 3), window_s=window_s)
    peak = min(max(entry.replicas for entry in memory.recommended), memory.desired)
    text = f"{peak} were needed within the last {window_s:.0f} s"
    return step.then(max(peak, step.replicas), ReasonCode.STABILIZED, text, peak=peak, window_s=window_s)


def one_down_at_a_time(step: Step, view: PoolView) -> Step:
    """Shrink by one, and only while nothing starts or drains."""
    desired = view.memory.desired
    if step.replicas >= desired:
        return step
    if view.moving:
        text = f"held: {view.moving} still starting or draining"
        return step.then(desired, ReasonCode.ONE_AT_A_TIME, text, moving=view.moving)
    return step.then(desired - 1, ReasonCode.ONE_AT_A_TIME, "one at a time, each after a drain")


def clamp(step: Step, policy: ScalingPolicy) -> Step:
    """Floor and ceiling beat every earlier step."""
    floor, ceiling = policy.floor, policy.ceiling
    step = step.then(max(step.replicas, floor), ReasonCode.AT_FLOOR, f"the floor is {floor}", floor=floor)
    return step.then(min(step.replicas, ceiling), ReasonCode.AT_CEILING, f"the ceiling is {ceiling}", ceiling=ceiling)


def remember(memory: PoolMemory, replicas: int, policy: ScalingPolicy, now: datetime) -> PoolMemory:
    """Add a recommendation and forget what left the window.

    Only changes are kept. One entry from before the window stays: its count held on into the window.
    """
    history = memory.recommended
    if not history or history[-1].replicas != replicas:
        history = (*history, Recommendation(now, replicas))
    start = now - policy.scale_down_window
    older = [entry for entry in history if entry.at <= start]
    kept = (*older[-1:], *(entry for entry in history if entry.at > start))
    return replace(memory, recommended=kept, history_since=memory.history_since or now)
