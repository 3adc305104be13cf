"""The ledger and the alerts of some time -> marks on a timeline. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode

from controller.api.activity import CRITICAL, severity_of, subject_of, was_to_stop
from controller.api.history import Told
from controller.api.timeline_schemas import MarkKind, MarkOut, Severity
from controller.core.decision import ScalePool
from controller.ports import Recorded, RecordedEvent

MOST = 100  # of a kind
_TOLD_S, _AROUND_S = 24 * 3600, 600

DRILLS = ("drill_started", "drill_ended")
PEOPLE = ("pool_paused", "pool_resumed", "bounds_set", "bounds_cleared")
# What went wrong, what that led to, and its end.
_WARNING = ("replica_unready", "replica_stopped", "replica_suspect", "spec_refused", "gpus_held")
_OVER = ("fuse_closed", "pool_released", "gateway_free", "placement_free", "spec_accepted", "gpus_free")
OF_POOLS = (*DRILLS, *PEOPLE, *CRITICAL, *_WARNING, *_OVER)
# Of no pool: of nodes, GPUs and sources. A pool may live on any.
OF_ALL = ("source_lost", "source_back", "gpu_cordoned", "gpu_released")
_SEVERITIES: dict[str, Severity] = {"critical": "critical", "warning": "warning"}


def alerts_query(pool: str) -> str:
    """When alerts about a pool fired, on the axis of the timeline. `pool` as it stands in a label's text."""
    return f'max by (alertname, severity) (max_over_time(ALERTS{{alertstate="firing", pool="{pool}"}}[$w]))'


def marks_of(
    decisions: Iterable[Recorded], events: Iterable[RecordedEvent], alerts: Told, pool: str, now: float
) -> tuple[list[MarkOut], dict[str, int]]:
    """By time, and how many of each kind are too many. What is given first of a kind stays. `now`: a Unix time."""
    made = [
        *(_of_decision(item) for item in decisions),
        *(_of_event(item) for item in events if not was_to_stop(item.event)),
        *_of_alerts(alerts, pool, now),
    ]
    kept: list[MarkOut] = []
    counts: Counter[str] = Counter()
    for mark in sorted(made, key=lambda mark: -mark.at):
        counts[mark.kind] += 1
        if counts[mark.kind] <= MOST:
            kept.append(mark)
    return kept[::-1], {kind: count - MOST for kind, count in counts.items() if count > MOST}


def _of_decision(item: Recorded) -> MarkOut:
    decision = item.decision
    why = "; ".join(reason.text for reason in decision.reasons)
    if isinstance(decision, ScalePool):
        text = f"From {decision.current} to {decision.desired}: {why}."
    else:
        text = f"{why[:1].upper()}{why[1:]}."
    return MarkOut(
        id=f"decision/{item.id}",
        kind="decision",
        what=decision.kind,
        at=item.at.timestamp(),
        severity="info" if item.outcome in (None, "done") else "warning",
        subject=subject_of(decision),
        text=text,
        href=f"/decisions/{item.id}",
    )


def _of_event(item: RecordedEvent) -> MarkOut:
    event = item.event
    kind: MarkKind = "drill" if event.event in DRILLS else "person" if event.event in PEOPLE else "failure"
    return MarkOut(
        id=f"event/{item.id}",
        kind=kind,
        what=event.event,
        at=event.at.timestamp(),
        severity=severity_of(event),
        subject=event.subject,
        text=event.message,
        href=f"/activity?event={item.id}",
    )


def _of_alerts(told: Told, pool: str, now: float) -> Iterator[MarkOut]:
    """One for each time in which an alert fired; its end is known where it fired no more within the axis."""
    times, to = told.axis.times, min(now, told.axis.times[-1] + told.axis.step)
    for (name, severity), column in told.columns("alertname", "severity").items():
        for first, last in _spells([value is not None for value in column]):
            ended = last + 1 < len(column)
            yield MarkOut(
                id=f"alert/{name}@{times[first]}",
                kind="alert",
                what=name,
                at=times[first],
                until=times[last + 1] if ended else None,
                severity=_SEVERITIES.get(severity, "info"),
                subject=name,
                text=f"{name} fired." if ended else f"{name} fires.",
                href=_explained(pool, name, times[first], times[last + 1] if ended else to, now),
            )


def _explained(pool: str, name: str, begun: float, ended: float, now: float) -> str:
    """The alert itself, as long as the page of alerts knows of it; what happened then afterwards."""
    if now - ended < _TOLD_S:
        return f"/alerts?{urlencode({'pool': pool, 'name': name, 'ended': '24h'})}"
    around = {"from": begun - _AROUND_S, "to": ended + _AROUND_S}
    times = {key: f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}" for key, at in around.items()}
    return f"/activity?{urlencode({'pool': pool, **times})}"


def _spells(fires: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """First and last index of each run of True."""
    first: int | None = None
    for at, firing in enumerate([*fires, False]):
        if firing and first is None:
            first = at
        elif not firing and first is not None:
            yield first, at - 1
            first = None
