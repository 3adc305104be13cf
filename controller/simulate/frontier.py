"""Cost against service: a dot for each run, with its name beside it. Pure geometry for the report's template."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from controller.simulate import axes
from controller.simulate.axes import Axis, Tick
from controller.simulate.score import Result

LEFT, RIGHT, TOP, BOTTOM = 78, 640, 14, 240  # of the plot, within 660 by 290
_DOT = 5
_LETTER, _LINE = 7.2, 14.0  # room for a text of 12 px
_GAP = 9.0
_GOOD = 0.95  # where one run is this good, the axis goes by nines
_LEAST_MISSED = 1e-4

_Spot = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Dot:
    """One run, or several that came out alike. `anchor` is the text's side that lies at `text_x`, as SVG names it."""

    name: str
    x: float
    y: float
    text_x: float
    text_y: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Frontier:
    """Replica-hours to the right, the share within the SLO upwards: `share` are the ticks of that axis."""

    hours: Axis
    share: tuple[Tick, ...]
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def outside(self) -> bool:
        return self.left < LEFT or self.right > RIGHT + 15 or self.top < 0 or self.bottom > BOTTOM + _LINE / 2


def draw(results: Sequence[Result]) -> Frontier:
    """The first run gets the best place for its name."""
    hours = axes.even(max(result.replica_hours for result in results), 5)
    heights, ticks = _heights([result.slo_share for result in results])
    across = [LEFT + (RIGHT - LEFT) * hours.at(result.replica_hours) for result in results]
    spots = [(x, BOTTOM - (BOTTOM - TOP) * height) for x, height in zip(across, heights, strict=True)]
    groups = _groups([result.scaler for result in results], spots)
    taken = [_Box(x - _DOT, y - _DOT, x + _DOT, y + _DOT) for _, (x, y) in groups]
    dots = []
    for names, (x, y) in groups:
        dot, box = _place(", ".join(names), x, y, taken)
        taken.append(box)
        dots.append(dot)
    return Frontier(hours, ticks, tuple(dots))


def _groups(names: Sequence[str], spots: Sequence[_Spot]) -> list[tuple[list[str], _Spot]]:
    """Runs that came out alike lie on one another: they share a dot."""
    groups: list[tuple[list[str], _Spot]] = []
    for name, spot in zip(names, spots, strict=True):
        same = next((group for group in groups if math.dist(group[1], spot) < _DOT / 2), None)
        if same is None:
            groups.append(([name], spot))
        else:
            same[0].append(name)
    return groups


def _heights(shares: Sequence[float]) -> tuple[list[float], tuple[Tick, ...]]:
    """Where each share stands, 0..1, and the ticks. Among good ones the nines count: 99 % is halfway to 99.99 %."""
    if max(shares) < _GOOD:
        even = axes.even(100, 4, low=100 * min(shares), unit=" %")
        return [even.at(100 * share) for share in shares], even.ticks
    missed = [max(1 - share, _LEAST_MISSED) for share in shares]
    axis = axes.powers(min(0.01, *missed), max(0.1, *missed))
    ticks = [Tick(1 - tick.at, f"{100 - 100 * 10.0**power:g} %") for power, tick in _powers(axis)]
    return [1 - axis.at(one) for one in missed], tuple(ticks)


def _powers(axis: Axis) -> Iterator[tuple[int, Tick]]:
    for tick in axis.ticks:
        yield round(math.log10(axis.low) + tick.at * math.log10(axis.high / axis.low)), tick


def _place(name: str, x: float, y: float, taken: Sequence[_Box]) -> tuple[Dot, _Box]:
    """Beside its dot where nothing else is; where everything is full, to the right all the same."""
    choices = list(_choices(name, x, y))
    for dot, box in choices:
        if not box.outside() and not any(box.meets(other) for other in taken):
            return dot, box
    return choices[0]


def _choices(name: str, x: float, y: float) -> Iterator[tuple[Dot, _Box]]:
    """Right, left, above and below, then the same farther away."""
    wide = len(name) * _LETTER
    for away in (0.0, _LINE, 2 * _LINE):
        for shift in (0.0, -away, away) if away else (0.0,):
            yield _text(name, (x, y), (x + _GAP, y + shift), "start", wide)
            yield _text(name, (x, y), (x - _GAP, y + shift), "end", wide)
        yield _text(name, (x, y), (x, y - _GAP - _LINE / 2 - away), "middle", wide)
        yield _text(name, (x, y), (x, y + _GAP + _LINE / 2 + away), "middle", wide)


def _text(name: str, dot: _Spot, place: _Spot, anchor: str, wide: float) -> tuple[Dot, _Box]:
    x, y = place
    left = {"start": x, "end": x - wide, "middle": x - wide / 2}[anchor]
    box = _Box(left, y - _LINE / 2, left + wide, y + _LINE / 2)
    return Dot(name, dot[0], dot[1], x, y + 4, anchor), box
