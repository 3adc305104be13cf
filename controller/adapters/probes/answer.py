"""What a launcher answers to a probe -> ProbeHistory. Pure."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

from controller.core.model import LauncherPhase, ProbeHistory

_STATUS = "/status"
_STAGES = ("fetch", "load", "warm", "first_token")


def read_answer(status: int, body: bytes, path: str, at: datetime) -> ProbeHistory:
    """One answer -> one result with `in_a_row` 1. Whatever is not what a launcher says is a failure with its why."""
    if status != 200:
        return ProbeHistory(at, False, 1, f"answered {status}")
    if path != _STATUS:
        return ProbeHistory(at, True, 1)
    try:
        return _read_status(json.loads(body), at)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ProbeHistory(at, False, 1, "the launcher's status is not what it should be")


def _read_status(said: dict[str, object], at: datetime) -> ProbeHistory:
    """Raises ValueError, KeyError, TypeError, AttributeError or RecursionError where it is none."""
    phase = LauncherPhase(str(said["phase"]))
    answering = said["answering"] is True
    # JSON may hold half a character, which neither a log nor a database takes.
    detail = str(said.get("detail") or "")[:500].encode("utf-8", "replace").decode()
    ok = phase is LauncherPhase.READY and answering
    if not detail and not ok:
        detail = "the engine does not answer" if phase is LauncherPhase.READY else f"the launcher is {phase.value}"
    ahead = _ahead(said, at)
    return ProbeHistory(
        at,
        ok,
        1,
        detail,
        phase,
        _count(said.get("in_flight")),
        _count(said.get("waiting")),
        _time(said.get("last_token_at"), ahead),
        _time(said.get("began_at"), ahead),
        _stages(said.get("stages")),
    )


def _ahead(said: dict[str, object], at: datetime) -> timedelta:
    """How far the launcher's clock is ahead of ours: that of a node may be minutes off, and so is all that it tells."""
    theirs = _time(said.get("now"), timedelta(0))
    return timedelta(0) if theirs is None else theirs - at


def _time(value: object, ahead: timedelta) -> datetime | None:
    """By our clock; in UTC where it does not say."""
    if not isinstance(value, str):
        return None
    found = datetime.fromisoformat(value)
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)) - ahead


def _stages(value: object) -> tuple[tuple[str, float], ...]:
    """Those that we know, in their order."""
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no table of stages")
    return tuple((name, _seconds(value[name])) for name in _STAGES if value.get(name) is not None)


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{value!r} is no number of seconds")
    return float(value)


def _count(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
