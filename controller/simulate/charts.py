"""Runs -> charts over time, as data for the report's template: paths, ticks and labels. Pure.

A path lies in a box of 1000 by 100 that the page stretches; texts are not in it, so that they keep their size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from controller.simulate import axes
from controller.simulate.axes import Axis, Tick
from controller.simulate.figures import seconds
from controller.simulate.score import Result
from controller.simulate.series import Point
from controller.simulate.traces import Workload

WIDTH, HEIGHT = 1000, 100
_TICKS = 3  # on an upright axis
_TIMES = 6
_POWERS = "by powers of ten"
_BELOW = 20  # so much below the SLO begins the axis of the first token

Value = Callable[[Point], float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `kind` names its colour, `name` stands in the legend."""

    kind: str
    name: str
    path: str
    area: str = ""  # the same down to the ground, where it is to be filled


@dataclass(frozen=True, slots=True)
class Panel:
    """One upright axis. `mark` is a level with a text, such as the SLO."""

    title: str
    unit: str
    told: str
    axis: Axis
    lines: tuple[Line, ...]
    mark: Tick | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """One run: panels over one time axis. `dark` are the times without metrics, as start and end."""

    run: Result
    panels: tuple[Panel, ...]
    time: Axis
    dark: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class _Axes:
    """The same for every run, so that charts can be compared by eye."""

    demand: Axis
    in_flight: Axis
    replicas: Axis
    first_token: Axis


def draw(results: Sequence[Result], trace: Workload, slo_first_token_s: float) -> tuple[Chart, ...]:
    """One chart for each run."""
    shared = _axes(results, slo_first_token_s)
    charts = []
    for run in results:
        time = axes.time(run.duration_s, _TIMES)
        dark = tuple((time.at(start), time.at(end)) for start, end in trace.outages)
        charts.append(Chart(run, _panels(run, shared, slo_first_token_s), time, dark))
    return tuple(charts)


def _axes(results: Sequence[Result], slo_s: float) -> _Axes:
    points = [point for run in results for point in run.series]
    waits = [point.first_token_p95_s for point in points if point.first_token_p95_s is not None]
    return _Axes(
        axes.even(max((point.demand_rps for point in points), default=1.0), _TICKS),
        # By powers of ten, as a fleet that is overrun holds a hundred times what another does.
        axes.powers(1, max([10.0, *(point.in_flight for point in points)])),
        axes.whole(max((max(point.ready, point.desired) for point in points), default=1.0), _TICKS),
        # What is far below the SLO is good enough not to be told apart: it lies on the edge.
        axes.powers(slo_s / _BELOW, max([2 * slo_s, *waits])),
    )


def _panels(run: Result, shared: _Axes, slo_s: float) -> tuple[Panel, ...]:
    points, end_s = run.series, run.duration_s

    def line(kind: str, name: str, axis: Axis, value: Value, filled: bool = False) -> Line:
        path = _steps(points, end_s, axis, value)
        return Line(kind, name, path, _ground(path) if filled else "")

    highest = max((point.in_flight for point in points), default=0)
    waits = [point.first_token_p95_s for point in points if point.first_token_p95_s is not None]
    demand = line("demand", "demand", shared.demand, lambda point: point.demand_rps, filled=True)
    in_flight = line("flight", "in flight", shared.in_flight, lambda point: point.in_flight)
    ready = line("ready", "ready", shared.replicas, lambda point: point.ready, filled=True)
    desired = line("desired", "desired", shared.replicas, lambda point: point.desired)
    wait = line("wait", "first token", shared.first_token, lambda point: point.first_token_p95_s)
    slo = Tick(shared.first_token.at(slo_s), f"SLO {slo_s:g} s")
    mean, peak, slowest = (
        f"{run.requests / end_s:.3g} on average",
        f"peak {run.peak_replicas:,}",
        max(waits, default=None),
    )
    return (
        Panel("demand", "requests/s", mean, shared.demand, (demand,)),
        Panel(
            "in flight and waiting", f"requests, {_POWERS}", f"highest {highest:,.0f}", shared.in_flight, (in_flight,)
        ),
        Panel("replicas", "", peak, shared.replicas, (ready, desired)),
        Panel(
            "first token, 95th percentile",
            f"s, {_POWERS}",
            f"highest {seconds(slowest)}" if waits else "none",
            shared.first_token,
            (wait,),
            slo,
        ),
    )


def _steps(points: Sequence[Point], end_s: float, axis: Axis, value: Value) -> str:
    """A staircase: each point holds from its beginning to the next one's. What is not known is a gap."""
    parts: list[str] = []
    height: str | None = None
    for start, end, known in _spans(points, end_s, value):
        if known is None:
            height = None
            continue
        level = f"{HEIGHT * (1 - axis.at(known)):.1f}"
        if height is None:
            parts.append(f"M{start:.1f} {level}")
        elif level != height:
            parts.append(f"V{level}")
        elif parts[-1].startswith("H"):
            parts.pop()
        height = level
        parts.append(f"H{end:.1f}")
    return "".join(parts)


def _spans(points: Sequence[Point], end_s: float, value: Value) -> Iterator[tuple[float, float, float | None]]:
    for place, point in enumerate(points):
        until = points[place + 1].at_s if place + 1 < len(points) else max(end_s, point.at_s)
        yield WIDTH * min(point.at_s / end_s, 1.0), WIDTH * min(until / end_s, 1.0), value(point)


def _ground(path: str) -> str:
    """The area under a staircase without gaps."""
    return f"{path}V{HEIGHT}H0Z" if path else ""
