"""The pages of nodes, over a fleet that really ticks; also where every word from outside is markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from controller.api.web import live
from controller.api.web.texts import catalogs
from controller.core.model import NodeName, Order, OrderKind, ReplicaState
from controller.core.people import Role
from tests.fakes.big_fleet import TOKEN, BigFleet, app_of
from tests.unit.api.callers import as_role

EVIL = "<img src=x onerror=alert(1)>\"'&{{7*7}}"
INLINE = re.compile(r"<img src=x|<style|<script(?![^>]*\bsrc=)|\sstyle=", re.IGNORECASE)
BROKEN = "GPU-gpu-01-0"


@pytest.fixture(scope="module")
def settled() -> BigFleet:
    """Eight pools on two nodes with eight GPUs each, of which one is lost."""
    return BigFleet(pools=8, nodes=2).warm_up(30)


@pytest.fixture
def fleet(settled: BigFleet) -> Iterator[BigFleet]:
    yield settled
    for runtime in settled.runtimes.values():
        runtime.down = False
    settled.store.drop_orders(settled.store.orders())
    settled.metrics.down = False
    settled.step(2)


@pytest.fixture
def client(fleet: BigFleet) -> TestClient:
    made = TestClient(app_of(fleet), follow_redirects=False)
    made.headers |= {"Accept": "text/html", "Authorization": f"Bearer {TOKEN}"}
    return made


def parts(fleet: BigFleet, name: str = "nodes", language: str = "en", **params: str) -> live.Fragments:
    return live.parts_of(fleet.sources(), name, params, catalogs()[language])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_cell_for_each_gpu_with_what_is_on_it(fleet: BigFleet, client: TestClient, language: str) -> None:
    client.cookies.set("lang", language)
    page = client.get("/nodes").text
    assert page.count('class="gpu"') == 16
    known = fleet.ticker.latest.plan.memory.replicas.values() if fleet.ticker.latest else ()
    placed = [one for one in known if one.gpu and one.state is not ReplicaState.STOPPED]
    assert placed
    assert all(f'title="{one.replica}"' in page for one in placed)
    assert re.search(r"\d+ % \d+ °C", page)
    assert INLINE.search(page) is None


def test_a_gpu_that_is_lost_says_what_to_do(client: TestClient) -> None:
    page = client.get("/nodes").text
    assert "XID 79: it has fallen off the bus: reboot the node" in page
    one = client.get("/nodes/gpu-01").text
    row = one[one.index(f'<tr id="{BROKEN}"') :].partition("</tr>")[0]
    assert 'data-level="act"' in row
    assert "What ran on it is dead" in row
    assert '{"kind": "release", "subject": "gpu/GPU-gpu-01-0"}' in html.unescape(row)
    assert "cordon" not in html.unescape(row).partition("data-body")[2]


def test_what_may_be_ordered_of_a_node_depends_on_what_is(fleet: BigFleet, client: TestClient) -> None:
    def offered() -> list[str]:
        head = html.unescape(parts(fleet, "node", node="gpu-02")["node-head"])
        return re.findall(r'"kind": "(\w+)"', head)

    assert offered() == ["cordon", "drain"]
    order = {"kind": "cordon", "subject": "node/gpu-02", "why": EVIL}
    assert client.post("/api/v1/orders", json=order).status_code == 202
    fleet.step(2)
    assert offered() == ["drain", "release"]
    page = client.get("/nodes").text + client.get("/nodes/gpu-02").text
    assert INLINE.search(page) is None
    assert page.count(html.escape(EVIL).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")) == 2
    client.post("/api/v1/orders", json=order | {"kind": "drain"})
    fleet.step(2)
    assert offered() == ["release"]


def test_a_node_that_is_silent_stands_out_and_is_told_on_top(fleet: BigFleet) -> None:
    fleet.runtimes[NodeName("gpu-02")].down = True
    fleet.step(2)
    told = parts(fleet)
    assert 'data-level="act"' in told["node-gpu-02"].partition(">")[0]
    assert "1 of them silent" in told["nodes-totals"]
    assert "silent" in re.findall(r'data-words="([^"]*)"', told["node-gpu-02"])[0].split()


def test_only_what_changed_changes(fleet: BigFleet) -> None:
    fleet.store.give_order(Order(OrderKind.CORDON, "node/gpu-02", fleet.clock.now(), "new paste"))
    before = parts(fleet)
    assert parts(fleet) == before
    assert set(before) >= {"nodes-totals", "nodes-refused", "node-gpu-01", "node-gpu-02"}


def test_without_prometheus_the_numbers_say_since_when_they_are_old(fleet: BigFleet) -> None:
    sources = fleet.sources()
    fresh = live.parts_of(sources, "nodes", {}, catalogs()["en"])
    assert "Prometheus does not answer" not in fresh["nodes-totals"]
    fleet.metrics.down = True
    fleet.step(30)
    old = live.parts_of(sources, "nodes", {}, catalogs()["en"])
    assert "Prometheus does not answer" in old["nodes-totals"]
    assert "°C" in old["node-gpu-01"]
    assert "tell nothing of themselves" not in old["nodes-totals"], "that nobody asked them is no news of them"


def test_an_outage_has_one_beginning_on_every_page(fleet: BigFleet) -> None:
    """That of the first tick that missed it, however much later a page asked."""
    sources = fleet.sources()
    fleet.metrics.down = True
    fleet.step(20)
    since = fleet.clock.now().isoformat(timespec="milliseconds")
    fleet.step(20)
    found = {
        name: live.parts_of(sources, name, {"ended": "24h"}, catalogs()["en"]) for name in ("nodes", "alerts", "shell")
    }
    for text in (found["shell"]["state"], found["nodes"]["nodes-totals"], found["alerts"]["alerts-silent"]):
        assert re.findall(r'datetime="([^"]*)"', text)[0].startswith(since[:23])


def test_who_gives_no_answer_is_told_in_words_with_spaces(fleet: BigFleet) -> None:
    fleet.metrics.down = True
    fleet.step(2)
    told = re.sub(r"<[^>]*>", "", parts(fleet, "alerts")["alerts-silent"])
    assert re.search(r"Prometheus since [^(]+ \([^)]+\) Numbers are old", " ".join(told.split()))


def test_an_alert_of_a_gpu_tells_what_became_of_it_alone(fleet: BigFleet) -> None:
    told = parts(fleet, "alerts")["alerts-firing"]
    card = next(part for part in told.split('<li class="card') if f"GPU {BROKEN} of node" in part)
    assert "What the controller did about it" in card
    did = re.findall(r"<li>.*?</li>", card.partition("<h4>")[2], re.DOTALL)
    assert did
    assert all(word in did[-1] for word in ("GPU takes nothing new", "XID 79"))
    assert all("its GPU is gone" in one for one in did[:-1])
    assert f'href="/nodes/gpu-01#{BROKEN}"' in card


def test_why_something_found_no_place(fleet: BigFleet, client: TestClient) -> None:
    pool = fleet.policies[0].pool
    for number in range(8):
        for node in ("gpu-01", "gpu-02"):
            fleet.store.give_order(Order(OrderKind.CORDON, f"gpu/GPU-{node}-{number}", fleet.clock.now(), EVIL))
    fleet.kill(pool)
    for _ in range(3):
        fleet.step(2)
    told = parts(fleet)["nodes-refused"]
    assert f'href="/pools/{pool}/placement"' in told
    assert "<b>16</b> GPUs are cordoned." in told
    each = client.get(f"/pools/{pool}/placement").text
    cordoned = re.findall(r'<div class="small quiet">[^<]* is cordoned: (?:&lt;img|XID|its heat)', each)
    assert len(cordoned) == 16
    lost = each[each.index(f'mono small">{BROKEN}<') :].partition("</tr>")[0]
    assert re.findall(r'<span class="badge (\w+)">.*?</svg>(\w+)</span>', lost, re.DOTALL) == [("act", "lost")]
    assert INLINE.search(told + each) is None


def test_what_is_not_there(fleet: BigFleet, client: TestClient) -> None:
    for path in ("/nodes/gpu-77", "/pools/nothing/placement"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "there is no" in answer.text
    assert parts(fleet, "node", node="gpu-77").keys() == parts(fleet, live.SHELL).keys()


def test_a_viewer_sees_it_and_may_order_nothing(fleet: BigFleet, client: TestClient) -> None:
    as_role(client, fleet.people, Role.VIEWER)
    page = client.get("/nodes/gpu-01").text
    assert page.count("<button") > 10
    buttons = re.findall(r"<button[^>]*data-action[^>]*>", page)
    assert buttons
    assert all('data-needs="operator"' in button for button in buttons)
    order = {"kind": "cordon", "subject": "node/gpu-01"}
    assert client.post("/api/v1/orders", json=order).status_code == 403
