"""What the routes of the gateway take and answer. Times are ISO 8601 in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from controller.api.inputs import RowNumber
from controller.api.reasons import MaybeWhy

_Version = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9.+!_-]*$")]
_ADDRESS = r"^([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}$"


class CauseOut(BaseModel):
    """One thing that led to a new configuration."""

    code: str
    text: str


class RevisionOut(BaseModel):
    """A configuration that nginx took."""

    number: int
    at: datetime
    tick: int
    term: int
    generation: str = Field(description="What nginx answers with while it runs it.")
    causes: list[CauseOut]
    servers: dict[str, list[str]] = Field(description="The replicas in it, by pool.")
    entered: list[str] = Field(description="Those that were not in the one before.")
    left: list[str]
    reverted_to: int | None = Field(description="Somebody went back to the settings of that one.")


class RevisionTextOut(RevisionOut):
    """All of it."""

    settings: dict[str, Any] = Field(description="`gateway`, `plans` and `pools[].gateway`, as the file has them.")
    text: str = Field(description="nginx.conf.")


class DiffOut(BaseModel):
    """What is different between two configurations."""

    before: int
    after: int
    lines: list[str] = Field(description="As `diff -u` has it; none: they are equal.")


class StandingOut(BaseModel):
    """How it stands with the settings of the gateway."""

    revision: int | None = Field(description="The newest; none before the first.")
    generation: str
    taken_at: datetime | None = Field(description="When nginx took the newest one.")
    reverted_to: int | None = Field(description="Somebody went back to the settings of that one.")
    reverted_at: datetime | None
    why: str
    certificate_ends: datetime | None = Field(description="None where it has none, or nobody can read it.")
    refused: str = Field(description="Why nginx runs with other settings than it should; mostly empty.")


class RevertIn(BaseModel):
    """Where to: a revision, or the file again."""

    model_config = ConfigDict(extra="forbid")

    number: RowNumber | None = None
    undo: bool = False
    why: MaybeWhy = ""

    @model_validator(mode="after")
    def _one_of_them(self) -> RevertIn:
        if (self.number is None) != self.undo:
            raise ValueError("give the number of a revision, or undo")
        return self


class RevertedOut(BaseModel):
    """What came of it."""

    changed: bool = Field(description="nginx takes other settings with the next tick, which comes at once.")
    text: str


class GatewayIn(BaseModel):
    """What an nginx on another machine says of itself. A version is empty where it has nothing yet."""

    model_config = ConfigDict(extra="forbid")

    version: _Version = Field(description="Of Stoker. It must be the controller's.")
    applied: _Version = Field(default="", description="The generation of its configuration.")
    plan_version: _Version = ""
    keys_version: _Version = ""
    error: str = Field(default="", max_length=2000, description="What it could not do.")
    metrics: Annotated[str, Field(pattern=_ADDRESS)] | None = Field(
        default=None, description="HOST:PORT of its edge exporter, as Prometheus reaches it."
    )


class GatewayOut(BaseModel):
    """An nginx on another machine that was heard of within the last hour."""

    name: str
    version: str
    applied: str
    plan_version: str
    keys_version: str
    heard_at: datetime
    lag_s: float = Field(description="For so long it may have run something old: about 1 where all is well.")
    lags: bool = Field(description="That is more than 10 s.")
    error: str
    metrics: str | None
