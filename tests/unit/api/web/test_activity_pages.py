"""/activity as a page: searched, paged, live, and safe whatever stands in the ledger."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from controller.api.app import create_app
from controller.api.web import live
from controller.api.web.texts import catalogs
from controller.core.decision import ScalePool
from controller.core.event import Event
from controller.ports import EventQuery, RecordedEvent
from tests.unit.api.callers import as_admin
from tests.unit.api.test_activity import BUSY, LLAMA, Given

EVIL = "<img src=x onerror=alert(1)>"
ROWS = re.compile(r'<tr id="([ed]\d+)"')


@pytest.fixture
def given() -> Given:
    return Given()


@pytest.fixture
def client(given: Given) -> Iterator[TestClient]:
    with TestClient(create_app(given.sources()), headers={"Accept": "text/html"}) as made:
        yield as_admin(made)


def test_lines_link_to_what_explains_them(client: TestClient, given: Given) -> None:
    given.decide(ScalePool(LLAMA, 3, 5, BUSY))
    given.tell("replica_unready", "replica/llama-1", "ProbesFailed")
    page = client.get("/activity").text
    assert ROWS.findall(page) == ["e1", "d1"]
    assert 'data-drawer href="/decisions/1">llama: from 3 to 5 replicas</a>' in page
    assert 'data-drawer href="/activity?event=1">Replica is not ready any more</a>' in page
    assert "The ledger goes back no further." in page
    chinese = client.get("/activity", headers={"Accept-Language": "zh"}).text
    assert "副本不再就绪" in chinese


def test_an_empty_ledger_and_a_search_without_result(client: TestClient, given: Given) -> None:
    assert "Nothing has happened yet" in client.get("/activity").text
    given.tell("source_lost", "source/metrics")
    page = client.get("/activity?q=nothing").text
    assert "Nothing fits." in page
    assert 'value="nothing"' in page


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("from=2026-01-05T13:00Z&to=2026-01-05T11:00Z", "The time begins after its end, so nothing can fit"),
        ("range=1h&to=2026-01-04T11:00Z", "The time begins after its end, so nothing can fit"),
        ("from=2026-01-04T11:00Z&to=2026-01-04T13:00Z", "Nothing fits."),
    ],
)
def test_a_time_that_begins_after_its_end_is_told(client: TestClient, given: Given, asked: str, said: str) -> None:
    given.tell("source_lost", "source/metrics")

    assert said in client.get(f"/activity?{asked}").text


def test_what_the_page_finds_its_export_takes(client: TestClient, given: Given) -> None:
    given.tell("source_lost", "source/metrics")
    long, kinds = "x" * 300, "+".join(f"kind_{number}" for number in range(25))
    for asked in (f"q={long}&pool={long}&reason={long}&subject={long}", f"kind={kinds}", "kind=a-b,%3Cb%3E", "q=%00"):
        found = re.search(r'href="(/api/v1/activity[^"]*)" download', client.get(f"/activity?{asked}").text)
        assert found is not None
        assert client.get(found[1].replace("&amp;", "&")).status_code == 200


def test_page_after_page(client: TestClient, given: Given) -> None:
    for number in range(230):
        given.tell("source_lost", f"source/{number}")
    path, found = "/activity?q=so", list[str]()
    for _ in range(9):
        page = client.get(path).text
        found += ROWS.findall(page)
        link = re.search(r'rel="next" href="([^"]*)"', page)
        if link is None:
            break
        path = link[1].replace("&amp;", "&")
        assert "q=so" in path
    assert found == [f"e{number}" for number in range(230, 0, -1)]
    assert "To the newest" in page
    assert "activity-news" not in page  # only what is on top waits for more


def test_nothing_of_the_ledger_is_markup(client: TestClient, given: Given) -> None:
    given.tell(EVIL, f"replica/{EVIL}-1", EVIL, EVIL)
    given.tell(EVIL, f"replica/{EVIL}-1", EVIL, EVIL)
    given.decide(ScalePool(LLAMA, 1, 2, BUSY), outcome=EVIL)
    asked = f"q={EVIL}&pool={EVIL}&kind={EVIL}&reason={EVIL}&subject={EVIL}"
    for path in ("/activity", "/activity?event=1", f"/activity?{asked}", "/activity?before=<img>&what=<img>"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "<img src=x" not in answer.text
        assert "<img>" not in answer.text
    assert "&lt;img src=x onerror=alert(1)&gt;" in client.get("/activity").text


def test_one_event_and_what_was_around_it(client: TestClient, given: Given) -> None:
    given.tell("drill_started", "pool/llama", "kill", "Drill cafe by ada: Friday.")
    given.tell("replica_unready", "replica/llama-1", "ProbesFailed", "3 probes failed.")
    given.tell("source_lost", "source/metrics")
    page = client.get("/activity?event=1").text
    assert "<h1>Drill began</h1>" in page
    assert '<a href="/drills/cafe">' in page
    assert "3 probes failed." in page
    assert "source_lost" not in page.partition("Shortly before and after")[2]  # it is of another pool
    assert client.get("/activity?event=99").status_code == 404
    assert client.get("/activity?event=0").status_code == 404


def test_of_a_storm_around_an_event_only_a_part_is_looked_at(client: TestClient, given: Given) -> None:
    begun = given.at
    storm = [
        Event(begun + number * timedelta(milliseconds=10), "key_left_out", f"key/{number}", "NoRoom", "No room.")
        for number in range(20_000)
    ]
    given.store.append(storm)
    looked: list[int] = []
    find = given.store.find_events

    def counted(query: EventQuery) -> Sequence[RecordedEvent]:
        found = find(query)
        looked.append(len(found))
        return found

    given.store.find_events = counted  # type: ignore[method-assign, assignment]
    page = client.get("/activity?event=10000").text

    assert sum(looked) < 1000
    near = sorted(map(int, re.findall(r"/activity\?event=(\d+)", page.partition("Shortly before and after")[2])))
    assert near == [*range(9985, 10000), *range(10001, 10015)]


def test_what_comes_late_after_an_event_is_around_it_too(client: TestClient, given: Given) -> None:
    given.tell("source_lost", "source/metrics")
    given.at += timedelta(seconds=100)
    given.tell("source_back", "source/metrics")

    assert "/activity?event=2" in client.get("/activity?event=1").text


def test_the_page_is_told_of_what_is_new(given: Given) -> None:
    def told(**params: str) -> str:
        return live.parts_of(given.sources(), "activity", params, catalogs()["en"])["activity-news"]

    assert told() == '<span id="activity-news" hidden data-ids=""></span>'
    given.tell("source_lost", "source/metrics")
    given.decide(ScalePool(LLAMA, 1, 2, BUSY))
    assert 'data-ids="d1 e1"' in told()
    assert 'data-ids="d1"' in told(pool="llama")
    given.store.database.gone = True
    assert "data-ids" not in told()


def test_who_stands_by_says_so(given: Given) -> None:
    from dataclasses import replace

    sources = replace(given.sources(), lead=lambda: "stands by; the controller at 10.0.0.7:8000 leads")
    with TestClient(create_app(sources), headers={"Accept": "text/html"}) as made:
        for path in ("/activity", "/activity?event=1", "/alerts", "/drills", "/drills/cafe"):
            assert as_admin(made).get(path).status_code == 503
