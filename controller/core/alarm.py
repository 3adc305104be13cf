"""An alert that the controller evaluates by itself: what holds, since when, and what somebody was told of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

Labels: TypeAlias = tuple[tuple[str, str], ...]
Key: TypeAlias = tuple[str, str, Labels]  # name and severity, too

FORGOTTEN_AFTER = timedelta(days=1)  # a resolved one that nobody took


class Severity(StrEnum):
    """How soon a person is needed: now, today, at leisure."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Standing(StrEnum):
    """Where an alarm stands. pending: it holds, and not for long enough yet."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition that holds at this moment. It fires once it has held for `lasts`, and then until it has not held for
    `keeps`.

    `labels` say whose it is, sorted by name, without `alertname` and `severity`.
    """

    name: str
    severity: Severity
    labels: Labels
    summary: str
    description: str
    lasts: timedelta = timedelta(0)
    keeps: timedelta = timedelta(0)

    @property
    def key(self) -> Key:
        """What tells it from all others."""
        return self.name, self.severity.value, self.labels


@dataclass(frozen=True, slots=True)
class Told:
    """What the receiver was told last of an alarm, and when."""

    standing: Standing
    at: datetime


@dataclass(frozen=True, slots=True)
class Alarm:
    """A finding over time.

    `since` is when it began to hold, `at` when it was last seen to, and `changed_at` when it began to stand as it does.
    """

    finding: Finding
    standing: Standing
    since: datetime
    changed_at: datetime
    at: datetime
    told: Told | None = None

    @property
    def key(self) -> Key:
        """See `Finding.key`."""
        return self.finding.key


def follow(
    standing: Mapping[Key, Alarm], found: Iterable[Finding], unknown: Collection[Key], now: datetime
) -> dict[Key, Alarm]:
    """What stands after a look: `found` holds, of `unknown` nobody can tell, and of all others it is known that they
    do not hold.

    What is unknown stays as it stood: it neither fires nor ends, and the time until it is known again does not count.
    """
    after: dict[Key, Alarm] = {}
    for finding in found:
        before = standing.get(finding.key)
        after[finding.key] = _held(before, finding, now)
    for key, before in standing.items():
        if key in after:
            continue
        kept = _unknown(before, now) if key in unknown else _over(before, now)
        if kept is not None:
            after[key] = kept
    return after


def _held(before: Alarm | None, finding: Finding, now: datetime) -> Alarm:
    told = before.told if before is not None else None
    if before is None or before.standing is Standing.RESOLVED:
        before = Alarm(finding, Standing.PENDING, now, now, now, told)
    since = min(before.since, now)  # the clock may have been set back
    fires = before.standing is Standing.PENDING and now - since >= finding.lasts
    if fires:
        return Alarm(finding, Standing.FIRING, since, now, now, told)
    return replace(before, finding=finding, since=since, at=now)


def _unknown(before: Alarm, now: datetime) -> Alarm:
    if before.standing is not Standing.PENDING:
        return before
    return replace(before, since=before.since + max(now - before.at, timedelta(0)), at=now)


def _over(before: Alarm, now: datetime) -> Alarm | None:
    """It ends, and is remembered until whoever knows of it has been told, for a day at most."""
    if before.standing is Standing.FIRING and timedelta(0) <= now - before.at < before.finding.keeps:
        return before
    known = before.told is not None and before.told.standing is Standing.FIRING
    if before.standing is Standing.FIRING or (before.standing is Standing.PENDING and known):
        return replace(before, standing=Standing.RESOLVED, changed_at=now, at=now)
    if before.standing is Standing.RESOLVED and known and now - before.changed_at < FORGOTTEN_AFTER:
        return before
    return None


def took(standing: Mapping[Key, Alarm], delivered: Iterable[Alarm], now: datetime) -> dict[Key, Alarm]:
    """The same once the receiver took these, each with when in `told`.

    One that was over before it was known to be taken stands again, as resolved: else the receiver would never hear.
    """
    after = dict(standing)
    for alarm in delivered:
        known = after.get(alarm.key)
        if known is not None:
            after[alarm.key] = replace(known, told=alarm.told)
        elif alarm.standing is Standing.FIRING:
            after[alarm.key] = replace(alarm, standing=Standing.RESOLVED, changed_at=now, at=now)
    return after


def due(standing: Iterable[Alarm], repeat: timedelta, now: datetime) -> list[Alarm]:
    """Those that the receiver has to be told of, in the order in which they changed."""
    found = [alarm for alarm in standing if _due(alarm, repeat, now)]
    return sorted(found, key=lambda alarm: (alarm.changed_at, alarm.key))


def _due(alarm: Alarm, repeat: timedelta, now: datetime) -> bool:
    told = alarm.told
    if alarm.standing is Standing.FIRING:
        return told is None or told.standing is not Standing.FIRING or now - told.at >= repeat
    return alarm.standing is Standing.RESOLVED and told is not None and told.standing is Standing.FIRING
