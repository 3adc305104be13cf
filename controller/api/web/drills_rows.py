"""A drill as a report: what was hurt, who noticed when, what was done, when it was over. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from controller.api.activity import DECISION, Line
from controller.api.web.activity_rows import href_of
from controller.api.web.formats import seconds
from controller.core.drilled import Drilled

_JUDGED = (
    *("replica_suspect", "replica_unready", "replica_stopped"),
    *("recycle_replica", "terminate_replica", "remove_replica"),
)
_OWN = ("drill_started", "drill_ended")
_REPLACED = ("start_replica", "recycle_replica")
_COURSE = ("began", "hurt", "noticed", "out", "replaced", "ready", "undone", "whole", "over")
_SLACK = timedelta(seconds=1)  # an event has the time at which its tick began
_HIT = re.compile(r"(?P<fault>[a-z-]+)(?: of (?P<victim>\S+))?")
WIDE = 1000.0  # units of a lane


@dataclass(frozen=True, slots=True)
class Step:
    """A phase, with what tells of it. `after_s` is after the fault."""

    word: str
    at: datetime
    after_s: float | None = None
    text: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True)
class Promise:
    """A limit and what came of it; `measured` None: it never happened. Times are told in seconds."""

    name: str
    limit: float
    measured: float | None
    kept: bool
    why: str

    @property
    def is_time(self) -> bool:
        """Whether the numbers are seconds."""
        return self.name.endswith("_s")

    @property
    def is_close(self) -> bool:
        """Whether it was broken by so little that the usual digits do not show it."""
        return not self.kept and self.measured is not None and seconds(self.measured) == seconds(self.limit)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Of a lane: what a replica was, from where and how wide."""

    left: float
    width: float
    state: str
    told: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Replicas and requests over the time of a drill. `marks` are phases, each where it stands."""

    lanes: tuple[tuple[str, tuple[Stretch, ...]], ...] = ()
    marks: tuple[tuple[str, float], ...] = ()
    requests: tuple[tuple[float, float, float, float], ...] = ()  # left, width, height of good ones, of bad ones
    from_s: float = 0.0
    to_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """All of it. `hurt_at` None: nothing was hurt, or not yet. `told`: the ledger has what was done in that time; what
    is old is no longer in it."""

    drill: Drilled
    hurt_at: datetime | None
    victims: tuple[str, ...]
    steps: tuple[Step, ...]
    decisions: tuple[Line, ...]
    promises: tuple[Promise, ...] = ()
    chart: Chart = Chart()
    told: bool = True

    @property
    def broken(self) -> int:
        """Promises that were."""
        return sum(1 for promise in self.promises if not promise.kept)

    def figure(self, name: str) -> float | None:
        """One by its name."""
        return self.drill.figures.get(name)

    def step(self, word: str) -> Step | None:
        """That phase, if it was."""
        return next((step for step in self.steps if step.word == word), None)


def span_of(drill: Drilled, now: datetime) -> tuple[datetime, datetime]:
    """The time of which the ledger is asked."""
    return drill.at - _SLACK, (drill.ended_at or now) + _SLACK


def report_of(drill: Drilled, result: Mapping[str, Any] | None, lines: Sequence[Line]) -> Report:
    """`lines` are those of the pool, or of no pool, in that time."""
    told = result if result is not None and "measured" in result else None
    hurt_at, victims = _hurt(drill, told)
    after = [line for line in sorted(lines, key=lambda line: line.at) if hurt_at and line.at >= hurt_at - _SLACK]
    mine = [line for line in after if line.pool in ("", drill.pool)]
    steps = tuple(sorted(_steps(drill, told, hurt_at, victims, mine), key=_place))
    return Report(
        drill=drill,
        hurt_at=hurt_at,
        victims=victims,
        steps=steps,
        decisions=tuple(line for line in mine if line.what == DECISION and line.pool == drill.pool),
        promises=tuple(_promises(told)) if told else (),
        chart=_chart(told, steps) if told else Chart(),
        told=_kept(drill, told, mine),
    )


def _kept(drill: Drilled, result: Mapping[str, Any] | None, lines: Sequence[Line]) -> bool:
    """Whether the ledger still has that time: at least one line that is not the drill's own, and a decision where a
    replica came after the fault."""
    came = any(span["from_s"] > 0 for one in (result or {}).get("replicas", ()) for span in one["spans"][:1])
    decided = any(line.what == DECISION and line.pool == drill.pool for line in lines)
    return drill.running or decided or (not came and any(line.kind not in _OWN for line in lines))


def _place(step: Step) -> tuple[bool, float, int]:
    """By time; what is of one tick in its usual order, and the end last."""
    after_s = round(step.after_s, 1) if step.after_s is not None else float("-inf")
    return step.word == "over", after_s, _COURSE.index(step.word)


def _hurt(drill: Drilled, result: Mapping[str, Any] | None) -> tuple[datetime | None, tuple[str, ...]]:
    """When and whom: by the result, and before there is one by what the drill said."""
    if result is not None:
        return datetime.fromisoformat(str(result["at"])), drill.victims
    for line in drill.lines:
        found = _HIT.fullmatch(line.text)
        if found is not None and found["fault"] == drill.fault:
            return line.at, drill.victims or ((found["victim"],) if found["victim"] else ())
    return None, drill.victims


def _steps(
    drill: Drilled,
    result: Mapping[str, Any] | None,
    hurt_at: datetime | None,
    victims: Sequence[str],
    lines: Sequence[Line],
) -> Iterable[Step]:
    yield Step("began", drill.at, text=drill.why)
    if hurt_at is not None:
        yield Step("hurt", hurt_at, 0.0, ", ".join(victims))
        found = _Course(drill, hurt_at, frozenset(f"replica/{name}" for name in victims), lines)
        for step in (found.noticed(), found.out(), found.replaced(), found.ready(), found.whole()):
            if step is not None:
                yield step
        for one in result["timeline"] if result else ():
            if one["event"] == "fault_over":
                yield Step("undone", hurt_at + timedelta(seconds=one["at_s"]), one["at_s"])
    if drill.ended_at is not None:
        after_s = (drill.ended_at - hurt_at).total_seconds() if hurt_at else None
        yield Step("over", drill.ended_at, after_s, drill.told)


@dataclass(frozen=True, slots=True)
class _Course:
    """What followed on the fault: times that were measured, else those of the ledger."""

    drill: Drilled
    hurt_at: datetime
    victims: frozenset[str]
    lines: Sequence[Line]

    def noticed(self) -> Step | None:
        judged = self._first(
            lambda line: (
                (line.kind in _JUDGED and line.subject in self.victims)
                or (not self.victims and line.kind == "source_lost")
            )
        )
        return self._step("noticed", "detected_s", judged)

    def out(self) -> Step | None:
        if not self.victims:
            return None
        names = {victim.partition("/")[2] for victim in self.victims}
        routes = self._first(lambda line: line.kind == "gateway_reloaded" and not names & set(_routed(line.text)))
        return self._step("out", "out_s", routes)

    def replaced(self) -> Step | None:
        return self._step("replaced", "", self._first(lambda line: line.kind in _REPLACED))

    def ready(self) -> Step | None:
        started = self._first(lambda line: line.kind == "start_replica")
        if started is None:
            return None
        heard = self._first(lambda line: line.kind == "replica_ready" and line.subject == started.subject)
        return self._step("ready", "", heard)

    def whole(self) -> Step | None:
        whole_s = self.drill.figures.get("whole_s")
        if not whole_s:  # at 0 it never lost any strength
            return None
        return Step("whole", self.hurt_at + timedelta(seconds=whole_s), whole_s)

    def _first(self, fits: Any) -> Line | None:
        return next((line for line in self.lines if fits(line)), None)

    def _step(self, word: str, figure: str, line: Line | None) -> Step | None:
        measured = self.drill.figures.get(figure) if figure else None
        if measured is None and (line is None or (figure and not self.drill.running)):
            return None
        told_s = max((line.at - self.hurt_at).total_seconds(), 0.0) if line else 0.0
        after_s = told_s if measured is None else measured
        text, href = (line.text, href_of(line)) if line else ("", "")
        text = "" if word == "out" else text  # it tells the routes of all pools
        return Step(word, self.hurt_at + timedelta(seconds=after_s), after_s, text, href)


def _routed(message: str) -> list[str]:
    """The replicas that a reload of nginx tells of."""
    return [word.strip(".") for word in re.findall(r"[\w.-]+", message)]


def _promises(result: Mapping[str, Any]) -> Iterable[Promise]:
    for one in result.get("promises", ()):
        yield Promise(one["name"], one["limit"], one["measured"], bool(one["kept"]), str(one.get("why", "")))


def _chart(result: Mapping[str, Any], steps: Sequence[Step]) -> Chart:
    seconds, replicas = result.get("seconds", ()), result.get("replicas", ())
    ends = [span["to_s"] for one in replicas for span in one["spans"]] + [one["from_s"] + 1 for one in seconds]
    begins = [span["from_s"] for one in replicas for span in one["spans"]] + [one["from_s"] for one in seconds]
    if not ends:
        return Chart()
    first, last = float(min(begins)), float(max(ends))
    scale = WIDE / max(last - first, 0.001)

    def place(at_s: float) -> float:
        return round((at_s - first) * scale, 1)

    most = max([1, *(one["ok"] + one["failed"] + one["cut"] for one in seconds)])
    return Chart(
        lanes=tuple((one["replica"], tuple(_stretch(span, place) for span in one["spans"])) for one in replicas),
        marks=tuple((step.word, place(at_s)) for step in steps if (at_s := _on(step, first, last)) is not None),
        requests=tuple(
            (place(one["from_s"]), round(scale, 1), round(one["ok"] / most, 3), round(_bad(one) / most, 3))
            for one in seconds
        ),
        from_s=first,
        to_s=last,
    )


def _on(step: Step, first: float, last: float) -> float | None:
    """Where it stands on the chart, if it does."""
    if step.after_s is None or step.word in ("replaced", "ready", "over") or not first <= step.after_s <= last:
        return None
    return step.after_s


def _bad(second: Mapping[str, Any]) -> int:
    return int(second["failed"]) + int(second["cut"])


def _stretch(span: Mapping[str, Any], place: Any) -> Stretch:
    left = place(span["from_s"])
    state = str(span["state"])
    kind = "routed" if span["routed"] and state == "ready" else state
    return Stretch(left, round(max(place(span["to_s"]) - left, 2.0), 1), kind, state)
