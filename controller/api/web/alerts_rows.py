"""Alerts as a page shows them: the worst first, with what the controller did since. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from markupsafe import Markup, escape

from controller.api.activity import Line
from controller.api.deps import Seen
from controller.api.history import Told
from controller.core.alerts import KnownAlert
from controller.core.model import PoolName

ACT, BUSY, CALM = "act", "busy", "calm"
_RANKS = {"critical": 0, "warning": 1}  # anything else comes last
_LEVELS = {"critical": ACT, "warning": BUSY}
_BEFORE = timedelta(minutes=1)  # ticks see what alerts go by, and wait for none
_SHOWN, _STANDING = 4, 2
_HIDDEN = ("alertname", "severity", "instance", "job", "prometheus")  # labels that tell people nothing
_OF = ("pool", "replica", "node", "gateway", "source", "exporter")


@dataclass(frozen=True, slots=True)
class Did:
    """What was decided about the alert's pool or node while it fired: the newest, and how many more there were."""

    lines: tuple[Line, ...] = ()
    more: int = 0


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One that fires, or that ended at `until`."""

    name: str
    severity: str
    level: str
    since: datetime
    until: datetime | None
    labels: tuple[tuple[str, str], ...]
    summary: str
    description: str
    pool: str
    node: str
    did: Did

    @property
    def lasted_s(self) -> float | None:
        """For how long it fired; None: it goes on."""
        return (self.until - self.since).total_seconds() if self.until else None

    @property
    def looked(self) -> tuple[datetime, datetime | None]:
        """From when to when the controller's deeds are about it."""
        return self.since - _BEFORE, self.until


@dataclass(frozen=True, slots=True)
class Group:
    """Those that fire about one pool or node, the worst first, and what the controller did since the first began.

    `standing` is why it leaves it at that now.
    """

    rows: tuple[AlertRow, ...]
    did: Did
    standing: tuple[str, ...]

    @property
    def worst(self) -> AlertRow:
        """The one to look at first."""
        return self.rows[0]

    @property
    def earliest(self) -> AlertRow:
        """The one that began first."""
        return min(self.rows, key=lambda row: row.since)


def rows_of(known: Iterable[KnownAlert], decisions: Sequence[Line]) -> list[AlertRow]:
    """In the order in which a person should look at them; `decisions` are the newest first."""
    found = [_row(one, decisions) for one in known]
    return sorted(found, key=lambda row: (_RANKS.get(row.severity, 2), row.since, row.name, row.labels))


def groups_of(rows: Iterable[AlertRow], decisions: Sequence[Line], seen: Seen | None) -> list[Group]:
    """Of rows in their order; those that are about no pool and no node are for themselves."""
    found: dict[tuple[object, ...], list[AlertRow]] = {}
    for row in rows:
        key: tuple[object, ...] = (row.pool, row.node) if row.pool or row.node else (row.name, row.labels)
        found.setdefault(key, []).append(row)
    return [_group(mine, decisions, seen) for mine in found.values()]


def _group(rows: Sequence[AlertRow], decisions: Sequence[Line], seen: Seen | None) -> Group:
    first = min(row.since for row in rows) - _BEFORE
    mine = did(rows[0].pool, rows[0].node, (first, None), decisions)
    return Group(tuple(rows), mine, _standing(seen, rows[0].pool))


def _row(known: KnownAlert, decisions: Sequence[Line]) -> AlertRow:
    alert = known.alert
    until = None if alert.firing else known.changed_at
    pool, node = str(alert.pool or ""), alert.node or ""
    return AlertRow(
        name=alert.name,
        severity=alert.labels.get("severity", ""),
        level=_LEVELS.get(alert.labels.get("severity", ""), CALM) if alert.firing else CALM,
        since=alert.starts_at,
        until=until,
        labels=tuple((name, value) for name, value in alert.labels.items() if name not in _HIDDEN),
        summary=alert.annotations.get("summary", "") or alert.name,
        description=alert.annotations.get("description", ""),
        pool=pool,
        node=node,
        did=Did() if alert.firing else did(pool, node, (alert.starts_at - _BEFORE, until), decisions),
    )


def did(pool: str, node: str, span: tuple[datetime, datetime | None], decisions: Iterable[Line]) -> Did:
    """What was decided about it within that time."""
    first, last = span
    mine = [
        line
        for line in decisions
        if (line.pool == pool if pool else bool(node) and line.node == node)
        and line.at >= first
        and (last is None or line.at <= last)
    ]
    return Did(tuple(mine[:_SHOWN]), max(len(mine) - _SHOWN, 0))


def _standing(seen: Seen | None, pool: str) -> tuple[str, ...]:
    reasons = seen.plan.standing.get(PoolName(pool), ()) if seen is not None and pool else ()
    return tuple(reason.text for reason in reasons[-_STANDING:])


def ended_by(told: Told, fires: Iterable[AlertRow], ended: Iterable[AlertRow]) -> list[AlertRow]:
    """Those that Prometheus says have fired, and that nobody here knows of any more; the newest first."""
    known = {(row.name, row.severity, row.pool, row.node) for row in (*fires, *ended)}
    step = timedelta(seconds=told.axis.step)
    begins = [datetime.fromtimestamp(at, UTC) for at in told.axis.times]
    found: list[AlertRow] = []
    for (name, severity, pool, node), column in told.columns("alertname", "severity", "pool", "node").items():
        for first, last in spells([value is not None for value in column]):
            newest = last >= len(column) - 2
            if not (newest and (name, severity, pool, node) in known):
                found.append(_past((name, severity, pool, node), begins[first], begins[last] + step))
    return sorted(found, key=lambda row: row.since, reverse=True)


def _past(key: tuple[str, str, str, str], since: datetime, until: datetime) -> AlertRow:
    name, severity, pool, node = key
    labels = tuple((label, value) for label, value in (("pool", pool), ("node", node)) if value)
    return AlertRow(name, severity, CALM, since, until, labels, name, "", pool, node, Did())


def spells(fires: Sequence[bool]) -> list[tuple[int, int]]:
    """First and last index of each run of True."""
    found: list[tuple[int, int]] = []
    first: int | None = None
    for at, firing in enumerate([*fires, False]):
        if firing and first is None:
            first = at
        elif not firing and first is not None:
            found.append((first, at - 1))
            first = None
    return found


def fits(row: AlertRow, asked: Mapping[str, str]) -> bool:
    """Whether it is of the pool, and of the name, that the address asks for."""
    return asked.get("pool", "") in ("", row.pool) and asked.get("name", "") in ("", row.name)


def subject_of(row: AlertRow) -> list[tuple[str, str]]:
    """The labels that say whose it is, the widest first; all of them where there are none of those."""
    return [(name, value) for name, value in row.labels if name in _OF] or list(row.labels)


def coded(text: str) -> Markup:
    """With what stands between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    told = (Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts))
    return Markup("").join(told)
