"""What `stoker drill` prints. Pure but for drawing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from controller.stack.drill.facts import SERVING, Ending, Recording
from controller.stack.drill.marks import marks
from controller.stack.drill.measure import Measured
from controller.stack.drill.promise import Promise, Verdict
from controller.stack.drill.result import Drill, Outcome, Span, lives, per_second

_WIDTH = 200  # where there is no terminal
_COLUMNS = 72  # of the timeline
_QUIET = "dim"
_COLOURS = {Outcome.PASSED: "green", Outcome.FAILED: "red", Outcome.NOT_HERE: _QUIET, Outcome.REFUSED: "yellow"}
_NAMES = {
    "detected_s": "detected after",
    "out_s": "out of nginx after",
    "whole_s": "full strength after",
    "failed": "failed requests",
    "cut_elsewhere": "streams cut of others than the victim",
    "replaced": "replicas taken away",
    "missing": "replicas missing",
}
_SIGNS = {"starting": "·", "unready": "x", "stopped": "x", "draining": "-", "quarantined": "q"}
_SIGN_COLOURS = {"█": "green", "▒": "yellow", "·": "yellow", "x": "red", "-": "cyan", "q": "red"}
_LEGEND = "█ gets requests  ▒ ready, not in nginx  ~ suspect  · starting  x failed  - draining"
_LEVELS = " ▁▂▃▄▅▆▇█"


def show(pool: str, drills: Sequence[Drill]) -> None:
    """Everything, on stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    for part in parts(pool, drills):
        console.print(part)


def parts(pool: str, drills: Sequence[Drill]) -> Iterator[RenderableType]:
    """Each drill that was done, and a table of all where there are several."""
    for drill in drills:
        if drill.recording is not None and drill.measured is not None:
            yield from _one(pool, drill, drill.recording, drill.measured)
            yield Text("")
    if len(drills) > 1:
        yield summary(drills)


def summary(drills: Sequence[Drill]) -> Table:
    """One row for each fault."""
    drawn = _table("fault", "promise", "measured", "outcome")
    for drill in drills:
        promised = ", ".join(_promised(verdict) for verdict in drill.verdicts) or "-"
        came = ", ".join(_measured(verdict) for verdict in drill.verdicts) or "-"
        outcome = f"{drill.outcome.value}: {drill.why}" if drill.why else drill.outcome.value
        drawn.add_row(Text(drill.fault.value), Text(promised), Text(came), Text(outcome, _COLOURS[drill.outcome]))
    return drawn


def _one(pool: str, drill: Drill, recording: Recording, measured: Measured) -> Iterator[RenderableType]:
    hit = f" of {' and '.join(recording.victims)}" if recording.victims else ""
    title = Text(f"{drill.fault.value}{hit}, pool {pool}: ", "bold")
    yield title.append(drill.outcome.value, _COLOURS[drill.outcome])
    drawn = _table("promise", "at most", "measured", "", "where the number comes from")
    for verdict in drill.verdicts:
        kept = Text("kept", "green") if verdict.kept else Text("broken", "red")
        why = Text(verdict.promise.why, _QUIET)
        drawn.add_row(_NAMES[verdict.promise.name], _limit(verdict.promise), _figure(verdict), kept, why)
    yield drawn
    yield Text(requests_line(measured))
    yield Text(latency_line(measured))
    yield from timeline(drill, recording)


def requests_line(measured: Measured) -> str:
    """How the requests ended."""
    retried = "retries unknown" if measured.retried is None else f"{measured.retried} retried"
    return f"{measured.requests} requests: {measured.failed} failed, {measured.cut} cut, {retried}"


def latency_line(measured: Measured) -> str:
    """Before the fault, and since."""
    before = f"{_seconds(measured.mean_before_s)} on average, p95 {_seconds(measured.p95_before_s)}"
    during = f"{_seconds(measured.mean_during_s)}, p95 {_seconds(measured.p95_during_s)}"
    return f"an answer took {before} before the fault; {during} since"


def timeline(drill: Drill, recording: Recording, columns: int = _COLUMNS) -> Iterator[Text]:
    """A line for each replica, under one with the marks."""
    found, rows = marks(drill), lives(recording)
    label = max([len("requests"), *(len(name) for name, _ in rows)])
    line = [" "] * columns
    for mark in reversed(found):  # where two meet, the earlier one shows
        line[_column(mark.at_s, recording, columns)] = mark.letter
    yield Text(" " * (label + 2) + "".join(line).rstrip(), "bold")
    for name, spans in rows:
        text = Text(f"{name:<{label}}  ")
        for sign in _bar(spans, recording, columns):
            text.append(sign, _SIGN_COLOURS.get(sign, ""))
        yield text
    yield Text(f"{'requests':<{label}}  {_bars(recording, columns)}")
    yield Text("  ".join(f"{mark.letter} {mark.name} {mark.at_s:.1f} s" for mark in found))
    yield Text(_LEGEND, _QUIET)


def _bar(spans: Sequence[Span], recording: Recording, columns: int) -> str:
    """One sign for each column; what is shorter than a column still has one where nothing else has it."""
    line = [" "] * columns
    for span in spans:
        first, last = (_column(at_s, recording, columns) for at_s in (span.from_s, span.to_s))
        line[first : max(last, first + 1)] = _sign(span) * max(last - first, 1)
    return "".join(line).rstrip()


def _sign(span: Span) -> str:
    if span.state in SERVING:
        return "~" if span.state == "suspect" else "█" if span.routed else "▒"
    return _SIGNS.get(span.state, "?")


def _bars(recording: Recording, columns: int) -> str:
    """Requests that ended in the second of each column, as heights; an ! where one failed or was cut."""
    seconds = {second: (ok, failed + cut) for second, ok, failed, cut in per_second(recording)}
    highest = max([1, *(ok for ok, _ in seconds.values())])
    span_s = recording.ended_s - recording.began_s
    line = []
    for column in range(columns):
        ok, _ = seconds.get(math.floor(recording.began_s + span_s * (column + 0.5) / columns), (0, 0))
        line.append(_LEVELS[math.ceil(ok / highest * (len(_LEVELS) - 1))])
    for one in recording.requests:
        if one.ending is not Ending.OK:
            line[_column(one.ended_s, recording, columns)] = "!"
    return "".join(line).rstrip()


def _column(at_s: float, recording: Recording, columns: int) -> int:
    share = (at_s - recording.began_s) / max(recording.ended_s - recording.began_s, 0.001)
    return min(max(int(share * columns), 0), columns - 1)


def _promised(verdict: Verdict) -> str:
    return f"{_short(verdict)} {_limit(verdict.promise)}"


def _measured(verdict: Verdict) -> str:
    return f"{_short(verdict)} {_figure(verdict)}{'' if verdict.kept else ' (broken)'}"


def _short(verdict: Verdict) -> str:
    words = {"detected_s": "detected", "out_s": "out", "whole_s": "whole", "cut_elsewhere": "cut elsewhere"}
    return words.get(verdict.promise.name, verdict.promise.name)


def _limit(promise: Promise) -> str:
    return f"{promise.limit:g} s" if promise.name.endswith("_s") else f"{promise.limit:g}"


def _figure(verdict: Verdict) -> str:
    if verdict.measured is None:
        return "never"
    return f"{verdict.measured:.1f} s" if verdict.promise.name.endswith("_s") else f"{verdict.measured:g}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _table(*titles: str) -> Table:
    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=_QUIET)
    for title in titles:
        drawn.add_column(title)
    return drawn
