"""What a drill may tell as its result: the fields of `stoker drill --json`, each with a bound. Others are left out.

The page of a drill calculates with it, so that whatever is taken here must be something that can be shown.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from controller.core.printable import printable

_YEARS = range(2000, 2200)
_SENTENCES = 20_000  # a reload of nginx tells all routes of a large fleet


def _moment(text: str) -> str:
    """Raises `ValueError` for what is none, or not of this time: days are added to it."""
    at = datetime.fromisoformat(text)
    if at.utcoffset() is None or at.year not in _YEARS:
        raise ValueError("this is no moment of this century with its time zone")
    return text


def _plain(text: object) -> object:
    return printable(text) if isinstance(text, str) else text


Plain = Annotated[str, BeforeValidator(_plain)]  # before: half a surrogate pair is no string to what comes after
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Name = Annotated[Plain, Field(max_length=300)]
Sentence = Annotated[Plain, Field(max_length=_SENTENCES)]
Number = Annotated[int | float, Field(ge=-1e9, le=1e9)]  # neither NaN nor what no time can be moved by
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
Moment = Annotated[str, Field(max_length=64), AfterValidator(_moment)]


class PromiseIn(BaseModel):
    """A limit, and what came of it."""

    name: Word
    limit: Number
    measured: Number | None
    kept: bool
    why: Sentence = ""


class StepIn(BaseModel):
    """An event, or a step of the drill itself."""

    at_s: Number
    event: Word
    subject: Name
    text: Sentence


class SpanIn(BaseModel):
    """A replica was in one state for so long."""

    from_s: Number
    to_s: Number
    state: Word
    routed: bool


class LifeIn(BaseModel):
    """A replica over time."""

    replica: Name
    spans: list[SpanIn] = Field(max_length=10_000)


class SecondIn(BaseModel):
    """The requests that ended in it."""

    from_s: Number
    ok: Count
    failed: Count
    cut: Count


class TroubleIn(BaseModel):
    """A request that did not end well."""

    ended_s: Number
    ending: Word
    streamed: bool
    why: Sentence


class ResultIn(BaseModel):
    """All of it. One that has figures says when the fault came, and what followed."""

    fault: Word
    outcome: Annotated[Plain, Field(max_length=64)]
    why: Sentence = ""
    at: Moment | None = None
    pool: Name | None = None
    victims: list[Name] = Field(default=[], max_length=1000)
    promises: list[PromiseIn] = Field(default=[], max_length=100)
    measured: dict[Word, Number | None] | None = Field(default=None, max_length=100)
    timeline: list[StepIn] = Field(default=[], max_length=20_000)
    replicas: list[LifeIn] = Field(default=[], max_length=2000)
    seconds: list[SecondIn] = Field(default=[], max_length=20_000)
    troubles: list[TroubleIn] = Field(default=[], max_length=1000)
    troubles_left_out: Count | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.measured is not None and (self.at is None or "timeline" not in self.model_fields_set):
            raise ValueError("figures without the moment of the fault, or without a timeline")
        return self

    def dump(self) -> str:
        """As it was told."""
        return self.model_dump_json(exclude_unset=True)
