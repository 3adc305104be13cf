"""The pages of the gateway and of the keys, over fakes; also where every word from outside is markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from controller.api.app import create_app
from controller.api.traffic_schemas import CountOut, PlanTrafficOut, PoolTrafficOut, QuotaOut, TrafficOut
from controller.api.web import live
from controller.api.web.gateway_rows import certificate_level, diff_lines, traffic_rows
from controller.api.web.texts import catalogs
from controller.core.people import Role
from tests.fakes.big_fleet import TOKEN, BigFleet, app_of
from tests.fakes.big_gateway import BigDesk
from tests.fakes.clock import START
from tests.fakes.store import FakeKeys
from tests.unit.api.callers import as_role

EVIL = "<img src=x onerror=alert(1)>\"'&{{7*7}}"
INLINE = re.compile(r"<img src=x|<style|<script(?![^>]*\bsrc=)|\sstyle=", re.IGNORECASE)


@pytest.fixture(scope="module")
def settled() -> BigFleet:
    return BigFleet(pools=12, nodes=2).warm_up(6)


@pytest.fixture
def fleet(settled: BigFleet) -> Iterator[BigFleet]:
    kept = settled.gateway
    settled.gateway = kept | {"desk": BigDesk(settled.policies, settled.start)}
    yield settled
    settled.gateway = kept
    settled.metrics.down = settled.store.database.gone = False


@pytest.fixture
def desk(fleet: BigFleet) -> BigDesk:
    found = fleet.gateway["desk"]
    assert isinstance(found, BigDesk)
    return found


@pytest.fixture
def client(fleet: BigFleet) -> TestClient:
    made = TestClient(app_of(fleet), follow_redirects=False)
    made.headers |= {"Accept": "text/html", "Authorization": f"Bearer {TOKEN}"}
    return made


def part(fleet: BigFleet, name: str, language: str = "en") -> str:
    return live.parts_of(fleet.sources(), "gateway-keys", {"range": "1h"}, catalogs()[language])[f"gateway-{name}"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_all_of_it_is_on_one_page(client: TestClient, desk: BigDesk, language: str) -> None:
    client.cookies.set("lang", language)
    page = client.get("/gateway?range=6h").text
    assert INLINE.search(page) is None
    assert re.findall(r'range=(\w+)#traffic" aria-current', page) == ["6h"]
    assert page.count('name="before"') == len(desk.kept)
    assert "nginx: [emerg] no such file &lt;x&gt;" in page


def test_an_unknown_range_is_the_usual_one(client: TestClient) -> None:
    for path in ("/gateway?range=<b>", "/gateway"):
        assert re.findall(r'range=(\w+)#traffic" aria-current', client.get(path).text) == ["1h"]


def test_traffic_in_words(fleet: BigFleet) -> None:
    told = part(fleet, "traffic")
    for words in ("More requests in a second than the plan allows", "No replica was ready", "hot cache, shared by all"):
        assert words in told
    assert "and 2 more pools" in told
    assert "&lt;b&gt;bold &amp; brave&lt;/b&gt;" in told
    assert "used up for today" in told


def test_without_prometheus_what_was_known_stays_and_says_since_when(fleet: BigFleet) -> None:
    sources = fleet.sources()
    render = lambda: live.parts_of(sources, "gateway", {"range": "1h"}, catalogs()["en"])["gateway-traffic"]  # noqa: E731
    assert "old since" not in render()
    fleet.metrics.down = True
    fleet.step(70)
    assert "old since" in render()
    assert "By pool" in render()
    fleet.metrics.down = True
    assert "Prometheus has not answered yet" in part(fleet, "traffic")


def test_what_nginx_refused_is_told_in_its_own_words(fleet: BigFleet, desk: BigDesk) -> None:
    desk.refused = f"[emerg] unknown directive {EVIL}"
    told = part(fleet, "standing")
    assert 'data-level="act"' in told
    assert INLINE.search(told) is None
    assert "[emerg] unknown directive &lt;img" in told


def test_a_revert_can_be_undone_from_the_page(fleet: BigFleet, client: TestClient, desk: BigDesk) -> None:
    assert "undo" not in part(fleet, "standing")
    assert client.post("/api/v1/gateway/revert", json={"number": 3, "why": EVIL}).status_code == 200
    told = part(fleet, "standing")
    assert '{"undo": true}' in html.unescape(told)
    assert "settings of revision 3" in told
    assert INLINE.search(told) is None


def test_a_revision_says_why_and_what_it_changed(client: TestClient) -> None:
    page = client.get("/gateway/revisions/8").text
    assert "gateway.read_timeout_s: 300 -&gt; 360" in page
    assert '<span class="remove">-proxy_read_timeout 300s;' in page
    assert '<span class="add">+proxy_read_timeout 360s;' in page
    assert '{"number": 8}' in html.unescape(page)
    assert "data-action" not in client.get("/gateway/revisions/12").text.partition("<main")[2]  # the newest one
    assert "the oldest one that is kept" in client.get("/gateway/revisions/1").text


def test_a_revision_leads_to_what_was_decided_then(fleet: BigFleet, client: TestClient, desk: BigDesk) -> None:
    (decided, *_) = fleet.store.decisions(limit=1)
    moment = replace(desk.kept[0].moment, at=decided.at, tick=decided.tick, term=decided.term)
    desk.kept[0] = replace(desk.kept[0], moment=moment)
    assert f'href="/decisions/{decided.id}"' in client.get("/gateway/revisions/12").text


def test_any_two_can_be_compared(client: TestClient) -> None:
    page = client.get("/gateway/diff?before=9&after=3").text
    assert '<span class="remove">-# generation 8' in page
    assert "The two are equal" not in page
    for path in ("/gateway/diff?before=1&after=77", "/gateway/revisions/77", "/gateway/diff?after=x"):
        assert client.get(path).status_code == 404


def test_the_gateway_is_told_of_while_the_database_is_away(fleet: BigFleet, client: TestClient) -> None:
    fleet.store.database.gone = True
    assert "By pool" in client.get("/gateway").text
    assert client.get("/keys").status_code == 503


def test_keys_need_an_operator(fleet: BigFleet, client: TestClient) -> None:
    for role, status in ((Role.VIEWER, 403), (Role.OPERATOR, 200)):
        as_role(client, fleet.people, role)
        assert client.get("/keys").status_code == status
        assert ('href="/keys"' in client.get("/").text) == (status == 200)


def test_a_viewer_knows_keys_by_their_ids_only(fleet: BigFleet, client: TestClient) -> None:
    name, quotas = "bold &amp; brave", "Token quotas"
    for role in (Role.VIEWER, Role.OPERATOR):
        as_role(client, fleet.people, role)
        page, may = client.get("/gateway").text, role is Role.OPERATOR
        assert (name in page, quotas in page, 'data-live="/live?view=gateway-keys' in page) == (may, may, may)
        assert "key_0" in page
        assert "(unknown)" not in page, "what a viewer may not know is not unknown"
    as_role(client, fleet.people, Role.VIEWER)
    refused = client.get("/live?view=gateway-keys&range=1h")
    assert (refused.status_code, "this needs the role operator" in refused.text) == (403, True)


def test_a_page_of_keys_and_the_next(fleet: BigFleet, client: TestClient) -> None:
    page = client.get("/keys").text
    assert page.count("</tr>") == 51
    assert INLINE.search(page) is None
    assert "&lt;b&gt;bold &amp; brave&lt;/b&gt; 0" in page
    digests = [key.digest for key in FakeKeys(fleet.store).list_keys()]
    assert not any(digest in page for digest in digests)
    (more,) = re.findall(r'href="(/keys\?[^"]*)" rel="next"', page)
    second = client.get(html.unescape(more)).text
    shown = re.compile(r">(key_\w{12})<")
    assert len(set(shown.findall(page))) == 50
    assert set(shown.findall(second)).isdisjoint(shown.findall(page))


@pytest.mark.parametrize(
    ("asked", "rows", "words"),
    [
        ("q=bold&plan=gold", 4, "&lt;b&gt;bold"),
        ("state=blocked", 1, "Its tokens of today are used up"),
        ("q=" + "%3Cimg src=x onerror=alert(1)%3E", 0, "No key fits."),
        ("plan=&state=&q=", 50, "usable"),
    ],
)
def test_keys_are_found(client: TestClient, asked: str, rows: int, words: str) -> None:
    page = client.get(f"/keys?{asked}").text
    assert len(re.findall(r'<tr[^>]*><th scope="row"', page)) == rows
    assert words in page
    assert INLINE.search(page) is None


def test_what_cannot_be_asked_is_no_page(client: TestClient) -> None:
    for asked in ("q=%00", "state=broken", "page=0"):
        assert client.get(f"/keys?{asked}").status_code == 404


def test_no_keys_at_all(fleet: BigFleet) -> None:
    empty = replace(BigFleet(pools=1, nodes=1).sources(), keys=FakeKeys())
    page = TestClient(create_app(empty)).get("/keys", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert "There are no keys yet" in page


def quota(today: int, per_day: int | None, minute: int = 0, per_minute: int | None = None) -> QuotaOut:
    return QuotaOut(
        key="key_0", name=None, plan=None, tokens_today=today, per_day=per_day, tokens_last_minute=minute,
        per_minute=per_minute, blocked="",
    )  # fmt: skip


def test_sums_and_shares() -> None:
    pools = [
        PoolTrafficOut(
            pool=name, requests=count, by_class={}, errors=errors, retries=2, attempts_failed=0, refused={"full": 1}
        )
        for name, count, errors in (("a", 300, 6), ("b", 100, 0))
    ]
    plan = PlanTrafficOut(plan="", requests=9, by_class={}, tokens=0, refused={"no_key": 3, "full": 1, "odd": 0})
    told = TrafficOut(
        as_of=START, stale_since=None, step_s=60, of_minutes=True, at=[], keys_of_minutes=1, pools=pools, plans=[plan],
        keys=[], keys_named=True, keys_left_out=CountOut(requests=0, by_class={}), caches=[],
        quotas=[quota(50, 100, 30, 20), quota(9, None)], requests_per_second={}, refusals_per_second={},
        cache_hit_ratio={},
    )  # fmt: skip
    found = traffic_rows(told)
    assert (found.total, found.failed, found.retries, found.refused) == (400, 6, 4, 4)
    assert [(one.cause, one.status, one.count, one.share, one.ours) for one in found.refusals] == [
        ("no_key", "401", 3, 0.75, False),
        ("full", "503", 1, 0.25, True),
    ]
    assert [(used.day, used.minute) for used in found.quotas] == [(0.5, 1.5)]  # without a quota there is no share
    assert (found.share(pools[0]), traffic_rows(told.model_copy(update={"pools": []})).share(plan)) == (0.75, 0.0)


@pytest.mark.parametrize(
    ("left", "level"),
    [(None, "calm"), (timedelta(days=15), "calm"), (timedelta(days=13), "act"), (-timedelta(1), "act")],
)
def test_a_certificate_that_ends_soon_needs_somebody(left: timedelta | None, level: str) -> None:
    assert certificate_level(None if left is None else START + left, START) == level


def test_the_lines_of_a_difference() -> None:
    lines = ["--- 1", "+++ 2", "@@ -1 +1 @@", " same", "-gone", "+come"]
    assert [line.kind for line in diff_lines(lines)] == ["file", "file", "place", "same", "remove", "add"]
    assert len(diff_lines(["+x"] * 9000)) == 4000
