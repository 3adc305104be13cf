"""Runs as paths."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.simulate import charts, frontier
from controller.simulate.score import Result
from controller.simulate.series import Point
from tests.unit.simulate.runs import KPA, NOTHING, OURS, STATIC, TRACE, run


def test_a_line_is_a_staircase_and_what_is_not_known_a_gap() -> None:
    [chart] = charts.draw([OURS], TRACE, 2.0)
    demand, _, replicas, wait = chart.panels

    assert demand.lines[0].path == "M0.0 80.0H333.3V20.0H666.7V60.0H1000.0"
    assert demand.lines[0].area == "M0.0 80.0H333.3V20.0H666.7V60.0H1000.0V100H0Z"
    assert [line.path for line in replicas.lines] == ["M0.0 75.0H666.7V0.0H1000.0", "M0.0 75.0H333.3V0.0H1000.0"]
    assert wait.lines[0].path.count("M") == 2
    assert (wait.lines[0].area, wait.mark and wait.mark.text) == ("", "SLO 2 s")


def test_equal_steps_become_one() -> None:
    points = tuple(replace(OURS.series[0], at_s=float(at)) for at in range(0, 3600, 6))
    [chart] = charts.draw([replace(OURS, series=points)], TRACE, 2.0)

    assert chart.panels[0].lines[0].path == "M0.0 0.0H1000.0"


def test_all_runs_have_the_same_axes() -> None:
    bigger = run("kpa", series=tuple(replace(point, in_flight=5000.0, ready=40.0) for point in OURS.series))
    first, second = charts.draw([OURS, bigger], TRACE, 2.0)

    assert [panel.axis for panel in first.panels] == [panel.axis for panel in second.panels]
    assert [panel.axis.high for panel in first.panels] == [10.0, 5000.0, 40.0, 5.0]
    assert first.time == second.time


def test_times_without_metrics() -> None:
    [chart] = charts.draw([OURS], replace(TRACE, outages=((900.0, 1800.0),)), 2.0)

    assert chart.dark == ((0.25, 0.5),)


@pytest.mark.parametrize("series", [(), OURS.series[:1], OURS.series[1:2]], ids=["none", "one", "nothing answered"])
def test_short_runs_can_be_drawn(series: tuple[Point, ...]) -> None:
    [chart] = charts.draw([replace(OURS, series=series, duration_s=1.0)], TRACE, 2.0)

    assert [panel.title for panel in chart.panels][0] == "demand"


@pytest.mark.parametrize("others", [[], [STATIC], [STATIC, KPA, NOTHING]], ids=len)
def test_names_lie_in_the_picture_and_not_on_one_another(others: list[Result]) -> None:
    found = frontier.draw([OURS, *others])

    assert [dot.name for dot in found.dots] == ["stoker", *(other.scaler for other in others)]
    for dot in found.dots:
        assert frontier.LEFT <= dot.x <= frontier.RIGHT
        assert frontier.TOP <= dot.y <= frontier.BOTTOM
    assert len({(dot.text_x, dot.text_y) for dot in found.dots}) == len(found.dots)


def test_runs_that_came_out_alike_share_a_dot() -> None:
    found = frontier.draw([OURS, STATIC, run("hpa"), run("kpa")])

    assert [dot.name for dot in found.dots] == ["stoker, hpa, kpa", "static:4"]


def test_among_good_runs_the_nines_count() -> None:
    good, bad = frontier.draw([OURS, STATIC]), frontier.draw([KPA, NOTHING])

    assert [tick.text for tick in good.share] == ["99.99 %", "99.9 %", "99 %", "90 %"]
    assert [tick.text for tick in bad.share] == ["0 %", "25 %", "50 %", "75 %", "100 %"]
