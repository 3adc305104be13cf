"""Token quotas: counters of each key, read again and again -> what it used, and until when it is refused.

Pure. What is counted is the growth between two readings; a counter that fell began anew, at zero. A minute is the 60
seconds before now; a day is a day of UTC.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from controller.core.access import KeyId

MINUTE = timedelta(seconds=60)
_FORGOTTEN = timedelta(days=2)  # a key that is not in the readings for so long has another counter if it comes back


class QuotaKind(StrEnum):
    """Which quota is used up."""

    MINUTE = "minute"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """Of a plan. None: no limit."""

    per_minute: int | None = None
    per_day: int | None = None

    def any(self) -> bool:
        """Whether there is one."""
        return self.per_minute is not None or self.per_day is not None


@dataclass(frozen=True, slots=True)
class Block:
    """A key is refused until then."""

    until: datetime
    why: QuotaKind

    def text(self) -> str:
        """As nginx reads it: `UNTIL WHY`, in whole seconds since the epoch."""
        return f"{math.ceil(self.until.timestamp())} {self.why.value}"


@dataclass(frozen=True, slots=True)
class DayUsage:
    """What a key used in a day, as it is stored. `counter` is what that was counted up to, and `at` when."""

    key: KeyId
    day: date
    tokens: float
    counter: float
    at: datetime


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """The total of a key's newest day, and what it used lately: a moment and its tokens, oldest first."""

    total: DayUsage
    recent: tuple[tuple[datetime, float], ...] = ()

    def today(self, now: datetime) -> float:
        """Tokens of this day. A clock that was set back over midnight gives nobody a second day."""
        return self.total.tokens if self.total.day >= _day(now) else 0.0

    def lately(self, now: datetime) -> tuple[tuple[datetime, float], ...]:
        """What has not left the window of a minute. What comes from the future was a clock that went wrong."""
        return tuple(step for step in self.recent if now - MINUTE < step[0] <= now)

    def last_minute(self, now: datetime) -> float:
        """Tokens of the window."""
        return sum(tokens for _, tokens in self.lately(now))


@dataclass(frozen=True, slots=True)
class QuotaMemory:
    """What a tick hands to the next one. `read_at`: the last reading of this process; none was yet."""

    usage: Mapping[KeyId, KeyUsage] = field(default_factory=dict)
    blocks: Mapping[KeyId, Block] = field(default_factory=dict)
    read_at: datetime | None = None


def recall(stored: Iterable[DayUsage], limits: Mapping[KeyId, TokenLimits], now: datetime) -> QuotaMemory:
    """What a new leader begins with: the newest day of each key, and the blocks that follow from it."""
    usage: dict[KeyId, KeyUsage] = {}
    for total in stored:
        known = usage.get(total.key)
        if known is None or known.total.day < total.day:
            usage[total.key] = KeyUsage(total)
    return QuotaMemory(usage, _blocks(usage, limits, now))


def fold(
    memory: QuotaMemory, readings: Mapping[KeyId, float] | None, limits: Mapping[KeyId, TokenLimits], now: datetime
) -> QuotaMemory:
    """Count what was used since the last reading. None is unknown: then nothing changes but that blocks end.

    A key that was not there before is counted from zero, unless this is the first reading of all: then nobody knows
    when its counter began, and nothing is counted of it.
    """
    if readings is None:
        standing = {key: block for key, block in memory.blocks.items() if block.until > now}
        return replace(memory, blocks=standing)
    kept = memory.usage.items()
    usage = {key: known for key, known in kept if key in readings or now - known.total.at < _FORGOTTEN}
    for key, counter in readings.items():
        if math.isfinite(counter) and counter >= 0:
            usage[key] = _count(usage.get(key), DayUsage(key, _day(now), 0.0, counter, now), memory.read_at)
    return QuotaMemory(usage, _blocks(usage, limits, now), now)


def _count(known: KeyUsage | None, fresh: DayUsage, read_at: datetime | None) -> KeyUsage:
    """`fresh` is the reading, with no tokens yet."""
    if known is None:
        grown = 0.0 if read_at is None else fresh.counter
        return KeyUsage(replace(fresh, tokens=grown), ((fresh.at, grown),) if grown else ())
    before, now = known.total, fresh.at
    if fresh.counter == before.counter:
        return known
    grown = fresh.counter - before.counter if fresh.counter > before.counter else fresh.counter
    day = max(fresh.day, before.day)
    tokens = grown + (before.tokens if day == before.day else 0.0)
    share = _share(now - (read_at or before.at))
    return KeyUsage(replace(fresh, day=day, tokens=tokens), (*known.lately(now), (now, grown * share)))


def _share(gap: timedelta) -> float:
    """Of what was used over a gap between two readings, how much belongs to its last minute."""
    return 1.0 if gap <= MINUTE else MINUTE / gap


def _blocks(usage: Mapping[KeyId, KeyUsage], limits: Mapping[KeyId, TokenLimits], now: datetime) -> dict[KeyId, Block]:
    found = {key: _block(known, limits[key], now) for key, known in usage.items() if key in limits}
    return {key: block for key, block in found.items() if block is not None}


def _block(known: KeyUsage, limits: TokenLimits, now: datetime) -> Block | None:
    """The one that lasts longer, where both quotas are used up."""
    found = []
    if limits.per_day is not None and known.today(now) >= limits.per_day:
        found.append(Block(_midnight_after(known.total.day), QuotaKind.DAY))
    if limits.per_minute is not None and known.last_minute(now) >= limits.per_minute:
        found.append(Block(_room_at(known.lately(now), limits.per_minute), QuotaKind.MINUTE))
    return max(found, key=lambda block: block.until, default=None)


def _room_at(steps: tuple[tuple[datetime, float], ...], limit: int) -> datetime:
    """When so much has left the window that the rest is below the limit."""
    left = sum(tokens for _, tokens in steps)
    for at, tokens in steps:
        left -= tokens
        if left < limit:
            return at + MINUTE
    return steps[-1][0] + MINUTE  # sums of fractions need not come to zero


def _day(at: datetime) -> date:
    return at.astimezone(UTC).date()


def _midnight_after(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), UTC)
