"""Cost against service: one dot for each run, with its name beside it. Pure geometry for the report's template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from controller.simulate import axes
from controller.simulate.axes import Axis
from controller.simulate.score import Result

LEFT, RIGHT, TOP, BOTTOM = 62, 640, 14, 240  # of the plot, within 660 by 290
_DOT = 5
_LETTER, _LINE = 7.2, 14.0  # room for a text of 12 px
_GAP = 9.0


@dataclass(frozen=True, slots=True)
class Dot:
    """One run. `anchor` is the text's side that lies at `text_x`, as SVG names it."""

    name: str
    x: float
    y: float
    text_x: float
    text_y: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Frontier:
    """Replica-hours to the right, the share within the SLO upwards."""

    hours: Axis
    share: Axis
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def outside(self) -> bool:
        return self.left < LEFT or self.right > RIGHT + 15 or self.top < 0 or self.bottom > BOTTOM


def draw(results: Sequence[Result]) -> Frontier:
    """The first run gets the best place for its name."""
    hours = axes.even(max(result.replica_hours for result in results) or 1.0, 5)
    worst = 100 * min(result.slo_share for result in results)
    share = axes.even(100, 4, low=min(worst, 99.0), unit=" %")
    spots = [(_across(hours, result.replica_hours), _up(share, 100 * result.slo_share)) for result in results]
    taken = [_Box(x - _DOT, y - _DOT, x + _DOT, y + _DOT) for x, y in spots]
    dots = []
    for result, (x, y) in zip(results, spots, strict=True):
        dot, box = _place(result.scaler, x, y, taken)
        taken.append(box)
        dots.append(dot)
    return Frontier(hours, share, tuple(dots))


def _across(axis: Axis, value: float) -> float:
    return LEFT + (RIGHT - LEFT) * axis.at(value)


def _up(axis: Axis, value: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * axis.at(value)


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


def _text(
    name: str, dot: tuple[float, float], place: tuple[float, float], anchor: str, wide: float
) -> tuple[Dot, _Box]:
    x, y = place
    left = {"start": x, "end": x - wide, "middle": x - wide / 2}[anchor]
    box = _Box(left, y - _LINE / 2, left + wide, y + _LINE / 2)
    return Dot(name, dot[0], dot[1], x, y + 4, anchor), box
