"""Floors by the calendar: windows that open at the times of a cron expression and stay open for a while."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Cron:
    """The five fields of crontab(5), as sets of numbers; Sunday is 0. `any_day`, `any_weekday`: it begins with `*`."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    @staticmethod
    def parse(text: str) -> Cron:
        """`minute hour day-of-month month day-of-week`: `*`, lists, ranges, steps, names of months and days.

        Raises:
            ValueError: one sentence.
        """
        parts = text.split()
        if len(parts) != len(_FIELDS):
            raise ValueError(f"{text!r} has {len(parts)} fields; write minute, hour, day of month, month, day of week")
        sets = [_field(part, *known) for part, known in zip(parts, _FIELDS, strict=True)]
        weekdays = frozenset(day % 7 for day in sets[4])
        return Cron(sets[0], sets[1], sets[2], sets[3], weekdays, parts[2][0] == "*", parts[4][0] == "*")

    def on(self, day: datetime) -> bool:
        """Whether it fires on that date. As crontab(5): where both day fields are given, either will do."""
        if day.month not in self.months:
            return False
        by_date, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return by_date and by_weekday
        return by_date or by_weekday


def _field(text: str, name: str, low: int, high: int) -> frozenset[int]:
    return frozenset(value for part in text.split(",") for value in _part(part, name, low, high))


def _part(text: str, name: str, low: int, high: int) -> range:
    span, _, step_text = text.partition("/")
    step = 1 if "/" not in text else _number(step_text, "step", 1, high)
    if span == "*":
        first, last = low, high
    else:
        begin, dash, end = span.partition("-")
        first = _number(begin, name, low, high)
        last = _number(end, name, low, high) if dash else (high if "/" in text else first)
    if first > last:
        raise ValueError(f"{text!r} is no {name}: {first} comes after {last}")
    return range(first, last + 1, step)


def _number(text: str, name: str, low: int, high: int) -> int:
    words, first = {"month": (_MONTHS, 1), "day of week": (_DAYS, 0)}.get(name, ((), 0))
    if text.lower() in words:
        return words.index(text.lower()) + first
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ValueError(f"{text!r} is no {name}; write a number from {low} to {high}")
    return int(text)


@dataclass(frozen=True, slots=True)
class FloorWindow:
    """From each time of `start` on, for `duration`, the floor is at least `floor`. Times are those of `timezone`."""

    start: str
    duration: timedelta
    floor: int
    timezone: str = "UTC"
    cron: Cron = field(init=False)
    zone: tzinfo = field(init=False)

    def __post_init__(self) -> None:
        if not timedelta(minutes=1) <= self.duration <= _LONGEST:
            raise ValueError(f"a scheduled floor lasts {self.duration}; make it between 1 minute and 31 days")
        if self.floor < 1:
            raise ValueError(f"a scheduled floor is {self.floor}; it must be at least 1")
        object.__setattr__(self, "cron", Cron.parse(self.start))
        object.__setattr__(self, "zone", _zone(self.timezone))

    def open_at(self, now: datetime) -> bool:
        """Whether `now` lies in one of its windows. The newest start is all that counts: windows may overlap."""
        local = now.astimezone(self.zone)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        for back in range(self.duration.days + 2):
            day = midnight - timedelta(days=back)
            if self.cron.on(day):
                started = self._newest_start(day, local)
                if started is not None:
                    return local - started < self.duration
        return False

    def _newest_start(self, day: datetime, local: datetime) -> datetime | None:
        for hour in sorted(self.cron.hours, reverse=True):
            for minute in sorted(self.cron.minutes, reverse=True):
                start = day.replace(hour=hour, minute=minute)
                if start <= local:
                    return start
        return None


def _zone(name: str) -> tzinfo:
    """Read once, when the policy is made. UTC needs no database of time zones."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone here; write one such as UTC or Europe/Berlin") from error
