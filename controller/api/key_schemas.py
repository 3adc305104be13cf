"""What the API takes and answers about API keys. Times are ISO 8601 in UTC; None stands for what is not there."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from controller.api.inputs import Moment
from controller.api.reasons import MaybeWhy

_LONGEST_S = 100 * 366 * 86_400.0
Said = Annotated[str, Field(max_length=100, pattern=r"^[^\x00]*$")]  # no database looks for a NUL
Seconds = Annotated[float, Field(allow_inf_nan=False, le=_LONGEST_S)]


class KeyIn(BaseModel):
    """A key that is wanted."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="For people: 1 to 64 printable characters.")
    plan: str | None = Field(default=None, description="Of the configuration; none has no limits.")
    models: list[str] = Field(default=[], description="Pool models, or their aliases; none is every model.")
    expires_in_s: Annotated[Seconds, Field(gt=0)] | None = None
    expires_at: Moment | None = Field(default=None, description="Instead of `expires_in_s`.")
    why: MaybeWhy = ""


class KeysQuery(BaseModel):
    """Which keys: those that all of this fits."""

    key: Said | None = Field(default=None, description="Only those with this id or name.")
    text: Said = Field(default="", description="Somewhere in the name or the id.")
    plan: Said | None = None
    state: Literal["usable", "blocked"] | None = Field(
        default=None, description="usable: blocked ones, too; none: also those that are revoked or expired."
    )
    before: Said | None = Field(
        default=None, description="For the next page: only those that come after the key with this id."
    )
    limit: int = Field(default=1000, ge=1, le=1000, description="How many at most, the newest first.")


class RevokeIn(BaseModel):
    """Why, if anybody wants to know."""

    model_config = ConfigDict(extra="forbid")

    why: MaybeWhy = ""


class RotateIn(BaseModel):
    """For how long the old key stays good beside the new one."""

    model_config = ConfigDict(extra="forbid")

    grace_s: Annotated[Seconds, Field(ge=0)] = 0.0
    why: MaybeWhy = ""


class KeyOut(BaseModel):
    """A key, without its secret."""

    id: str
    name: str
    plan: str | None
    models: list[str] = Field(description="None of them: every model.")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None = Field(description="The id of the key that it was rotated to.")
    state: str = Field(description="usable, blocked (a token quota is used up), expired or revoked.")
    blocked_until: datetime | None
    blocked_by: str | None = Field(description="minute or day.")
    tokens_today: int | None = Field(description="In this day of UTC; None where no plan has a token quota.")
    tokens_per_minute: int | None = Field(description="Of its plan.")
    tokens_per_day: int | None = Field(description="Of its plan.")


class NewKeyOut(KeyOut):
    """A key that was just made. Its text is shown this once."""

    key: str = Field(description="What the client sends. It is kept nowhere.")


class RotatedOut(NewKeyOut):
    """The new key, and until when the old one is good."""

    replaces: str
    replaced_expires_at: datetime
