"""What must hold whatever breaks, and whether it did. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.soak.figures import Check

WHOLE_S = 60.0  # after the last fault
GROWTH = 1.5  # of the controller's memory
# Its pools grow to their bounds, and a leak goes beyond: the Docker client alone keeps a connection for each of the
# last 25 addresses that it asked, and every replica brings new ones.
MORE_THREADS, MORE_FILES = 12, 48
_IN_HAND = timedelta(seconds=8)  # a tick that a fault breaks off may have decided so long before it
_TAKES = timedelta(seconds=20)  # a decision may be under way for so long
_BREAK_OFF = ("kill-controller", "lock-database-3s")


@dataclass(frozen=True)
class Vital:
    """The controller's process in one look. `at_s` is since the soak's beginning."""

    at_s: float
    pid: int
    rss: int  # bytes
    threads: int
    files: int


@dataclass(frozen=True)
class Break:
    """A fault that may leave a decision without an outcome, by the wall clock."""

    kind: str
    begun: datetime
    ended: datetime


@dataclass
class Evidence:
    """What was collected over the whole run; `now` is the time of the last look."""

    decisions: dict[int, dict[str, Any]] = field(default_factory=dict)
    containers: dict[str, set[str]] = field(default_factory=dict)  # name -> ids that it was created with
    strays: dict[str, str] = field(default_factory=dict)  # name -> why nobody knows it
    vitals: list[Vital] = field(default_factory=list)
    fuses: list[str] = field(default_factory=list)  # when one was seen blown
    breaks: list[Break] = field(default_factory=list)
    whole_after_s: float | None = None
    now: datetime | None = None


def during(seen: Evidence) -> list[Check]:
    """Those that can be checked at any time."""
    return [_names(seen), _strays(seen), _outcomes(seen), _memory(seen.vitals), _fuses(seen)]


def at_the_end(seen: Evidence) -> list[Check]:
    """All of them."""
    after = seen.whole_after_s
    told = "not within that time" if after is None else f"after {after:.1f} s"
    healed = Check(f"the pool is whole again within {WHOLE_S:g} s of the last fault", after is not None, told)
    leaks = [
        _growth(seen.vitals, "threads", {one.at_s: one.threads for one in seen.vitals}, MORE_THREADS),
        _growth(seen.vitals, "open files", {one.at_s: one.files for one in seen.vitals}, MORE_FILES),
    ]
    return [*during(seen), healed, *leaks]


def excused(seen: Evidence) -> list[str]:
    """Decisions without an outcome for which a fault is the reason."""
    return [
        f"decision {row['id']} ({row['kind']} {row['replica'] or row['pool']}) has no outcome: {why} broke its tick off"
        for row in _open(seen)
        if (why := _breaker(row, seen.breaks))
    ]


def _names(seen: Evidence) -> Check:
    starts = Counter(
        row["replica"]
        for row in seen.decisions.values()
        if row["kind"] == "start_replica" and row["outcome"] in ("done", None)
    )
    twice = {name for name, count in starts.items() if count > 1}
    twice |= {name for name, ids in seen.containers.items() if len(ids) > 1}
    found = ", ".join(sorted(twice)) or f"{len(seen.containers)} containers, each with a name of its own"
    return Check("no name is started twice", not twice, found)


def _strays(seen: Evidence) -> Check:
    found = ", ".join(f"{name} ({why})" for name, why in sorted(seen.strays.items()))
    return Check("no container of the installation is unknown to the API", not seen.strays, found or "none")


def _outcomes(seen: Evidence) -> Check:
    open_ones = [row for row in _open(seen) if not _breaker(row, seen.breaks)]
    left_out = len(_open(seen)) - len(open_ones)
    found = ", ".join(f"{row['id']} {row['kind']} {row['replica'] or row['pool']} at {row['at']}" for row in open_ones)
    told = f"{len(seen.decisions)} decisions" + (f", {left_out} of ticks that a fault broke off" if left_out else "")
    return Check("every decision has an outcome", not open_ones, found or told)


def _memory(vitals: Sequence[Vital]) -> Check:
    ratio = vitals[-1].rss / vitals[0].rss if vitals else 1.0
    worst = max((last.rss / first.rss for first, last in _lives(vitals)), default=1.0)
    sizes = f"{vitals[0].rss / 1e6:.0f} MB at first, {vitals[-1].rss / 1e6:.0f} MB at last" if vitals else "never seen"
    what = f"the controller's memory grows by no more than a factor of {GROWTH:g}"
    return Check(what, bool(vitals) and max(ratio, worst) <= GROWTH, f"{sizes}; within one life by {worst:.2f} at most")


def _growth(vitals: Sequence[Vital], name: str, counts: Mapping[float, int], more: int) -> Check:
    """At the end against the start, and within each life of the process."""
    if not vitals:
        return Check(f"the controller leaks no {name}", False, "never seen")
    first, last = counts[vitals[0].at_s], counts[vitals[-1].at_s]
    worst = max((counts[end.at_s] - counts[begin.at_s] for begin, end in _lives(vitals)), default=0)
    found = f"{first} at first, {last} at last; within one life {worst:+d} at most (allowed: +{more})"
    return Check(f"the controller leaks no {name}", max(last - first, worst) <= more, found)


def _fuses(seen: Evidence) -> Check:
    return Check("no fuse is blown", not seen.fuses, ", ".join(seen.fuses) or "never")


def _lives(vitals: Sequence[Vital]) -> list[tuple[Vital, Vital]]:
    """The first and the last look at each process."""
    lives: dict[int, list[Vital]] = defaultdict(list)
    for vital in vitals:
        lives[vital.pid].append(vital)
    return [(found[0], found[-1]) for found in lives.values()]


def _open(seen: Evidence) -> list[dict[str, Any]]:
    rows = [row for row in seen.decisions.values() if row["outcome"] is None]
    return [row for row in rows if seen.now is not None and seen.now - _at(row) > _TAKES]


def _breaker(row: dict[str, Any], breaks: Sequence[Break]) -> str:
    found = (one.kind for one in breaks if one.begun - _IN_HAND <= _at(row) <= one.ended and one.kind in _BREAK_OFF)
    return next(found, "")


def _at(row: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(row["at"])
