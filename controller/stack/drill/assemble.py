"""What was recorded on two clocks -> one recording in seconds after the fault. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from controller.stack.api_client import Row
from controller.stack.drill.facts import Happened, Look, Request


@dataclass(frozen=True, slots=True)
class Moment:
    """One time on both clocks: `at_s` is monotonic. `took_s` went by until what was begun had come."""

    at: datetime
    at_s: float
    took_s: float = 0.0


def events_after(
    rows: Iterable[Row], known: frozenset[tuple[str, ...]], moment: Moment, until_s: float
) -> list[Happened]:
    """Those that were not there before the fault. An event has the time of its tick's beginning: never before 0."""
    found = [
        Happened(
            max((datetime.fromisoformat(row["at"]) - moment.at).total_seconds(), 0.0),
            row["event"],
            row["subject"],
            row["reason"],
            row["message"],
        )
        for row in rows
        if key(row) not in known
    ]
    return [one for one in found if one.at_s <= until_s]


def key(row: Row) -> tuple[str, ...]:
    """What tells one event from another."""
    return (row["at"], row["event"], row["subject"], row["reason"])


def looks_after(looks: Sequence[Look], moment: Moment) -> list[Look]:
    """The same on the recording's clock."""
    return [replace(look, at_s=look.at_s - moment.at_s) for look in looks]


def requests_after(requests: Sequence[Request], moment: Moment) -> list[Request]:
    """The same on the recording's clock, in the order in which they ended."""

    def moved(at_s: float) -> float:
        return at_s - moment.at_s

    shifted = [
        replace(
            one,
            sent_s=moved(one.sent_s),
            first_s=None if one.first_s is None else moved(one.first_s),
            ended_s=moved(one.ended_s),
        )
        for one in requests
    ]
    return sorted(shifted, key=lambda one: one.ended_s)
