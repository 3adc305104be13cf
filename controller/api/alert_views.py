"""Alerts, and what followed on each -> what the API answers. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from controller.api.alert_schemas import AlertOut, FollowedOut
from controller.core.alerts import KnownAlert
from controller.core.decision import ScalePool
from controller.core.event import Event
from controller.ports import Recorded

SEARCHED = 1000  # of the newest decisions, and of the newest events
_BEFORE = timedelta(minutes=1)
_FAR = datetime.max.replace(tzinfo=UTC)


class Ledger:
    """Its newest decisions and events, newest first as they come, to find what followed on something."""

    def __init__(self, decisions: Sequence[Recorded], events: Sequence[Event]) -> None:
        self._decisions: defaultdict[str, list[Recorded]] = defaultdict(list)
        self._events: defaultdict[str, list[Event]] = defaultdict(list)
        for item in reversed(decisions):
            for subject in _subjects(item):
                self._decisions[subject].append(item)
        for event in reversed(events):
            self._events[event.subject].append(event)

    def followed(self, known: KnownAlert) -> FollowedOut | None:
        """The first decision about its pool, or its node, while it fired; else the last one of the minute before, since
        ticks see what alerts go by and wait for none. Else the first event of these while it fired."""
        alert = known.alert
        start, end = alert.starts_at, _FAR if alert.firing else known.changed_at
        subject = f"pool/{alert.pool}" if alert.pool else f"node/{alert.node}"
        decisions = self._decisions[subject]
        at = bisect_left(decisions, start, key=lambda item: item.at)
        if at < len(decisions) and decisions[at].at <= end:
            return _of_decision(decisions[at], before=False)
        if at > 0 and start - decisions[at - 1].at <= _BEFORE:
            first = bisect_left(decisions, decisions[at - 1].at, key=lambda item: item.at)  # of that tick
            return _of_decision(decisions[first], before=True)
        for told in (subject, f"replica/{alert.labels.get('replica', '')}"):
            events = self._events[told]
            at = bisect_left(events, start, key=lambda event: event.at)
            if at < len(events) and events[at].at <= end:
                return _of_event(events[at])
        return None


def alerts_of(known: Iterable[KnownAlert], ledger: Ledger) -> list[AlertOut]:
    """In the order in which they come."""
    return [_alert(one, ledger) for one in known]


def _alert(known: KnownAlert, ledger: Ledger) -> AlertOut:
    alert = known.alert
    return AlertOut(
        fingerprint=alert.fingerprint,
        status="firing" if alert.firing else "resolved",
        alert=alert.name,
        severity=alert.labels.get("severity", ""),
        pool=alert.pool,
        since=alert.starts_at,
        came_at=known.came_at,
        resolved_at=None if alert.firing else known.changed_at,
        heard_at=known.heard_at,
        summary=alert.annotations.get("summary", ""),
        labels=dict(alert.labels),
        annotations=dict(alert.annotations),
        followed=ledger.followed(known),
    )


def _subjects(item: Recorded) -> Iterable[str]:
    yield f"pool/{item.decision.pool}"
    node = getattr(item.decision, "node", None)
    if node:
        yield f"node/{node}"


def _of_decision(item: Recorded, *, before: bool) -> FollowedOut:
    decision = item.decision
    why = "; ".join(reason.text for reason in decision.reasons)
    if isinstance(decision, ScalePool):
        text = f"from {decision.current} to {decision.desired}: {why}"
        return FollowedOut(at=item.at, kind=decision.kind, subject=f"pool/{decision.pool}", text=text, before=before)
    return FollowedOut(at=item.at, kind=decision.kind, subject=f"replica/{decision.replica}", text=why, before=before)


def _of_event(event: Event) -> FollowedOut:
    return FollowedOut(at=event.at, kind=event.event, subject=event.subject, text=event.message)
