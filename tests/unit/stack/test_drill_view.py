"""What a drill shows: the terminal, the chart and JSON. To accept a change: UPDATE_GOLDEN=1."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET

import pytest
from rich.console import Console

from controller.stack.drill import chart, view
from controller.stack.drill.command import Drilled
from controller.stack.drill.facts import Ending, Fault
from controller.stack.drill.marks import marks
from controller.stack.drill.result import Drill, Outcome, Span, lives, per_second, timeline
from tests.unit.stack.drill_samples import KILLED, NAMES, changed, drilled, look, request, told
from tests.unit.stack.test_rendering import GOLDEN, agrees_with

HIDDEN = changed(
    fault=Fault.HIDE_METRICS,
    victims=(),
    looks=(look(-3, *NAMES), look(0.1, *NAMES)),
    events=(told(2.0, "source_lost", "source/metrics", "Gave no answer."),),
    requests=(request(-2.0), request(3.0), request(5.5, Ending.FAILED, first=False)),
    retried=None,
    over_s=6.0,
)
NOT_HERE = Drill(Fault.LOST_NODE, Outcome.NOT_HERE, "there is one node; it needs a second one to take over")
REFUSED = Drill(Fault.OOM, Outcome.REFUSED, "small is not whole")
ALL = (drilled(), drilled(HIDDEN), NOT_HERE)


def shown(*drills: Drill, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    for part in view.parts("small", drills):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def test_the_terminal() -> None:
    agrees_with(GOLDEN / "drill.txt", shown(*ALL))


def test_a_single_one_has_no_table_of_all() -> None:
    assert "outcome" not in shown(drilled())
    assert "…" not in shown(drilled(), width=80)


def test_the_chart() -> None:
    drawn = chart.svg("small", ALL)

    agrees_with(GOLDEN / "drill-chart.svg", drawn)
    ET.fromstring(drawn)


def test_a_chart_of_nothing() -> None:
    drawn = chart.svg("small", (NOT_HERE,))

    assert "nothing was done" in drawn
    ET.fromstring(drawn)


def test_long_names_keep_their_end() -> None:
    drawn = chart.svg("small", (drilled(changed(looks=(look(-1, "a-very-long-name-of-a-pool-12"),))),))

    assert "…-name-of-a-pool-12" in drawn


def test_marks_are_in_the_order_of_time() -> None:
    assert [(mark.name, mark.at_s) for mark in marks(drilled())] == [
        ("fault", 0.0),
        ("detected", 0.3),
        ("out of nginx", 0.5),
        ("full strength", 6.4),
    ]
    assert [mark.name for mark in marks(drilled(HIDDEN))] == ["fault", "detected", "undone"]
    assert marks(NOT_HERE) == ()


def test_the_lives_of_replicas() -> None:
    found = dict(lives(KILLED))

    assert found["small-1"] == [Span(-3.0, 0.6, "ready", True), Span(0.6, 1.0, "stopped", False)]
    assert found["small-4"] == [Span(0.6, 6.5, "starting", False), Span(6.5, 9.0, "ready", True)]


def test_requests_of_each_second() -> None:
    recording = changed(
        began_s=-1.5, ended_s=1.2, requests=(request(-0.2), request(0.2, Ending.CUT), request(0.9), request(1.1))
    )

    assert per_second(recording) == [(-2, 0, 0, 0), (-1, 1, 0, 0), (0, 1, 0, 1), (1, 1, 0, 0)]


def test_the_timeline_has_the_drills_own_steps_among_the_controllers() -> None:
    assert [(at_s, event) for at_s, event, _, _ in timeline(HIDDEN)] == [
        (0.0, "fault"),
        (2.0, "source_lost"),
        (6.0, "fault_over"),
    ]


def test_json_has_everything() -> None:
    found = json.loads(json.dumps(Drilled("small", "docker", 8, ALL).as_json(), allow_nan=False))

    assert (found["pool"], found["runtime"], found["load"], found["passed"]) == ("small", "docker", 8, False)
    kill, hidden, nowhere = found["drills"]
    assert (kill["outcome"], kill["victims"], kill["measured"]["whole_s"]) == ("passed", ["small-1"], 6.4)
    assert {entry["name"]: entry["kept"] for entry in kill["promises"]} == dict.fromkeys(
        ("detected_s", "out_s", "whole_s", "failed", "cut_elsewhere"), True
    )
    assert kill["timeline"][1]["event"] == "replica_stopped"
    assert kill["replicas"][0]["spans"][0] == {"from_s": -3.0, "to_s": 0.6, "state": "ready", "routed": True}
    assert hidden["troubles"] == [{"ended_s": 5.5, "ending": "failed", "streamed": True, "why": "it broke"}]
    assert nowhere == {"fault": "lost-node", "outcome": "not here", "why": NOT_HERE.why}


@pytest.mark.parametrize(
    ("drills", "code"),
    [
        ((drilled(),), 0),
        ((drilled(), NOT_HERE), 0),
        ((drilled(), drilled(HIDDEN)), 1),
        ((drilled(), REFUSED), 2),
        ((REFUSED, drilled(HIDDEN)), 1),
    ],
)
def test_exit_codes(drills: tuple[Drill, ...], code: int) -> None:
    assert Drilled("small", "docker", 8, drills).exit_code == code
