"""What the API takes and answers of pauses and bounds that people set while a pool runs."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from controller.api.reasons import MaybeWhy, Why
from controller.core.overrides import Override

_LONGEST_S = 30 * 24 * 3600.0
_MOST = 1_000_000


class PauseIn(BaseModel):
    """A pause."""

    why: Why
    for_s: float | None = Field(
        default=None, gt=0, le=_LONGEST_S, description="It ends by itself then; none: until somebody resumes the pool."
    )


class ResumeIn(BaseModel):
    """Its end."""

    why: MaybeWhy = ""


class BoundsIn(BaseModel):
    """Floor and ceiling in place of those of the configuration."""

    floor: int = Field(ge=0, le=_MOST)
    ceiling: int = Field(ge=1, le=_MOST)
    why: Why


class PauseOut(BaseModel):
    """A pause that holds."""

    by: str
    at: datetime
    why: str
    until: datetime | None = Field(description="It ends by itself then.")


class BoundsOut(BaseModel):
    """Bounds that people set."""

    floor: int
    ceiling: int
    by: str
    at: datetime
    why: str
    configured_floor: int = Field(description="What the configuration has, and what holds again once they are cleared.")
    configured_ceiling: int
    in_force: bool = Field(description="False where a changed configuration does not allow them any more.")


class OverrideOut(BaseModel):
    """What people want of a pool in place of its configuration."""

    paused: bool
    pause: PauseOut | None
    bounds: BoundsOut | None


class PoolOverrideOut(OverrideOut):
    """The same of a pool by its name."""

    pool: str


def pause_of(override: Override) -> PauseOut | None:
    """As the API tells it."""
    pause = override.pause
    return PauseOut(by=pause.by, at=pause.at, why=pause.why, until=pause.until) if pause else None


def bounds_of(override: Override, configured: tuple[int, int], *, in_force: bool = True) -> BoundsOut | None:
    """As the API tells it; `configured` are floor and ceiling of the configuration."""
    bounds = override.bounds
    if bounds is None:
        return None
    return BoundsOut(
        floor=bounds.floor,
        ceiling=bounds.ceiling,
        by=bounds.by,
        at=bounds.at,
        why=bounds.why,
        configured_floor=configured[0],
        configured_ceiling=configured[1],
        in_force=in_force,
    )
