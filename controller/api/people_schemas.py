"""What the API takes and answers about people. Times are ISO 8601 in UTC; None stands for what is not there."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from controller.api.reasons import MaybeWhy
from controller.core.people import NAME_RULE, Role

_LONGEST_S = 10 * 366 * 86_400.0
Name = Annotated[str, Field(max_length=200, description=f"{NAME_RULE.capitalize()}; kept in lower case.")]
Password = Annotated[
    str, Field(max_length=1000, description="12 to 128 characters.", json_schema_extra={"format": "password"})
]


class LoginIn(BaseModel):
    """Who wants to come in."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    password: Password


class JoinIn(BaseModel):
    """An invitation, and the password that whoever has it chooses."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(max_length=200)]
    password: Password


class PasswordIn(BaseModel):
    """The old password, and the one that takes its place."""

    model_config = ConfigDict(extra="forbid")

    old: Password
    new: Password


class StartedOut(BaseModel):
    """A session that was begun. The cookie comes with the answer."""

    name: str
    role: Role
    csrf: str = Field(description="What each change needs as the header X-CSRF-Token.")


class CallerOut(BaseModel):
    """Who asks."""

    name: str
    role: Role
    how: str = Field(description="file (the token of the state directory), token or session.")
    token: str = Field(description="The name of the API token, where it is one.")


class SessionOut(BaseModel):
    """A login."""

    id: str
    created_at: datetime
    seen_at: datetime = Field(description="To the minute.")
    ends_at: datetime = Field(description="If nothing is asked any more.")
    address: str
    agent: str = Field(description="What the browser says of itself.")
    current: bool = Field(description="It is the one that asks.")


class EndedOut(BaseModel):
    """How many sessions ended."""

    ended: int


class UserOut(BaseModel):
    """A person."""

    name: str
    role: Role
    source: str = Field(description="password, or oidc where another place says who it is.")
    created_at: datetime
    logged_in_at: datetime | None


class RoleIn(BaseModel):
    """Another role."""

    model_config = ConfigDict(extra="forbid")

    role: Role
    why: MaybeWhy = ""


class InvitationIn(BaseModel):
    """Who is to come in, or to choose a new password."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    role: Role | None = Field(default=None, description="Of somebody new; viewer where it is not given.")
    why: MaybeWhy = ""


class InvitationOut(BaseModel):
    """An invitation: whoever opens the link chooses that person's password, once."""

    name: str
    role: Role
    code: str = Field(description="Shown this once.")
    link: str = Field(description="With the code behind #, which no browser sends.")
    expires_at: datetime


class PendingOut(BaseModel):
    """An invitation that nobody has accepted yet."""

    name: str
    role: Role
    by: str = Field(description="Who made it; empty: somebody with the state directory, before there was a user.")
    expires_at: datetime


class TokenIn(BaseModel):
    """A token that is wanted."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    role: Role = Field(default=Role.VIEWER, description="At most that of who makes it.")
    expires_in_s: Annotated[float, Field(gt=0, le=_LONGEST_S, allow_inf_nan=False)] | None = None
    why: MaybeWhy = ""


class TokenOut(BaseModel):
    """A token, without its text."""

    id: str
    name: str
    owner: str
    role: Role
    prefix: str = Field(description="How its text begins.")
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None = Field(description="To the minute.")
    state: str = Field(description="usable or expired.")


class NewTokenOut(TokenOut):
    """A token that was made."""

    token: str = Field(description="Its text, shown this once.")


class AuditOut(BaseModel):
    """Who did what, from where and why."""

    id: int
    at: datetime
    name: str = Field(description="Empty where nobody knows.")
    role: str
    how: str = Field(description="file, session, token and its name; password, invitation or oidc for a login.")
    address: str
    action: str
    subject: str
    why: str
    outcome: str
    refused: bool
