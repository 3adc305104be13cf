"""Alerts that others raise and tell the controller of: what is known of each. They only wake the tick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from controller.core.basics import PoolName

# Alertmanager repeats what fires every minute. One that it repeats no longer was silenced or inhibited, or its end was
# told while nobody listened.
FORGOTTEN_AFTER = timedelta(minutes=5)
RESOLVED_KEPT = timedelta(hours=1)
# An old word that comes once is a replay. Coming again after so long it is what is said now: a clock was set back, or
# an alert whose end was only presumed goes on.
BELIEVED_AFTER = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Alert:
    """What was said of one. Labels and annotations are printable, and of limited number and length.

    `presumed`: its start is when this word came, since nothing of use was said of it.
    """

    fingerprint: str  # of the labels
    firing: bool
    starts_at: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    presumed: bool = False

    @property
    def name(self) -> str:
        """Of the rule."""
        return self.labels.get("alertname", "")

    @property
    def pool(self) -> PoolName | None:
        """The pool that it is about."""
        return PoolName(self.labels["pool"]) if self.labels.get("pool") else None

    @property
    def node(self) -> str | None:
        """The node that it is about."""
        return self.labels.get("node") or None


@dataclass(frozen=True, slots=True)
class KnownAlert:
    """The newest word of an alert, and when it came."""

    alert: Alert
    came_at: datetime  # the first word of it since it began
    changed_at: datetime  # the first word of its being as it is
    heard_at: datetime  # the last one
    doubted_at: datetime | None = None  # an older word came then

    def worth_keeping(self, now: datetime) -> bool:
        """Whether it still says something of now, or of the last hour."""
        if self.alert.firing:
            return now - self.heard_at < FORGOTTEN_AFTER
        return now - self.changed_at < RESOLVED_KEPT


@dataclass(frozen=True, slots=True)
class HeardAlerts:
    """What came of one message: by status, and how many were news, known already, or more than can be kept."""

    firing: int = 0
    resolved: int = 0
    news: int = 0
    repeated: int = 0
    left_out: int = 0


def hear(known: KnownAlert | None, said: Alert, now: datetime) -> tuple[KnownAlert, bool]:
    """What is known then, and whether it is news. Words are in order of start and, of one start, firing first."""
    if known is None:
        return KnownAlert(said, now, now, now), True
    if said.presumed and (known.alert.firing or not said.firing):  # it goes on, or ends: when it began is known by now
        said = replace(said, starts_at=known.alert.starts_at)
    before, word = _order(known.alert), _order(said)
    if word == before:
        return replace(known, alert=said, heard_at=now, doubted_at=None), False
    if word < before and not _insisted(known, now):
        return known if _doubted(known, now) else replace(known, doubted_at=now), False
    came_at = known.came_at if said.starts_at == known.alert.starts_at else now
    return KnownAlert(said, came_at, now, now), True


def _order(alert: Alert) -> tuple[datetime, bool]:
    return (alert.starts_at, not alert.firing)


def _doubted(known: KnownAlert, now: datetime) -> bool:
    return known.doubted_at is not None and now - known.doubted_at < FORGOTTEN_AFTER


def _insisted(known: KnownAlert, now: datetime) -> bool:
    """Whether old words have been coming for long enough to be believed."""
    return _doubted(known, now) and known.doubted_at is not None and now - known.doubted_at >= BELIEVED_AFTER
