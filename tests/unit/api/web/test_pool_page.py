"""A pool's page and explanations, over a fleet that really ticks; also where every name in it is markup."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from controller.api.simulations import UnopenedSimulations
from controller.api.web import live
from controller.api.web.texts import catalogs
from controller.core.decision import RemoveReplica, ScalePool, StartReplica
from controller.core.model import Order, OrderKind, PoolName
from controller.core.overrides import Bounds, Override, Pause
from controller.core.people import Role
from controller.core.policy import PoolPolicy, ScalingPolicy
from controller.ports import DecisionQuery, LastWords
from tests.fakes import big_fleet
from tests.fakes.big_fleet import TOKEN, BigFleet, app_of
from tests.fakes.clock import START
from tests.unit.api.callers import as_role

EVIL = PoolName("<img src=x onerror=alert(1)>\"'&{{7*7}}")
CALM = PoolName("calm")


class Markup(HTMLParser):
    """What a browser would make of a page, where that is what nobody meant."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        bad = tag in ("b", "style", "iframe") or (tag == "script" and "src" not in given)
        bad |= tag == "img" and not str(given.get("src")).startswith("/static/")
        self.found += (
            [f"{tag} {attrs}"] if bad else [name for name in given if name.startswith("on") or name == "style"]
        )


def policies(count: int) -> list[PoolPolicy]:
    scaling = ScalingPolicy(floor=2, ceiling=6, scale_down_window=timedelta(minutes=2))
    return [PoolPolicy(EVIL, "<b>model</b>", scaling, spec_hash="<i>spec"), PoolPolicy(CALM, "m", scaling)]


@pytest.fixture(scope="module")
def settled() -> BigFleet:
    """Some minutes old: one replica has died, and demand has risen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(big_fleet, "policies", policies)
        patch.setattr(big_fleet, "desk_of", lambda *given: UnopenedSimulations())  # it takes no such names
        fleet = BigFleet(pools=2, nodes=2, start=START).warm_up(20)
    fleet.kill(EVIL)
    fleet.factor[CALM] = 4.0
    for _ in range(6):
        fleet.step(20)
    fleet.store.keep_last_words(LastWords(fleet.clock.now(), EVIL, next(iter(names(fleet, EVIL))), "x", "</pre><b>oh"))
    return fleet


def names(fleet: BigFleet, pool: PoolName) -> Sequence[object]:
    seen = fleet.seen()
    assert seen is not None
    return [name for name, known in seen.plan.memory.replicas.items() if known.pool == pool]


@pytest.fixture
def fleet(settled: BigFleet) -> Iterator[BigFleet]:
    yield settled
    for pool in (EVIL, CALM):
        settled.overrides.change_override(pool, lambda known: replace(known, pause=None, bounds=None))
    settled.store.drop_orders(settled.store.orders())
    settled.step(1)


@pytest.fixture
def client(fleet: BigFleet) -> TestClient:
    made = TestClient(app_of(fleet), raise_server_exceptions=False, follow_redirects=False)
    made.headers |= {"Accept": "text/html", "Authorization": f"Bearer {TOKEN}"}
    return made


def text(page: str) -> str:
    """What a reader sees of it."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page)))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_full_of_markup_stay_text(fleet: BigFleet, client: TestClient, language: str) -> None:
    evil = "<script>alert(1)</script>"
    now = fleet.clock.now()
    wish = Override(EVIL, Pause(now, evil, evil), Bounds(1, 5, now, evil, evil))
    fleet.overrides.change_override(EVIL, lambda known: wish)
    fleet.store.give_order(Order(OrderKind.QUARANTINE, f"replica/{names(fleet, EVIL)[0]}", fleet.clock.now(), evil))
    fleet.step(2)
    page = client.get(f"/pools/{quote(EVIL, safe='')}", headers={"Accept-Language": language})
    assert page.status_code == 200
    assert Markup(page.text).found == []
    assert evil not in page.text
    assert "</pre><b>oh" not in page.text
    assert f"/api/v1/pools/{quote(EVIL, safe='')}/bounds" in page.text
    assert EVIL in text(page.text)
    body = re.search(r"data-body='([^']*quarantine|[^']*restart[^']*)'", page.text)
    assert body is not None
    assert json.loads(html.unescape(body[1]))["subject"] == f"pool/{EVIL}"
    for item in fleet.store.find_decisions(DecisionQuery(EVIL, limit=3)):
        assert Markup(client.get(f"/decisions/{item.id}").text).found == []


def test_a_pool_that_is_not_there(client: TestClient) -> None:
    page = client.get("/pools/nobody")
    assert page.status_code == 404
    assert "there is no pool" in page.text


def test_a_paused_pool_says_who_and_how_to_go_on(fleet: BigFleet, client: TestClient) -> None:
    pause = Pause(fleet.clock.now(), "alice", "a launch", fleet.clock.now() + timedelta(hours=1))
    fleet.overrides.change_override(CALM, lambda known: Override(CALM, pause, Bounds(1, 5, pause.at, "bob", "a test")))
    fleet.step(2)
    page = client.get("/pools/calm").text
    told = text(page)
    assert "Paused by alice since" in told
    assert "Because: a launch" in told
    assert "bob has set the bounds to 1 to 5" in told
    assert "the configuration has 2 to 6" in told
    assert 'data-action="POST /api/v1/pools/calm/resume"' in page
    assert 'data-action="DELETE /api/v1/pools/calm/bounds?why={why}"' in page
    assert 'data-open="pause"' not in page


def test_what_may_not_be_done_is_marked_for_the_role(fleet: BigFleet, client: TestClient) -> None:
    """The same parts for all; the page hides them, and the API says no."""
    as_role(client, fleet.people, Role.VIEWER)
    page = client.get("/pools/calm").text
    assert '<div id="pool-do" class="row" data-needs="operator">' in page
    assert 'data-role="viewer"' in page
    assert client.post("/api/v1/pools/calm/pause", json={"why": "x"}).status_code == 403


def test_only_what_changed_is_sent_again(fleet: BigFleet) -> None:
    sources, texts = app_of(fleet).state.sources, catalogs()["en"]
    before = live.parts_of(sources, "pool", {"pool": "calm"}, texts)
    fleet.step(2)
    after = live.parts_of(sources, "pool", {"pool": "calm"}, texts)
    changed = {name for name in after if before.get(name) != after[name]}
    ready = {f"replica-{name}" for name in names(fleet, CALM)}
    assert ready
    assert ready <= set(after)
    assert not changed & ready
    numbers = re.search(r'value="([^"]*)"', after["replica-numbers"])
    assert numbers is not None
    assert {f"replica-{name}" for name in json.loads(html.unescape(numbers[1]))} == ready


def test_a_view_of_a_pool_that_is_not_there_is_empty(fleet: BigFleet) -> None:
    sources, texts = app_of(fleet).state.sources, catalogs()["en"]
    shell = live.parts_of(sources, "shell", {}, texts)
    assert live.parts_of(sources, "pool", {"pool": "nobody"}, texts).keys() == shell.keys()


def test_a_change_of_the_count_is_explained_with_what_followed(fleet: BigFleet, client: TestClient) -> None:
    scaled = [
        item for item in fleet.store.find_decisions(DecisionQuery(CALM, ("scale_pool",)))
        if isinstance(item.decision, ScalePool) and item.decision.desired > item.decision.current > 0
    ]  # fmt: skip
    item = scaled[-1]
    assert isinstance(item.decision, ScalePool)
    page = client.get(f"/decisions/{item.id}")
    told = text(page.text)
    assert page.status_code == 200
    assert f"calm: from {item.decision.current} to {item.decision.desired} replicas" in told
    for part in ("in flight and waiting", "AboveTarget", "What would have changed it", "It was carried out."):
        assert part in told
    assert re.search(r"calm-\d+ is started", told)
    assert re.search(r"calm-\d+ is ready \d+ s after its start", told)
    assert f"stoker why calm --at {item.at.isoformat().replace('+00:00', 'Z')} --json &gt; why.json" in page.text


def test_a_start_leads_to_the_decision_it_follows_from(fleet: BigFleet, client: TestClient) -> None:
    starts = fleet.store.find_decisions(DecisionQuery(CALM, ("start_replica",), limit=1))
    assert isinstance(starts[0].decision, StartReplica)
    page = client.get(f"/decisions/{starts[0].id}").text
    assert f"{starts[0].decision.replica} is started" in text(page)
    assert f"On the node {starts[0].decision.node}." in text(page)
    cause = fleet.store.find_decisions(DecisionQuery(CALM, ("scale_pool",), until=starts[0].at, limit=1))[0]
    assert f'href="/decisions/{cause.id}"' in page


def test_a_removal_has_its_receipt(fleet: BigFleet, client: TestClient) -> None:
    gone = fleet.store.find_decisions(DecisionQuery(EVIL, ("remove_replica",), limit=1))[0]
    assert isinstance(gone.decision, RemoveReplica)
    page = client.get(f"/pools/{quote(EVIL, safe='')}").text
    assert f'href="/decisions/{gone.id}"' in page
    assert gone.decision.reasons[-1].text in text(page)
    assert "finished" not in text(page), "nobody knows what became of the requests of one that died"


@pytest.mark.parametrize("path", ["/decisions/999999", "/decisions/0", "/decisions/x", f"/decisions/{2**70}"])
def test_a_decision_that_is_not_there(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_pages_without_charts_have_a_table(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from controller.api.web.templates import environment

    monkeypatch.setitem(environment("en").globals, "has_charts", lambda: False)
    page = client.get("/pools/calm").text
    assert "vendor/uplot" not in page
    assert "Charts are not installed" in page
    assert re.search(r'id="timeline-numbers" open', page)
