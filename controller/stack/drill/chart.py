"""The timeline of drills as one SVG, readable on light and on dark. Pure.

Each drill is a block: its title, the marks, a row for each replica, and the requests that ended in each second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from controller.simulate import axes
from controller.simulate.axes import Axis
from controller.stack.drill.facts import SERVING, Recording
from controller.stack.drill.marks import Mark, marks
from controller.stack.drill.result import Drill, Span, lives, per_second
from controller.stack.drill.view import latency_line, requests_line

WIDTH, LEFT, RIGHT = 960, 150, 930
_ROW, _BAR = 22, 14
_REQUESTS = 78  # height of the panel
_MARK_LINE = 17
_LETTER = 6.6  # room for a letter of a mark's text
_TIMES = 8
_NAME = 19  # letters of a replica's name that have room; its end, with the number, tells it from others
_GAP = 34

# The colours are from Okabe and Ito's palette, told apart with every kind of colour vision.
_STYLE = """
svg { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --quiet: #636870; --grid: #8883; --serving: #0072b2;
  --idle: #9cc9e6; --starting: #b58900; --failed: #c8361d; --draining: #a8477f; --suspect: #d55e00; --ok: #0072b2; }
@media (prefers-color-scheme: dark) { svg { --paper: #14171a; --ink: #e6e8ea; --quiet: #9ba1a8; --serving: #56b4e9;
  --idle: #2c5a78; --starting: #e0c040; --failed: #ff7b62; --draining: #d98bb9; --suspect: #f0a030; --ok: #56b4e9; } }
text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.title { font-size: 15px; font-weight: 650; } .quiet { fill: var(--quiet); } .end { text-anchor: end; }
.middle { text-anchor: middle; }
.paper { fill: var(--paper); } .grid { stroke: var(--grid); } .mark { stroke: var(--ink); stroke-dasharray: 3 3; }
.serving { fill: var(--serving); } .idle { fill: var(--idle); } .starting { fill: var(--starting); }
.failed { fill: var(--failed); } .draining { fill: var(--draining); } .suspect { fill: var(--suspect); }
.ok { fill: var(--ok); fill-opacity: .55; } .good { fill: var(--serving); } .bad { fill: var(--failed); }
"""
_KEYS = (
    ("serving", "gets requests"),
    ("idle", "ready, not in nginx"),
    ("suspect", "suspect"),
    ("starting", "starting"),
    ("failed", "failed or cut"),
    ("draining", "draining"),
)
_CLASSES = {"suspect": "suspect", "starting": "starting", "draining": "draining"}


@dataclass(frozen=True, slots=True)
class _Frame:
    """One drill's time axis and the height at which its block begins."""

    drill: Drill
    recording: Recording
    top: float

    def x(self, at_s: float) -> float:
        span_s = max(self.recording.ended_s - self.recording.began_s, 0.001)
        share = (at_s - self.recording.began_s) / span_s
        return LEFT + (RIGHT - LEFT) * min(max(share, 0.0), 1.0)


def svg(pool: str, drills: Sequence[Drill]) -> str:
    """The whole file. A drill that was not done has no block."""
    pieces: list[str] = []
    top = 20.0
    for drill in drills:
        if drill.recording is not None:
            block, height = _block(pool, _Frame(drill, drill.recording, top))
            pieces += block
            top += height + _GAP
    if not pieces:
        pieces.append(_text(LEFT, top + 10, "nothing was done", "quiet"))
        top += _GAP
    pieces += _legend(top)
    size = f'width="{WIDTH}" height="{top + 20:g}" viewBox="0 0 {WIDTH} {top + 20:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    title = f"<title>Drill of pool {escape(pool)}</title>"
    paper = '<rect class="paper" width="100%" height="100%"/>'
    return "\n".join([head, title, f"<style>{_STYLE}</style>", paper, *pieces, "</svg>", ""])


def _block(pool: str, frame: _Frame) -> tuple[list[str], float]:
    """Its elements and its height."""
    drill, recording, top = frame.drill, frame.recording, frame.top
    hit = f" of {' and '.join(recording.victims)}" if recording.victims else ""
    found = [_text(20, top, f"{drill.fault.value}{hit}, pool {pool}: ", "title", drill.outcome.value)]
    if drill.measured is not None:
        found.append(_text(20, top + 18, f"{requests_line(drill.measured)}; {latency_line(drill.measured)}", "quiet"))
    placed = _placed(frame)
    rows_top = top + 34 + _MARK_LINE * (1 + max((line for _, line, _ in placed), default=0))
    rows = lives(recording)
    panel_top = rows_top + _ROW * len(rows) + 12
    bottom = panel_top + _REQUESTS
    found += _grid(frame, rows_top, bottom)
    for place, (name, spans) in enumerate(rows):
        found += _row(frame, name, spans, rows_top + _ROW * place)
    found += _requests(frame, panel_top)
    for mark, line, anchor in placed:
        found += _mark(frame, mark, top + 34 + _MARK_LINE * line, (bottom, anchor))
    return found, bottom + 20 - top


def _row(frame: _Frame, name: str, spans: Sequence[Span], top: float) -> Iterator[str]:
    yield _text(LEFT - 10, top + _BAR - 2, name if len(name) <= _NAME else f"…{name[-_NAME + 1 :]}", "end")
    for span in spans:
        left, right = frame.x(span.from_s), frame.x(span.to_s)
        told = escape(f"{name}: {span.state}{', gets requests' if span.routed else ''}, {span.from_s:.1f} s")
        yield (
            f'<rect class="{_class(span)}" x="{left:.1f}" y="{top:g}" width="{max(right - left, 1):.1f}" '
            f'height="{_BAR}"><title>{told} to {span.to_s:.1f} s</title></rect>'
        )


def _class(span: Span) -> str:
    if span.state == SERVING[0]:
        return "serving" if span.routed else "idle"
    return _CLASSES.get(span.state, "failed")


def _requests(frame: _Frame, top: float) -> Iterator[str]:
    """Bars, one for each second: the good ones, and on top of them those that failed or were cut."""
    seconds = per_second(frame.recording)
    axis = axes.whole(max([1, *(ok + failed + cut for _, ok, failed, cut in seconds)]), 3)
    bottom = top + _REQUESTS
    yield _text(20, top + 12, "requests/s", "quiet")
    for tick in axis.ticks:
        y = bottom - _REQUESTS * tick.at
        yield f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(LEFT - 10, y + 4, tick.text, "quiet end")
    for second, ok, failed, cut in seconds:
        left, right = frame.x(second), frame.x(second + 1)
        low = bottom
        for kind, count in (("ok", ok), ("bad", failed + cut)):
            high = low - _REQUESTS * axis.at(count)
            if count:
                size = f'width="{max(right - left - 0.5, 0.5):.1f}" height="{low - high:.1f}"'
                yield f'<rect class="{kind}" x="{left:.1f}" y="{high:.1f}" {size}/>'
            low = high


def _grid(frame: _Frame, top: float, bottom: float) -> Iterator[str]:
    for at_s, text in _times(frame.recording):
        x = frame.x(at_s)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top:g}" y2="{bottom:g}"/>'
        yield _text(x, bottom + 16, text, "quiet middle")


def _times(recording: Recording) -> Iterator[tuple[float, str]]:
    """Round times, counted from the fault."""
    axis: Axis = axes.time(max(recording.ended_s, 1.0), _TIMES)
    yield from ((tick.at * axis.high, tick.text) for tick in axis.ticks)
    for tick in axis.ticks[1:]:
        if -tick.at * axis.high >= recording.began_s:
            yield -tick.at * axis.high, f"-{tick.text}"


def _placed(frame: _Frame) -> list[tuple[Mark, int, str]]:
    """The marks, each on the first line on which its text has room, and to which side the text goes."""
    ends: list[float] = []
    placed: list[tuple[Mark, int, str]] = []
    for mark in marks(frame.drill):
        x, width = frame.x(mark.at_s), _LETTER * len(_told(mark)) + 8
        anchor = "" if x + width < WIDTH else "end"
        left, right = (x, x + width) if not anchor else (x - width, x)
        line = next((line for line, end in enumerate(ends) if end < left), len(ends))
        ends[line : line + 1] = [right]
        placed.append((mark, line, anchor))
    return placed


def _mark(frame: _Frame, mark: Mark, top: float, end: tuple[float, str]) -> Iterator[str]:
    x, (bottom, anchor) = frame.x(mark.at_s), end
    yield f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{top:g}" y2="{bottom:g}"/>'
    yield _text(x - 4 if anchor else x + 4, top + 11, _told(mark), anchor)


def _told(mark: Mark) -> str:
    return f"{mark.name} {mark.at_s:.1f} s" if mark.at_s else mark.name


def _legend(top: float) -> Iterator[str]:
    x = float(LEFT)
    for kind, name in _KEYS:
        yield f'<rect class="{kind}" x="{x:g}" y="{top - 9:g}" width="14" height="10"/>'
        yield _text(x + 19, top, name, "quiet")
        x += 34 + _LETTER * len(name)


def _text(x: float, y: float, words: str, kind: str = "", outcome: str = "") -> str:
    """A text; `outcome` is a last word in its own colour."""
    last = f'<tspan class="{"good" if outcome == "passed" else "bad"}">{escape(outcome)}</tspan>' if outcome else ""
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}">{escape(words)}{last}</text>'
