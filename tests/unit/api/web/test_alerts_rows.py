"""What /alerts makes of alerts: the worst first, what the controller did about each pool, and what is over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from controller.api.activity import Line
from controller.api.history import Told
from controller.api.web.alerts import _is_local
from controller.api.web.alerts_rows import About, Deeds, coded, ended_by, groups_of, rows_of, spells, subject_of
from controller.core.alerts import Alert, KnownAlert
from controller.core.timeline import axis_of
from controller.records import Series
from tests.fakes.clock import START

MINUTE = timedelta(minutes=1)
NONE = Deeds()


def known(name: str, severity: str, minutes: int = 0, *, ended: int | None = None, **labels: str) -> KnownAlert:
    labels = {"alertname": name, "severity": severity, **labels}
    at = START + minutes * MINUTE
    over = at if ended is None else START + ended * MINUTE
    return KnownAlert(Alert(name, ended is None, at, labels, {"summary": f"{name}!"}), at, over, over)


def decision(number: int, minutes: int, pool: str = "llama", node: str = "a") -> Line:
    return Line("decision", number, START + minutes * MINUTE, "start_replica", "info", pool, "x", (), "", node=node)


def test_the_worst_first_then_the_oldest() -> None:
    rows = rows_of(
        [known("d", "info"), known("b", "warning", 2), known("c", "warning", 3), known("a", "critical", 9)], NONE
    )
    assert [(row.name, row.level) for row in rows] == [("a", "act"), ("b", "busy"), ("c", "busy"), ("d", "calm")]


def test_those_of_a_pool_stand_together_with_what_was_done_since_the_first() -> None:
    alerts = [
        known("Slow", "warning", 5, pool="llama"),
        known("Down", "critical", 7, pool="llama"),
        known("Lost", "critical", 1, node="b"),
        known("Stale", "warning", 2, exporter="edge"),
        known("Stale", "warning", 2, exporter="gpu"),
    ]
    decisions = [decision(number, number) for number in (9, 8, 7, 6, 5, 4, 3)] + [decision(2, 2, "phi", "b")]
    deeds = Deeds(decisions)
    groups = groups_of(rows_of(alerts, deeds), deeds, None)
    told = [
        ([row.name for row in group.rows], [line.id for line in group.did.lines], group.did.more) for group in groups
    ]
    assert told == [
        (["Lost"], [2], 0),
        (["Down", "Slow"], [9, 8, 7, 6], 2),  # 4 is of the minute before, 3 is not
        (["Stale"], [], 0),
        (["Stale"], [], 0),
    ]
    assert groups[1].earliest.name == "Slow"


def test_one_that_is_over_has_what_was_done_while_it_fired() -> None:
    (row,) = rows_of([known("Slow", "warning", 5, ended=8, pool="llama")], Deeds([decision(9, 9), decision(6, 6)]))
    assert (row.level, row.lasted_s, [line.id for line in row.did.lines]) == ("calm", 180, [6])


def test_nothing_is_done_about_what_is_of_no_pool_and_no_node() -> None:
    assert Deeds([decision(1, 1, pool="", node="")]).did(About(), (START, None)).lines == ()


def test_of_a_gpu_is_told_what_became_of_it_and_of_the_replicas_on_it() -> None:
    """And not of what else happens on its node. Two broken ones stand apart."""

    def line(number: int, subject: str, what: str = "decision") -> Line:
        return Line(what, number, START + 9 * MINUTE, "x", "info", "llama", subject, (), "", node="a")

    lines = [
        line(5, "replica/llama-5"),
        line(4, "replica/llama-1"),
        line(3, "gpu/GPU-1", "event"),
        line(2, "gpu/GPU-2", "event"),
        decision(1, 2),
    ]
    deeds = Deeds(lines, {"GPU-1": frozenset({"gpu/GPU-1", "replica/llama-1"}), "GPU-2": frozenset({"gpu/GPU-2"})})
    alerts = [known("Broken", "critical", 1, node="a", UUID=f"GPU-{number}") for number in (1, 2)]
    alerts.append(known("Down", "critical", 1, node="a"))
    told = [
        (group.worst.about.gpu, group.worst.about.node_alone, [line.id for line in group.did.lines])
        for group in groups_of(rows_of(alerts, deeds), deeds, None)
    ]
    assert told == [("GPU-1", False, [4, 3]), ("GPU-2", False, [2]), ("", True, [5, 4, 1])]
    assert ("UUID", "GPU-1") in subject_of(rows_of(alerts, deeds)[0])


@pytest.mark.parametrize(
    ("fires", "found"),
    [([], []), ([False, True, True, False, True], [(1, 2), (4, 4)]), ([True], [(0, 0)]), ([False], [])],
)
def test_spells(fires: list[bool], found: list[tuple[int, int]]) -> None:
    assert spells(fires) == found


def test_what_prometheus_remembers_of_a_day() -> None:
    axis = axis_of(START.timestamp(), START.timestamp() + 3600, 300)
    asked = list(axis.asked)
    series = Series(
        {"alertname": "Slow", "severity": "warning", "pool": "llama"},
        {asked[1]: 1.0, asked[2]: 1.0, asked[-1]: 1.0},
    )
    told = Told(axis, (series,), START)
    fires = rows_of([known("Slow", "warning", 58, pool="llama")], NONE)
    (row,) = ended_by(told, fires, [])  # the last one fires still
    assert (row.name, row.about.pool, row.lasted_s) == ("Slow", "llama", 600)
    assert len(ended_by(told, [], [])) == 2
    assert ended_by(Told(axis), [], []) == []


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("run `stoker why <x>` now", "run <code>stoker why &lt;x&gt;</code> now"),
        ("`a` and `b`", "<code>a</code> and <code>b</code>"),
        ("one ` alone <b>", "one ` alone &lt;b&gt;"),
        ("", ""),
    ],
)
def test_commands_are_code(text: str, html: str) -> None:
    assert coded(text) == html


def test_labels_that_say_whose_it_is_come_alone() -> None:
    (one,) = rows_of([known("a", "info", pool="llama", code="503", instance="x")], NONE)
    (other,) = rows_of([known("a", "info", code="503", instance="x")], NONE)
    assert (subject_of(one), subject_of(other)) == ([("pool", "llama")], [("code", "503")])


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.7", False), ("", False)]
)
def test_what_only_its_own_machine_reaches(host: str, local: bool) -> None:
    assert _is_local(host) is local
