"""What /activity shows: the filters of the address, lines with repeats put together, and what each links to. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from controller.api.activity import DECISION, EVENT, Cursor, Line, Wanted, after
from controller.api.activity_schemas import KIND, LONGEST, MOST_KINDS
from controller.api.inputs import within
from controller.api.web.formats import iso
from controller.api.web.ranges import RANGES
from controller.core.drilled import DRILL_ID

WHATS, SEVERITIES = (DECISION, EVENT), ("warning", "critical")
_MOST, _LOOKS = 100, 2000  # rows of a page; lines that are looked at for it
_NUMBER = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?![\w-])")  # the number of a replica's name is none


@dataclass(frozen=True, slots=True)
class Filters:
    """As the address has them; what is empty is no condition, and what makes no sense is left out."""

    q: str = ""
    pool: str = ""
    what: str = ""
    kind: str = ""
    severity: str = ""
    reason: str = ""
    subject: str = ""
    range: str = ""
    since: str = ""
    until: str = ""

    @staticmethod
    def read(given: Mapping[str, str]) -> Filters:
        """Of the parameters of an address."""
        texts = {name: given.get(_NAMES.get(name, name), "").replace("\0", "") for name in _FIELDS}
        known = {name: text.strip()[:LONGEST].strip() for name, text in texts.items()}
        known["kind"] = " ".join(word for word in known["kind"].replace(",", " ").split() if re.match(KIND, word))
        allowed = {"what": WHATS, "severity": SEVERITIES, "range": tuple(RANGES)}
        known |= {name: "" for name, words in allowed.items() if known[name] not in words}
        known |= {name: iso(at) if (at := moment(known[name])) else "" for name in ("since", "until")}
        return Filters(**known)

    def kept(self) -> dict[str, str]:
        """Those that are set, by their names in an address."""
        return {_NAMES.get(name, name): value for name in _FIELDS if (value := getattr(self, name))}

    def href(self, **more: object) -> str:
        """The page with these, and something more."""
        asked = urlencode({**self.kept(), **more})
        return f"/activity?{asked}" if asked else "/activity"

    def wanted(self, now: datetime) -> Wanted:
        """For the ledger. A time that is named goes before a range."""
        since = moment(self.since) or (now - RANGES[self.range] if self.range else None)
        kinds = tuple(self.kind.split()[:MOST_KINDS])
        return Wanted(
            self.q, self.pool, self.what, kinds, self.severity, self.reason, self.subject, since, moment(self.until)
        )  # fmt: skip

    def export(self, now: datetime, form: str) -> str:
        """The same, asked of the API."""
        wanted = self.wanted(now)
        asked: dict[str, Any] = {key: text for key, text in self.kept().items() if key not in _OF_PAGE}
        asked |= {key: iso(at) for key, at in (("from", wanted.since), ("to", wanted.until)) if at}
        asked |= {"kind": wanted.kinds} if wanted.kinds else {}
        return f"/api/v1/activity?{urlencode({**asked, 'format': form, 'limit': 100_000}, doseq=True)}"


_FIELDS = tuple(item.name for item in fields(Filters))
_NAMES = {"since": "from", "until": "to"}
_OF_PAGE = ("range", "kind", "from", "to")


def moment(text: str) -> datetime | None:
    """A time of the address, of UTC where it names no zone; None for what is none."""
    try:
        at = datetime.fromisoformat(text)
        return within(at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class Chip:
    """Something that a line is about. `kind`: pool, replica, node, gpu, or whatever else there is."""

    kind: str
    name: str
    href: str


@dataclass(frozen=True, slots=True)
class Row:
    """A line, and the older ones that say the same."""

    line: Line
    repeats: tuple[Line, ...] = ()

    @property
    def href(self) -> str:
        """What explains it."""
        return href_of(self.line)

    @property
    def chips(self) -> list[Chip]:
        """What it is about."""
        return chips_of(self.line)

    @property
    def count(self) -> int:
        """How often it came."""
        return 1 + len(self.repeats)


@dataclass(frozen=True, slots=True)
class Rows:
    """A page; `older` is where the next one begins, None: there is nothing more."""

    found: tuple[Row, ...]
    older: Cursor | None


def rows_of(lines: Iterable[Line], wanted: Wanted, before: Cursor | None) -> Rows:
    """The first rows of these; events that say the same are one. Of so many lines at most are looked at."""
    found: dict[tuple[object, ...], list[Line]] = {}
    cursor = before
    for number, line in enumerate(lines):
        fits, key = wanted.fits(line), same(line)
        if number == _LOOKS or (fits and key not in found and len(found) == _MOST):
            return Rows(_rows(found.values()), cursor)
        cursor = after(cursor, line)
        if fits:
            found.setdefault(key, []).append(line)
    return Rows(_rows(found.values()), None)


def _rows(groups: Iterable[Sequence[Line]]) -> tuple[Row, ...]:
    return tuple(Row(first, tuple(rest)) for first, *rest in groups)


def same(line: Line) -> tuple[object, ...]:
    """Equal for events that say the same, but for numbers. Each decision has an explanation of its own."""
    if line.what == DECISION:
        return (DECISION, line.id)
    return (EVENT, line.kind, line.subject, line.reason, _NUMBER.sub("#", line.text))


def href_of(line: Line) -> str:
    """The page that explains it."""
    return f"/decisions/{line.id}" if line.what == DECISION else f"/activity?event={line.id}"


def chips_of(line: Line) -> list[Chip]:
    """The pool first."""
    kind, _, name = line.subject.partition("/")
    found = [Chip("pool", line.pool, f"/pools/{quote(line.pool, safe='')}")] if line.pool else []
    if kind == "replica":
        found.append(Chip("replica", name, f"/activity?{urlencode({'subject': line.subject})}"))
    elif kind != "pool" and not line.node:
        found.append(Chip(kind, name or kind, f"/activity?{urlencode({'subject': line.subject})}"))
    if line.node:
        found.append(Chip("node", line.node, f"/nodes/{quote(line.node, safe='')}"))
    return found


def leads_to(line: Line) -> str:
    """The page of what an event tells of; empty: there is none."""
    if line.kind in ("drill_started", "drill_ended") and (found := DRILL_ID.match(line.text)):
        return f"/drills/{found[1]}"
    if line.kind in ("alert_firing", "alert_resolved"):
        return f"/alerts?{urlencode({'name': line.reason})}"
    return "/gateway" if line.subject == "gateway" else ""
