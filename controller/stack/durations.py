"""Times on the command line, written as in the configuration."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from controller.settings.values import Duration, DurationOrNone
from controller.stack.trouble import Trouble

_ABOVE_ZERO: TypeAdapter[timedelta] = TypeAdapter(Duration)
_FROM_ZERO: TypeAdapter[timedelta] = TypeAdapter(DurationOrNone)


def seconds(option: str, text: str) -> float:
    """A time above 0. Raises `Trouble`."""
    return _parse(option, text, _ABOVE_ZERO)


def seconds_or_none(option: str, text: str) -> float:
    """A time, or 0s. Raises `Trouble`."""
    return _parse(option, text, _FROM_ZERO)


def _parse(option: str, text: str, kind: TypeAdapter[Any]) -> float:
    try:
        found: timedelta = kind.validate_python(text)
    except ValidationError as error:
        raise Trouble(f"{option}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error
    return found.total_seconds()
