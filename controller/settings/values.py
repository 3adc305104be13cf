"""Values of `stoker.yaml` that more than one section has: durations, sizes, shares, names, paths."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_SIZES = {"MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
_LARGEST = 1024.0**4 * 1_000_000
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(MiB|GiB|TiB)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S = 366 * 86400.0
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no duration; write a number with its unit, one of ms, s, m, h, d, such as 300s")
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds > _LONGEST_S:
        raise ValueError(f"{value!r} is longer than a year; write a shorter duration")
    return timedelta(seconds=seconds)


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("a duration must be above 0")
    return value


def _size(value: object) -> int:
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no size; write a number with its unit, one of MiB, GiB, TiB, such as 18GiB")
    size = float(match[1]) * _SIZES[match[2]]
    if size > _LARGEST:
        raise ValueError(f"{value!r} is larger than a million TiB; write a smaller size")
    return int(size)


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value  # strict mode takes no list for a tuple


def matching(pattern: str, told: str) -> AfterValidator:
    """A text that the pattern fits as a whole; of any other the refusal tells `told` behind it."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise ValueError(f"{value!r} {told}")
        return value

    return AfterValidator(check)


def _absolute(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError(f"{value!r} is no absolute path; the controller works in another folder, so begin with a /")
    return value


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
Duration = Annotated[timedelta, BeforeValidator(_duration), AfterValidator(_positive)]
DurationOrNone = Annotated[timedelta, BeforeValidator(_duration)]  # 0s is no time at all
Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Name = Annotated[
    str,
    matching(
        r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?",
        "is no name; use 1 to 40 lower-case letters, digits and inner hyphens",
    ),
]
ModelName = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}",
        "is no model name; use letters, digits and . _ : / - (at most 128)",
    ),
]
Listed = BeforeValidator(_tuple)  # of a tuple, which YAML writes as a list
Port = Annotated[int, Field(ge=1, le=65535)]


class Section(BaseModel):
    """A mapping in the file: unknown keys are refused, and "3" is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
