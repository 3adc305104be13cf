"""Once per tick, after all healing: nginx knows the usable keys, and whose token quota is used up.

What is away (the database, Prometheus, nginx) leaves everything as it was, and is told as an event.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from controller.core.access import KEY_ID, Admitted, ApiKey, KeyId, admit
from controller.core.errors import GatewayUnavailable, LostLease, MetricsUnavailable, TransientError
from controller.core.event import Event
from controller.core.quota import DayUsage, QuotaMemory, TokenLimits, fold, recall
from controller.core.streams import Stream, add_up
from controller.ports import AccessState, Sample
from controller.reconcile import narrate_access as narrate
from controller.reconcile.parts import AccessParts, Parts

# The second half is there as soon as the exporter was scraped: no key at all is an answer then, and else nothing is.
TOKENS = 'sum by (key, instance) (stoker_edge_tokens_total{job="edge"}) or sum(stoker_edge_log_lines_total{job="edge"})'
_SAVE_EVERY = timedelta(seconds=10)
_REMEMBERED = timedelta(days=1)  # a day that has just begun is counted on from the end of the one before


@dataclass(frozen=True, slots=True)
class _Known:
    """The keys as they were read last, and what follows from them."""

    version: int
    keys: Mapping[KeyId, ApiKey]
    admitted: Admitted
    plans: Mapping[str, TokenLimits]
    limits: Mapping[KeyId, TokenLimits]

    def holds(self, version: int, plans: Mapping[str, TokenLimits], now: datetime) -> bool:
        """Whether all is as it was: no key and no plan was changed, and no key has ended since."""
        same = self.version == version and self.plans == plans
        return same and (self.admitted.until is None or now < self.admitted.until)


class AccessKeeper:
    """Keeps nginx and the counts up to date. One thread runs it; `state` is for all who only look."""

    def __init__(self, parts: Parts, access: AccessParts) -> None:
        self._parts, self._access = parts, access
        self._known: _Known | None = None
        self._quota: QuotaMemory | None = None
        self._applied: narrate.Applied | None = None  # what nginx took last
        self._unsaved: dict[tuple[KeyId, date], DayUsage] = {}
        self._counters: dict[Stream, float] | None = None  # as each gateway said last
        self._fresh: dict[Stream, float] = {}  # of these, what is not saved yet
        self._saved_at: datetime | None = None
        self.state = AccessState()

    def run(self, *, look: bool = False) -> list[Event]:
        """What came of it. Blocks for at most the sum of the ports' deadlines. Raises `LostLease`.

        `look`: nginx is asked what it knows, though it was told just now.
        """
        now = self._parts.clock.now()
        events = self._read(now)
        if self._known is None or self._quota is None or self._known.version == 0:
            # Never a key in this database: what nginx has, it has from another one, and goes on with.
            return events
        events += self._count(self._known, self._quota, now)
        events += self._apply(self._known, self._quota, now, look)
        if self._saved_at is None or not timedelta(0) <= now - self._saved_at < _SAVE_EVERY:
            events += self._save(now)
        self.state = AccessState(len(self._known.admitted.records), self._quota, bool(self._access.limits))
        return events

    def close(self) -> list[Event]:
        """Save what was counted: the lead ends. Blocks for at most 5 s."""
        with contextlib.suppress(LostLease):  # the next one counts on from what was saved before
            return self._save(self._parts.clock.now())
        return []

    def _read(self, now: datetime) -> list[Event]:
        try:
            before, version = self._known, self._access.keys.keys_version()
            if before is None or not before.holds(version, self._access.limits, now):
                self._known = self._judge(before, version, now)
            if self._quota is None and self._known is not None:
                stored = self._access.keys.usage((now - _REMEMBERED).date())
                self._quota = recall(stored, self._known.limits, now)
            if self._counters is None and self._access.counters is not None:
                self._counters = dict(self._access.counters.counters())
        except TransientError as error:
            return [narrate.failed("keys_read_failed", "keys", error, now)]
        if self._known is before or self._known is None:
            return []
        return narrate.of_strange(before.admitted.strange if before else (), self._known.admitted.strange, now)

    def _judge(self, before: _Known | None, version: int, now: datetime) -> _Known:
        """Only what changed is read. The version, which was read before the keys, is at worst too old: then they are
        read once more."""
        if before is None or version < before.version:  # a database that came back from an older copy
            keys = {key.id: key for key in self._access.keys.list_keys()}
        elif version != before.version:
            keys = {**before.keys, **{key.id: key for key in self._access.keys.list_keys(before.version)}}
        else:
            keys = dict(before.keys)
        plans = dict(self._access.limits)
        quotas = ((key.id, plans.get(key.plan or "")) for key in keys.values() if key.usable(now))
        limits = {name: quota for name, quota in quotas if quota is not None}
        return _Known(version, keys, self._admit(before, keys, now), plans, limits)

    def _admit(self, before: _Known | None, keys: Mapping[KeyId, ApiKey], now: datetime) -> Admitted:
        """The same records again where only a plan was changed: nginx and the others compare them by identity."""
        admitted = admit(keys.values(), now)
        return before.admitted if before is not None and admitted == before.admitted else admitted

    def _count(self, known: _Known, before: QuotaMemory, now: datetime) -> list[Event]:
        if not self._access.limits:
            return []
        after = fold(before, self._tokens(before), known.limits, now)
        for key, usage in after.usage.items():
            old = before.usage.get(key)
            if old is None or old.total != usage.total:
                self._unsaved[key, usage.total.day] = usage.total
        self._quota = after
        return narrate.of_blocks(before, after, known.limits, now)

    def _tokens(self, before: QuotaMemory) -> Mapping[KeyId, float] | None:
        """Tokens of each key since its counter began; None: not known. The tick tells that Prometheus is away."""
        try:
            samples = self._parts.metrics.query(TOKENS)
        except MetricsUnavailable:
            return None
        if not samples:
            return None
        found = ((Stream(sample.labels.get("instance", ""), _key(sample)), sample.value) for sample in samples)
        readings = {stream: value for stream, value in found if KEY_ID.fullmatch(stream.key)}
        if self._counters is None:
            return {stream.key: value for stream, value in readings.items()}
        sums = add_up(self._counters, {key: usage.total.counter for key, usage in before.usage.items()}, readings)
        self._fresh |= {stream: value for stream, value in sums.last.items() if self._counters.get(stream) != value}
        self._counters = dict(sums.last)
        return sums.counters

    def _apply(self, known: _Known, quota: QuotaMemory, now: datetime, look: bool) -> list[Event]:
        try:
            told = self._access.gate.apply(known.admitted.records, quota.blocks, look=look)
        except GatewayUnavailable as error:
            return [narrate.failed("keys_apply_failed", "gateway", error, now)]
        before, self._applied = self._applied, (known.admitted.records, quota.blocks)
        return narrate.of_applied(before, self._applied, now) if told else []

    def _save(self, now: datetime) -> list[Event]:
        """What has changed since the last time. What cannot be saved is kept for the next time."""
        if not self._unsaved and not self._fresh:
            return []
        self._saved_at = now
        try:
            if self._access.counters is not None and self._fresh:
                # First: what is lost between the two is counted by nobody, and else it would be counted twice.
                self._access.counters.save_counters(self._fresh, now)
                self._fresh = {}
            if self._unsaved:
                self._access.keys.save_usage(tuple(self._unsaved.values()))
                self._unsaved.clear()
        except TransientError as error:
            return [narrate.failed("usage_save_failed", "keys", error, now)]
        return []


def _key(sample: Sample) -> KeyId:
    return KeyId(sample.labels.get("key", ""))
