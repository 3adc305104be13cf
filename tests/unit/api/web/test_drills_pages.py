"""/drills: what can be hurt and how it is asked for, what runs, and the report of what was."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from controller.api.activity import Line
from controller.api.app import create_app
from controller.api.drills import DrillRefused, Possible
from controller.api.web.drills_rows import Promise, Report, report_of
from controller.core.drilled import Drilled, DrillLine, DrillState
from controller.core.event import Event
from tests.fakes.clock import START
from tests.unit.api.callers import as_admin
from tests.unit.api.test_drills import Given
from tests.unit.stack.drill_samples import AT, KILLED, changed, drilled

EVIL = "<img src=x onerror=alert(1)>"
RUNNING = Drilled(
    "cafe", "kill", "small", "ada", AT - timedelta(seconds=5), AT, "Friday",
    lines=(DrillLine(AT - timedelta(seconds=4), "load"), DrillLine(AT, "kill of small-1")),
)  # fmt: skip
RESULT: dict[str, Any] = drilled().as_dict()
ENDED = replace(
    RUNNING, state=DrillState.PASSED, ended_at=AT + timedelta(seconds=9), victims=("small-1",),
    figures=RESULT["measured"],
)  # fmt: skip


def line(after_s: float, kind: str, subject: str, what: str = "event", text: str = "so", number: int = 1) -> Line:
    pool = "" if subject in ("gateway", "source/metrics") else "small"
    return Line(what, number, AT + timedelta(seconds=after_s), kind, "info", pool, subject, ("R",), text)


COURSE = [
    line(0.3, "replica_stopped", "replica/small-1", text="Was ready, is stopped."),
    line(0.3, "start_replica", "replica/small-4", "decision", "2 of 3", 7),
    line(0.5, "gateway_reloaded", "gateway", text="Sends requests to small: small-2, small-3.", number=8),
    line(0.9, "remove_replica", "replica/small-1", "decision", "it exited", 9),
    line(2.0, "replica_ready", "replica/small-3"),
    line(6.3, "replica_ready", "replica/small-4", number=10),
]


def course(report: Report) -> list[tuple[str, float | None, str]]:
    return [(step.word, None if step.after_s is None else round(step.after_s, 1), step.href) for step in report.steps]


def test_the_report_of_one_that_has_ended() -> None:
    report = report_of(ENDED, RESULT, COURSE)
    assert course(report) == [
        ("began", None, ""),
        ("hurt", 0.0, ""),
        ("noticed", 0.3, "/activity?event=1"),
        ("replaced", 0.3, "/decisions/7"),
        ("out", 0.5, "/activity?event=8"),
        ("ready", 6.3, "/activity?event=10"),
        ("whole", 6.4, ""),
        ("over", 9.0, ""),
    ]
    assert [line.id for line in report.decisions] == [7, 9]
    assert (report.broken, len(report.promises), report.victims) == (0, 5, ("small-1",))
    assert [name for name, _ in report.chart.lanes] == ["small-1", "small-2", "small-3", "small-4"]
    assert [word for word, _ in report.chart.marks] == ["hurt", "noticed", "out", "whole"]
    assert report.chart.marks[0][1] == pytest.approx(1000 * 3 / 13, abs=0.1)  # the fault is 3 s after its beginning


def test_the_report_while_it_runs_is_what_the_ledger_has() -> None:
    report = report_of(RUNNING, None, COURSE[:2])
    assert course(report) == [
        ("began", None, ""),
        ("hurt", 0.0, ""),
        ("noticed", 0.3, "/activity?event=1"),
        ("replaced", 0.3, "/decisions/7"),
    ]
    assert (report.victims, report.promises, report.chart.lanes) == (("small-1",), (), ())
    assert report_of(replace(RUNNING, lines=RUNNING.lines[:1]), None, []).hurt_at is None


def test_routes_that_still_have_the_victim_do_not_count() -> None:
    still = line(0.4, "gateway_reloaded", "gateway", text="Sends requests to small: small-2, small-1.", number=3)
    report = report_of(RUNNING, None, [COURSE[0], still])
    assert report.step("out") is None


def test_a_fault_of_no_replica_is_noticed_by_what_falls_silent() -> None:
    hidden = replace(RUNNING, fault="hide-metrics", lines=(DrillLine(AT, "hide-metrics"),))
    report = report_of(hidden, None, [line(2.5, "source_lost", "source/metrics", number=4)])
    assert course(report)[1:] == [("hurt", 0.0, ""), ("noticed", 2.5, "/activity?event=4")]


def test_one_that_ended_without_a_verdict_says_why() -> None:
    refused = replace(RUNNING, lines=(), state=DrillState.ENDED, ended_at=AT, told="small is not whole")
    report = report_of(refused, {"fault": "kill", "outcome": "refused", "why": "small is not whole"}, [])
    assert (report.hurt_at, course(report)) == (None, [("began", None, ""), ("over", None, "")])
    assert report.steps[-1].text == "small is not whole"


def test_what_is_no_longer_in_the_ledger_is_not_told_as_nothing() -> None:
    own = [line(-5, "drill_started", "pool/small"), line(9, "drill_ended", "pool/small")]
    seen = line(0.3, "replica_unready", "replica/small-1")
    none_came = {**RESULT, "replicas": RESULT["replicas"][:3]}
    assert report_of(ENDED, RESULT, COURSE).told
    assert not report_of(ENDED, none_came, own).told
    assert report_of(ENDED, none_came, [*own, seen]).told, "it was noticed, and nothing was done"
    assert not report_of(ENDED, RESULT, [*own, seen]).told, "small-4 came, and nobody knows why any more"
    assert report_of(RUNNING, None, own).told, "it may come yet"


def test_a_report_says_that_the_ledger_has_nothing_left(client: TestClient, given: Given) -> None:
    given.drills.rows["cafe"] = ENDED, json.dumps(RESULT)
    page = client.get("/drills/cafe").text
    assert "The ledger has nothing of that time any more." in page
    assert "none of its replicas had to be replaced" not in page


def test_a_promise_that_was_broken_is_counted() -> None:
    late = drilled(changed(events=(), looks=KILLED.looks[:2])).as_dict()
    report = report_of(replace(ENDED, figures=late["measured"]), late, [])
    assert [(one.name, one.measured) for one in report.promises if not one.kept][:2] == [
        ("detected_s", None),
        ("out_s", None),
    ]
    assert report.broken == 3


@pytest.mark.parametrize(
    ("measured", "kept", "close"),
    [(2.0006, False, True), (2.3, False, False), (1.999, True, False), (None, False, False)],
)
def test_a_promise_that_was_missed_by_little(measured: float | None, kept: bool, close: bool) -> None:
    assert Promise("detected_s", 2.0, measured, kept, "").is_close is close


@pytest.fixture
def given() -> Given:
    made = Given(pools=("small", EVIL))
    made.store.take_term()
    made.now = AT + timedelta(minutes=1)
    return made


@pytest.fixture
def client(given: Given) -> Iterator[TestClient]:
    with TestClient(create_app(given.sources()), headers={"Accept": "text/html"}) as made:
        yield as_admin(made)


def test_a_report_as_a_page(client: TestClient, given: Given) -> None:
    given.drills.rows["cafe"] = ENDED, json.dumps(RESULT)
    given.store.append([Event(AT, "replica_stopped", "replica/small-1", "ContainerExited", "Was ready, is stopped.")])
    page = client.get("/drills/cafe").text
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))
    assert "small-1 was killed at 12:00:00 UTC. The controller noticed after 300 ms." in text
    assert "Full strength was back after 6.4 s. None of 23 requests failed. 1 answer broke off." in text
    assert "All 5 promises were kept." in text
    assert 'href="/activity?event=1" data-drawer' in page
    assert "data-action" not in page  # it has ended: there is nothing to stop
    assert "全部兑现" in client.get("/drills/cafe", headers={"Accept-Language": "zh"}).text


def test_one_that_runs_is_live_and_can_be_stopped(client: TestClient, given: Given) -> None:
    given.drills.rows["cafe"] = replace(RUNNING, heard_at=given.now), ""
    page = client.get("/drills/cafe").text
    assert 'data-live="/live?view=drill&amp;id=cafe"' in page
    assert 'data-action="DELETE /api/v1/drills/cafe?why={why}"' in page
    assert 'href="/drills/cafe"' in client.get("/drills").text


def test_the_catalogue_says_what_can_be_run_and_why_not(client: TestClient, given: Given) -> None:
    given.desk.possible = lambda pool, clients: [  # type: ignore[method-assign]
        Possible("wedge", "Stuck.", 1, not_now="users would wait"),
        Possible("kill", "Killed.", 1, promises={"failed": (0, "tried again")}, patience_s=75),
        Possible("oom", "Killed.", 1, why_not="it has no limit"),
    ]
    page = client.get("/drills/catalogue?pool=small&load=16").text
    assert [page.index(word) for word in ("Killed replica", "Stuck engine", "Out of memory")] == sorted(
        page.index(word) for word in ("Killed replica", "Stuck engine", "Out of memory")
    )
    kill, wedge = re.findall(r"data-body='([^']*)'", page)
    assert json.loads(kill) == {"fault": "kill", "pool": "small", "load": 16, "force": False}
    assert json.loads(wedge)["force"] is True
    assert re.search(r'class="grave" data-needs="admin" data-action="POST /api/v1/drills"', page)
    assert "it has no limit" in page
    assert client.get("/drills/catalogue?pool=other").status_code == 404


def test_a_catalogue_that_nobody_can_tell_says_why(client: TestClient, given: Given) -> None:
    def refused(pool: str, clients: int) -> list[Possible]:
        raise DrillRefused("the node gives no answer")

    given.desk.possible = refused  # type: ignore[method-assign]
    assert "the node gives no answer" in client.get("/drills/catalogue?pool=small").text


def test_nothing_of_a_drill_is_markup(client: TestClient, given: Given) -> None:
    result = drilled(changed(victims=(EVIL,))).as_dict()
    evil = replace(
        ENDED, fault=EVIL, pool=EVIL, by=EVIL, why=EVIL, told=EVIL, victims=(EVIL,), lines=(DrillLine(START, EVIL),)
    )  # fmt: skip
    given.drills.rows["cafe"] = evil, json.dumps(result)
    given.drills.rows["f00d"] = replace(evil, id="f00d", state=DrillState.RUNNING, heard_at=given.now), ""
    given.desk.possible = lambda pool, clients: [Possible(EVIL, EVIL, 1, not_now=EVIL)]  # type: ignore[method-assign]
    for path in ("/drills", "/drills/cafe", "/drills/f00d", f"/drills/catalogue?pool={EVIL}"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "<img" not in answer.text.replace('<img src="/static', "")
    assert client.get("/drills/none").status_code == 404
