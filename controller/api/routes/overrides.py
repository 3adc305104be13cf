"""/api/v1/pools/{pool}/pause, resume and bounds: what people want of a pool in place of its configuration.

404 for a pool that is not there, 409 for what cannot be done now, 422 for what can never be.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from fastapi import APIRouter, HTTPException

from controller.api.access import OPERATOR, CallerDep
from controller.api.deps import Sources, SourcesDep, policy_of
from controller.api.doing import doing
from controller.api.happened import happened
from controller.api.override_schemas import BoundsIn, PauseIn, PoolOverrideOut, ResumeIn, bounds_of, pause_of
from controller.api.reasons import AskedWhy
from controller.core.event import Event
from controller.core.overrides import Bounds, Override, Pause, bounded
from controller.core.policy import ImpossiblePolicy, Mode, PoolPolicy

router = APIRouter(prefix="/api/v1/pools/{pool}", dependencies=[OPERATOR])


@router.post("/pause")
def pause(pool: str, wanted: PauseIn, sources: SourcesDep, who: CallerDep) -> PoolOverrideOut:
    """The count stays from the next tick on, failed replicas are still replaced. Once more gives it another end."""
    policy = policy_of(sources, pool)
    if policy.mode is Mode.PAUSED:
        raise HTTPException(409, f"{pool} is paused by the configuration; set its mode there, and `stoker apply`")
    now = sources.now()
    until = now + timedelta(seconds=wanted.for_s) if wanted.for_s is not None else None
    made = Pause(now, who.name, wanted.why, until)
    with doing(sources, who, "pause", f"pool/{pool}", _for(wanted).removeprefix(": ").strip()):
        after = sources.overrides.change_override(policy.pool, lambda known: replace(known, pause=made))
    numbers = {"for_s": wanted.for_s} if wanted.for_s is not None else {}
    _done(sources, policy, "pool_paused", f"By {who.name}{_for(wanted)}.", numbers)
    return _told(policy, after)


@router.post("/resume")
def resume(pool: str, sources: SourcesDep, who: CallerDep, wanted: ResumeIn | None = None) -> PoolOverrideOut:
    """The pause ends; what is still in the windows of the signals counts at once."""
    policy, why = policy_of(sources, pool), wanted.why if wanted else ""
    if _known(policy, sources).pause is None:
        by_file = policy.mode is Mode.PAUSED
        right = "it is the configuration that pauses it: set its mode there, and `stoker apply`" if by_file else ""
        raise HTTPException(409, f"nobody has paused {pool}{'; ' if right else ''}{right}")
    with doing(sources, who, "resume", f"pool/{pool}", why):
        after = sources.overrides.change_override(policy.pool, lambda known: replace(known, pause=None))
    _done(sources, policy, "pool_resumed", f"By {who.name}{_because(why)}.")
    return _told(policy, after)


@router.put("/bounds")
def set_bounds(pool: str, wanted: BoundsIn, sources: SourcesDep, who: CallerDep) -> PoolOverrideOut:
    """Floor and ceiling from the next tick on, in place of those of the configuration, until they are cleared.

    They hold over a changed configuration, too. Floors by the calendar still raise the floor, up to this ceiling.
    """
    policy = policy_of(sources, pool)
    try:
        bounded(policy.scaling, wanted.floor, wanted.ceiling)
    except ImpossiblePolicy as error:
        raise HTTPException(422, str(error)) from error
    made = Bounds(wanted.floor, wanted.ceiling, sources.now(), who.name, wanted.why)
    words = f"{wanted.floor} to {wanted.ceiling}: {wanted.why}"
    with doing(sources, who, "bounds set", f"pool/{pool}", words):
        after = sources.overrides.change_override(policy.pool, lambda known: replace(known, bounds=made))
    numbers = {"floor": float(wanted.floor), "ceiling": float(wanted.ceiling)}
    _done(sources, policy, "bounds_set", f"By {who.name}: {words}.", numbers)
    return _told(policy, after)


@router.delete("/bounds")
def clear_bounds(pool: str, sources: SourcesDep, who: CallerDep, why: AskedWhy = "") -> PoolOverrideOut:
    """Those of the configuration hold again."""
    policy = policy_of(sources, pool)
    if _known(policy, sources).bounds is None:
        raise HTTPException(409, f"nobody has set bounds of {pool}; those of the configuration hold")
    with doing(sources, who, "bounds clear", f"pool/{pool}", why):
        after = sources.overrides.change_override(policy.pool, lambda known: replace(known, bounds=None))
    words = f"{policy.scaling.floor} to {policy.scaling.ceiling} of the configuration hold again{_because(why)}"
    _done(sources, policy, "bounds_cleared", f"By {who.name}: {words}.")
    return _told(policy, after)


def _known(policy: PoolPolicy, sources: Sources) -> Override:
    """What holds of it by now."""
    return next((one for one in sources.overrides.overrides() if one.pool == policy.pool), Override(policy.pool))


def _done(
    sources: Sources, policy: PoolPolicy, event: str, message: str, numbers: dict[str, float] | None = None
) -> None:
    happened(sources, Event(sources.now(), event, f"pool/{policy.pool}", "Ordered", message, numbers or {}))
    sources.wake()


def _told(policy: PoolPolicy, override: Override) -> PoolOverrideOut:
    bounds = bounds_of(override, (policy.scaling.floor, policy.scaling.ceiling))
    pause_told = pause_of(override)
    return PoolOverrideOut(pool=policy.pool, paused=pause_told is not None, pause=pause_told, bounds=bounds)


def _for(wanted: PauseIn) -> str:
    span = f" for {wanted.for_s:g} s" if wanted.for_s is not None else ""
    return f"{span}: {wanted.why}"


def _because(why: str) -> str:
    return f": {why}" if why else ""
