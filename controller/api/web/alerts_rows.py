"""Alerts as a page shows them: the worst first, with what the controller did since. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from markupsafe import Markup, escape

from controller.api.activity import DECISION, Line
from controller.api.deps import Seen
from controller.api.history import Told
from controller.core.alerts import KnownAlert
from controller.core.model import PoolName

ACT, BUSY, CALM = "act", "busy", "calm"
_RANKS = {"critical": 0, "warning": 1}  # anything else comes last
_LEVELS = {"critical": ACT, "warning": BUSY}
_BEFORE = timedelta(minutes=1)  # ticks see what alerts go by, and wait for none
_SHOWN, _STANDING = 4, 2
_SHOWN_OF_GPU = 12  # more replicas than one holds
GPU = "UUID"  # the label that names one
_HIDDEN = ("alertname", "severity", "instance", "job", "prometheus")  # labels that tell people nothing
_OF = ("pool", "replica", "node", GPU, "gateway", "source", "exporter")


@dataclass(frozen=True, slots=True)
class About:
    """What an alert is about: a pool, or a GPU of a node, or all of a node, or none of these."""

    pool: str = ""
    node: str = ""
    gpu: str = ""

    @property
    def node_alone(self) -> bool:
        """What is known to be done there may be about something else on that node."""
        return bool(self.node) and not self.pool and not self.gpu


@dataclass(frozen=True, slots=True)
class Deeds:
    """What was decided and what became of GPUs, the newest first; and by a GPU's UUID what events and decisions about
    it are about: itself, and the replicas that were given it."""

    lines: Sequence[Line] = ()
    of_gpus: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def did(self, about: About, span: tuple[datetime, datetime | None]) -> Did:
        """What was decided about it within that time."""
        first, last = span
        mine = [
            line
            for line in self.lines
            if self._fits(line, about) and line.at >= first and (last is None or line.at <= last)
        ]
        most = _SHOWN_OF_GPU if about.gpu else _SHOWN
        return Did(tuple(mine[:most]), max(len(mine) - most, 0))

    def _fits(self, line: Line, about: About) -> bool:
        if about.pool:
            return line.what == DECISION and line.pool == about.pool
        if about.gpu:
            return line.subject in self.of_gpus.get(about.gpu, ())
        return line.what == DECISION and bool(about.node) and line.node == about.node


@dataclass(frozen=True, slots=True)
class Did:
    """What was decided about it while the alert fired: the newest, and how many more there were."""

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
    about: About
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
    """Those that fire about one pool, GPU or node, the worst first, and what the controller did since the first began.

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


def rows_of(known: Iterable[KnownAlert], deeds: Deeds) -> list[AlertRow]:
    """In the order in which a person should look at them."""
    found = [_row(one, deeds) for one in known]
    return sorted(found, key=lambda row: (_RANKS.get(row.severity, 2), row.since, row.name, row.labels))


def groups_of(rows: Iterable[AlertRow], deeds: Deeds, seen: Seen | None) -> list[Group]:
    """Of rows in their order; those that are about no pool and no node are for themselves."""
    found: dict[tuple[object, ...], list[AlertRow]] = {}
    for row in rows:
        key: tuple[object, ...] = (row.about,) if row.about != About() else (row.name, row.labels)
        found.setdefault(key, []).append(row)
    return [_group(mine, deeds, seen) for mine in found.values()]


def _group(rows: Sequence[AlertRow], deeds: Deeds, seen: Seen | None) -> Group:
    first, about = min(row.since for row in rows) - _BEFORE, rows[0].about
    return Group(tuple(rows), deeds.did(about, (first, None)), _standing(seen, about.pool))


def _row(known: KnownAlert, deeds: Deeds) -> AlertRow:
    alert = known.alert
    until = None if alert.firing else known.changed_at
    about = About(str(alert.pool or ""), alert.node or "", alert.labels.get(GPU, ""))
    return AlertRow(
        name=alert.name,
        severity=alert.labels.get("severity", ""),
        level=_LEVELS.get(alert.labels.get("severity", ""), CALM) if alert.firing else CALM,
        since=alert.starts_at,
        until=until,
        labels=tuple((name, value) for name, value in alert.labels.items() if name not in _HIDDEN),
        summary=alert.annotations.get("summary", "") or alert.name,
        description=alert.annotations.get("description", ""),
        about=about,
        did=Did() if alert.firing else deeds.did(about, (alert.starts_at - _BEFORE, until)),
    )


def _standing(seen: Seen | None, pool: str) -> tuple[str, ...]:
    reasons = seen.plan.standing.get(PoolName(pool), ()) if seen is not None and pool else ()
    return tuple(reason.text for reason in reasons[-_STANDING:])


def ended_by(told: Told, fires: Iterable[AlertRow], ended: Iterable[AlertRow]) -> list[AlertRow]:
    """Those that Prometheus says have fired, and that nobody here knows of any more; the newest first."""
    known = {(row.name, row.severity, row.about.pool, row.about.node) for row in (*fires, *ended)}
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
    return AlertRow(name, severity, CALM, since, until, labels, name, "", About(pool, node), Did())


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
    return asked.get("pool", "") in ("", row.about.pool) and asked.get("name", "") in ("", row.name)


def subject_of(row: AlertRow) -> list[tuple[str, str]]:
    """The labels that say whose it is, the widest first; all of them where there are none of those."""
    found = [(name, value) for name, value in row.labels if name in _OF]
    return sorted(found, key=lambda label: _OF.index(label[0])) or list(row.labels)


def coded(text: str) -> Markup:
    """With what stands between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    told = (Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts))
    return Markup("").join(told)
