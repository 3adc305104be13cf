"""One event per line on stderr, as `key=value` pairs that a person and a log store can both read."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime


def timestamp(at: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and a Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def line(at: datetime, event: str, fields: dict[str, object]) -> str:
    """The line without its end. Text with spaces, quotes or `=` is quoted, floats have two decimals."""
    pairs = {"ts": timestamp(at), "event": event, **fields}
    return " ".join(f"{key}={_value(value)}" for key, value in pairs.items())


def log(event: str, **fields: object) -> None:
    """Write one event to stderr."""
    # One write per line: the engine writes to the same stderr, and print() would send the end of the line apart.
    sys.stderr.write(line(datetime.now(UTC), event, fields) + "\n")
    sys.stderr.flush()


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    text = str(value)
    if text and text.isprintable() and not set(text) & set(' "='):
        return text
    return json.dumps(text, ensure_ascii=False)
