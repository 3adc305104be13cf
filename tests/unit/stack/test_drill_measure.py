"""What a recording says: tables of one change each to a kill that went as it should."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.stack.drill.facts import Before, Ending, Fault, Happened, Recording
from controller.stack.drill.measure import measure, p95, routes
from tests.unit.stack.drill_samples import KILLED, NAMES, changed, look, reloaded, request, told, without

HIDDEN = changed(
    fault=Fault.HIDE_METRICS,
    victims=(),
    looks=(look(-1, *NAMES), look(0.1, *NAMES), look(5.0, *NAMES)),
    events=(told(2.5, "source_lost", "source/metrics"),),
    requests=(request(-1.0), request(2.0)),
    over_s=6.0,
)


def test_a_kill_that_went_as_it_should() -> None:
    found = measure(KILLED)

    assert (found.detected_s, found.out_s, found.whole_s) == (0.3, 0.5, 6.4)
    assert (found.requests, found.failed, found.cut, found.cut_elsewhere, found.retried) == (23, 0, 1, 0, 2)
    assert (found.replaced, found.missing) == (0, 1)
    assert found.mean_before_s == pytest.approx(0.5)
    assert found.mean_during_s == pytest.approx(0.8)


FIGURES = [
    pytest.param("detected_s", KILLED, 0.3, id="the first judgement counts"),
    pytest.param(
        "detected_s", changed(events=(told(0.2, "replica_suspect", "replica/small-1"), *KILLED.events)), 0.2, id="doubt"
    ),
    pytest.param("detected_s", changed(events=()), 0.6, id="without events the looks tell"),
    pytest.param("detected_s", changed(events=(), looks=KILLED.looks[:2]), None, id="never"),
    pytest.param("detected_s", HIDDEN, 2.5, id="metrics that fall silent"),
    pytest.param("detected_s", changed(HIDDEN, fault=Fault.ENGINE_DOWN), None, id="another source is none of it"),
    pytest.param(
        "detected_s",
        changed(HIDDEN, fault=Fault.ENGINE_DOWN, events=(told(1, "source_lost", "source/runtime:local"),)),
        1.0,
        id="the engine of a node",
    ),
    pytest.param("out_s", changed(events=without(KILLED.events, "gateway_reloaded")), 0.6, id="out by the looks"),
    pytest.param(
        "out_s",
        changed(looks=(look(0.1, *NAMES), look(0.55, *NAMES), *KILLED.looks[2:])),
        0.55,
        id="a tick that took its time",
    ),
    pytest.param("out_s", HIDDEN, None, id="nobody to leave nginx"),
    pytest.param("out_s", changed(looks=KILLED.looks[:2], events=()), None, id="held in nginx"),
    pytest.param("whole_s", changed(events=()), 6.5, id="whole by the looks"),
    pytest.param("whole_s", changed(looks=KILLED.looks[:4], events=KILLED.events[:4]), None, id="never whole"),
    pytest.param("whole_s", changed(before=Before(NAMES, 2)), 0.0, id="one more than desired was there"),
    pytest.param("whole_s", changed(looks=(), events=()), None, id="nothing was seen"),
    pytest.param(
        "whole_s",
        changed(looks=(look(0.6, *NAMES[1:]), look(9.0, *NAMES[1:], desired=2)), events=()),
        9.0,
        id="fewer are wanted by now",
    ),
    pytest.param(
        "whole_s",
        changed(
            looks=(look(0.6, *NAMES[1:]), look(3.0, *NAMES[1:], desired=2), look(9.0, *NAMES[1:], desired=2)),
            events=(reloaded(2.0, *NAMES[1:]), reloaded(4.0, *NAMES[1:])),
        ),
        4.0,
        id="told when fewer are wanted",
    ),
    pytest.param("whole_s", HIDDEN, 0.0, id="never less than whole"),
    pytest.param(
        "whole_s",
        changed(HIDDEN, looks=(look(0.1, *NAMES), look(1, *NAMES[:2]), look(2, *NAMES))),
        2.0,
        id="whole again though nothing was hit",
    ),
    pytest.param(
        "whole_s",
        changed(
            victims=("small-1", "small-4"), events=(*KILLED.events, reloaded(8.0, "small-2", "small-3", "small-5"))
        ),
        8.0,
        id="the second victim does not count either",
    ),
    pytest.param("missing", HIDDEN, 0, id="none is missing"),
    pytest.param("missing", changed(HIDDEN, looks=(look(1, *NAMES[:1]), look(2, *NAMES))), 2, id="the worst counts"),
    pytest.param("missing", changed(HIDDEN, looks=(look(1, *NAMES), look(7, *NAMES[:1]))), 0, id="later is the load's"),
    pytest.param(
        "replaced", changed(HIDDEN, events=(told(1, "replica_drained", "replica/small-2"),)), 1, id="taken away"
    ),
    pytest.param(
        "replaced",
        changed(HIDDEN, events=(told(1, "replica_drained", "replica/small-2", reason="AboveDesired"),)),
        0,
        id="too many for the load",
    ),
]


@pytest.mark.parametrize(("name", "recording", "want"), FIGURES)
def test_a_figure(name: str, recording: Recording, want: float | None) -> None:
    assert measure(recording).figure(name) == want


CUTS = [
    # what broke, and whether it may be the victim's
    pytest.param(request(0.2, Ending.CUT), 0, id="as the victim died"),
    pytest.param(request(0.9, Ending.CUT), 0, id="sent before it left nginx"),
    pytest.param(request(3.0, Ending.CUT, took_s=1.0), 1, id="sent long after"),
    pytest.param(request(-0.5, Ending.CUT), 1, id="before the fault"),
    pytest.param(request(3.0, Ending.FAILED, took_s=1.0, first=False), 0, id="not begun is failed and not cut"),
]


@pytest.mark.parametrize(("broken", "elsewhere"), CUTS)
def test_streams_that_broke(broken: object, elsewhere: int) -> None:
    assert measure(changed(requests=(broken,))).cut_elsewhere == elsewhere


def test_without_a_victim_no_stream_may_break() -> None:
    assert measure(changed(HIDDEN, requests=(request(0.2, Ending.CUT),))).cut_elsewhere == 1


@pytest.mark.parametrize(
    ("event", "want"),
    [
        (reloaded(0, "small-1", "small-2"), {"small-1", "small-2"}),
        (reloaded(0), set()),
        (told(0, "gateway_reloaded", message="Sends requests to other: o-1."), None),
        (told(0, "gateway_held", message="Sends requests to small: small-1."), None),
    ],
)
def test_the_routes_that_a_reload_tells(event: Happened, want: set[str] | None) -> None:
    assert routes(event, "small") == want


@pytest.mark.parametrize(("values", "want"), [([], None), ([3.0], 3.0), (list(range(1, 101)), 95), ([2.0, 1.0], 2.0)])
def test_p95(values: list[float], want: float | None) -> None:
    assert p95(values) == want


@pytest.mark.parametrize(("took_s", "elsewhere"), [(0.0, 1), (0.5, 1), (2.0, 0)])
def test_a_stream_that_broke_while_the_fault_was_coming_was_the_victims(took_s: float, elsewhere: int) -> None:
    broken = replace(request(-3.0, Ending.CUT), ended_s=-1.0)

    assert measure(changed(requests=(broken,), took_s=took_s)).cut_elsewhere == elsewhere
