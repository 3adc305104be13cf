"""What became of the API keys -> events, in the words that people read. They name keys by their ids only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from controller.core.access import KeyId
from controller.core.event import Event
from controller.core.quota import Block, KeyUsage, QuotaKind, QuotaMemory, TokenLimits

Applied = tuple[Mapping[str, str], Mapping[KeyId, Block]]  # records and blocks
_REASONS = {QuotaKind.MINUTE: "MinuteQuota", QuotaKind.DAY: "DayQuota"}
_SPANS = {QuotaKind.MINUTE: "the last minute", QuotaKind.DAY: "this day"}


def failed(event: str, subject: str, error: Exception, at: datetime) -> Event:
    """Something could not be done now."""
    return Event(at, event, subject, type(error).__name__, str(error))


def of_strange(before: Sequence[KeyId], now: Sequence[KeyId], at: datetime) -> list[Event]:
    """Keys that are left out, since nginx could misread them."""
    message = "Is left out of nginx: its id, digest, plan or models have characters that have no place there."
    return [Event(at, "key_left_out", f"key/{key}", "BadRecord", message) for key in now if key not in before]


def of_applied(before: Applied | None, after: Applied, at: datetime) -> list[Event]:
    """nginx was told something: other keys than before, other blocks, or what it knew before it was started anew."""
    records, blocks = after
    numbers = {"keys": float(len(records))}
    known = f"{len(records)} keys" if len(records) != 1 else "1 key"
    if before is None or before[0] is not records:
        return [Event(at, "keys_applied", "gateway", "KeysChanged", f"Lets {known} in.", numbers)]
    if before[1] == blocks:
        message = f"Did not know the keys any more, and lets {known} in again."
        return [Event(at, "keys_applied", "gateway", "NginxForgot", message, numbers)]
    return []


def of_blocks(
    before: QuotaMemory, after: QuotaMemory, limits: Mapping[KeyId, TokenLimits], at: datetime
) -> list[Event]:
    """Keys that have used up a quota, and those that have not any more."""
    begun = [
        _blocked(key, block, after.usage[key], limits[key], at)
        for key, block in after.blocks.items()
        if key not in before.blocks or before.blocks[key].why is not block.why
    ]
    ended = [
        Event(at, "key_unblocked", f"key/{key}", _REASONS[block.why], "Is let in again.")
        for key, block in before.blocks.items()
        if key not in after.blocks and key in limits
    ]
    return begun + ended


def _blocked(key: KeyId, block: Block, usage: KeyUsage, limits: TokenLimits, at: datetime) -> Event:
    minute = block.why is QuotaKind.MINUTE
    used, limit = (usage.last_minute(at), limits.per_minute) if minute else (usage.today(at), limits.per_day)
    until = block.until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    message = f"Used {used:.0f} of {limit} tokens of {_SPANS[block.why]}; it is refused until {until}."
    numbers = {"used": float(round(used)), "limit": float(limit or 0)}
    return Event(at, "key_blocked", f"key/{key}", _REASONS[block.why], message, numbers)
