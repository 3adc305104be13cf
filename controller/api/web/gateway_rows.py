"""The gateway as its page shows it: equal facts give equal rows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from controller.api.traffic_schemas import QuotaOut, TrafficOut
from controller.api.web.overview import ACT, CALM
from controller.core.revision import Revision, Standing

_SOON = timedelta(days=14)  # as the alert has it
_OURS = ("no_replica", "full")  # causes that no client can mend
_STATUS = {  # what a client gets
    "no_key": "401",
    "bad_key": "401",
    "expired_key": "401",
    "model_unknown": "404",
    "model_not_allowed": "403",
    "rate": "429",
    "concurrency": "429",
    "tokens": "429",
    "full": "503",
    "no_replica": "503",
    "body": "400, 413",
    "path": "404",
    "method": "405",
}
_MOST_LINES = 4000
_KINDS = (("+++", "file"), ("---", "file"), ("@@", "place"), ("+", "add"), ("-", "remove"))


class _Counted(Protocol):
    @property
    def requests(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Of one cause. `ours`: the client can do nothing about it. `share` is of all that were refused."""

    cause: str
    status: str
    count: int
    share: float
    ours: bool


@dataclass(frozen=True, slots=True)
class Used:
    """What a key has used of its quotas, as shares; None: no such quota."""

    quota: QuotaOut
    day: float | None
    minute: float | None


@dataclass(frozen=True, slots=True)
class Traffic:
    """All of the range, and what is made of it."""

    told: TrafficOut
    total: int
    failed: int
    refused: int
    retries: int
    refusals: tuple[Refusal, ...]
    quotas: tuple[Used, ...]

    @property
    def named(self) -> bool:
        """Whether whoever looks may know more of keys than their ids."""
        return self.told.keys_named

    @property
    def most_of_key(self) -> int:
        """Requests of the busiest key, or of all that have no line of their own."""
        return max((one.requests for one in (*self.told.keys, self.told.keys_left_out)), default=0)

    def share(self, one: _Counted) -> float:
        """Of all requests."""
        return one.requests / self.total if self.total else 0.0


def traffic_rows(told: TrafficOut) -> Traffic:
    """Sums and shares."""
    causes: Counter[str] = Counter()
    for plan in told.plans:
        causes.update(plan.refused)
    if not causes:
        for pool in told.pools:
            causes.update(pool.refused)
    total, refused = sum(pool.requests for pool in told.pools), sum(causes.values())
    return Traffic(
        told=told,
        total=total,
        failed=sum(pool.errors for pool in told.pools),
        refused=refused,
        retries=sum(pool.retries for pool in told.pools),
        refusals=tuple(
            Refusal(cause, _STATUS.get(cause, "4xx"), count, count / refused, cause in _OURS)
            for cause, count in causes.most_common()
            if count
        ),
        quotas=tuple(
            Used(quota, _share(quota.tokens_today, quota.per_day), _share(quota.tokens_last_minute, quota.per_minute))
            for quota in told.quotas
            if quota.per_day or quota.per_minute
        ),
    )


def _share(count: int, limit: int | None) -> float | None:
    return count / limit if limit else None


def certificate_level(ends: datetime | None, now: datetime) -> str:
    """How urgent it is."""
    return CALM if ends is None or ends - now >= _SOON else ACT


def standing_level(now: Standing) -> str:
    """How bad it is."""
    if now.refused:
        return ACT
    return "paused" if now.reverted_to is not None else CALM


@dataclass(frozen=True, slots=True)
class RevisionRow:
    """A line of the history."""

    number: int
    at: datetime
    generation: str
    servers: int
    causes: tuple[str, ...]
    reverted_to: int | None


def history_rows(revisions: Sequence[Revision]) -> list[RevisionRow]:
    """The newest first."""
    return [_row(one) for one in revisions]


def _row(one: Revision) -> RevisionRow:
    now = one.configuration
    return RevisionRow(
        number=one.number,
        at=one.moment.at,
        generation=now.generation,
        servers=len(now.plan.replicas()),
        causes=tuple(cause.text for cause in one.causes),
        reverted_to=now.reverted_to,
    )


@dataclass(frozen=True, slots=True)
class DiffLine:
    """`kind`: same, add, remove, place or file. The line begins with the sign that `diff -u` gives it."""

    kind: str
    text: str


def diff_lines(lines: Sequence[str]) -> list[DiffLine]:
    """At most 4000 of them."""
    return [DiffLine(_kind(line), line) for line in lines[:_MOST_LINES]]


def _kind(line: str) -> str:
    return next((kind for begin, kind in _KINDS if line.startswith(begin)), "same")
