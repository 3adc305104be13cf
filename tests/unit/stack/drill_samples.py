"""A drill as tests tell it: a kill among three replicas, with its successor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from controller.stack.drill.facts import Before, Ending, Fault, Happened, Look, Recording, Request, Seen
from controller.stack.drill.measure import measure
from controller.stack.drill.promise import Pace, judge
from controller.stack.drill.result import Drill

AT = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
NAMES = ("small-1", "small-2", "small-3")


def look(at_s: float, *serving: str, desired: int | None = 3, **others: str) -> Look:
    """`serving` get requests; the others (small_4="starting") do not."""
    seen = [Seen(name, "ready", routed=True) for name in serving]
    seen += [Seen(name.replace("_", "-"), state, routed=False) for name, state in others.items()]
    return Look(at_s, tuple(sorted(seen, key=lambda one: one.replica)), desired)


def told(at_s: float, event: str, subject: str = "gateway", message: str = "", reason: str = "Because") -> Happened:
    """One event."""
    return Happened(at_s, event, subject, reason, message)


def reloaded(at_s: float, *names: str) -> Happened:
    """nginx has these from now on."""
    return told(at_s, "gateway_reloaded", message=f"Sends requests to other: o-1; small: {', '.join(names) or 'none'}.")


def request(ended_s: float, ending: Ending = Ending.OK, took_s: float = 0.5, *, first: bool = True) -> Request:
    """One that ended then."""
    sent_s = ended_s - took_s
    first_s = sent_s + took_s / 2 if first else None
    return Request(sent_s, first_s, ended_s, ending, streamed=True, why="" if ending is Ending.OK else "it broke")


KILLED = Recording(
    fault=Fault.KILL,
    pool="small",
    at=AT,
    victims=("small-1",),
    before=Before(NAMES, 3),
    began_s=-3.0,
    ended_s=9.0,
    looks=(
        look(-3.0, *NAMES),
        look(0.1, *NAMES),
        look(0.6, "small-2", "small-3", small_1="stopped", small_4="starting"),
        look(1.0, "small-2", "small-3", small_4="starting"),
        look(6.5, "small-2", "small-3", "small-4"),
    ),
    events=(
        told(0.3, "replica_stopped", "replica/small-1", "Was ready, is stopped: it exited."),
        reloaded(0.5, "small-2", "small-3"),
        told(0.5, "replica_started", "replica/small-4", "2 of 3 replicas start or serve."),
        told(0.9, "replica_removed", "replica/small-1", "It exited."),
        told(6.3, "replica_ready", "replica/small-4", "Was starting, is ready."),
        reloaded(6.4, "small-2", "small-3", "small-4"),
    ),
    requests=(
        *(request(-2.5 + place / 4) for place in range(8)),
        request(0.2, Ending.CUT),
        *(request(1.0 + place / 2, took_s=0.8) for place in range(14)),
    ),
    retried=2,
)


def changed(recording: Recording = KILLED, **fields: object) -> Recording:
    """The same with other fields."""
    return replace(recording, **fields)  # type: ignore[arg-type]


def without(events: Sequence[Happened], *names: str) -> tuple[Happened, ...]:
    """The events of other names."""
    return tuple(one for one in events if one.event not in names)


def drilled(recording: Recording = KILLED) -> Drill:
    """Measured and judged with the usual settings."""
    measured = measure(recording)
    return Drill.judged(recording, measured, judge(recording.fault, Pace(), measured))
