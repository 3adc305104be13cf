"""What every page has: its frame, its headers, its language, and what it is when something is the matter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from controller.api.access import PUBLIC
from controller.api.app import create_app
from controller.api.web.overview import PoolFacts
from controller.api.web.state import state_of
from controller.api.web.static import files, static
from controller.api.web.texts import catalogs
from controller.core.drilled import Drilled
from controller.core.model import PoolName, ReplicaState
from controller.core.people import Role
from controller.core.policy import Mode, ScalingPolicy
from tests.fakes.big_fleet import TOKEN, BigFleet, app_of
from tests.unit.api.callers import as_role
from tests.unit.api.test_drills import FakeDesk

PAGE = {"Accept": "text/html,application/xhtml+xml"}
INLINE = re.compile(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=|javascript:", re.IGNORECASE)


@pytest.fixture(scope="module")
def settled() -> BigFleet:
    """Eight pools, some minutes old: what tests change of it they put back."""
    return BigFleet(pools=8, nodes=8).warm_up(30)


@pytest.fixture
def fleet(settled: BigFleet) -> Iterator[BigFleet]:
    yield settled
    settled.metrics.down = settled.store.database.gone = False
    settled.leads = settled.ticking = True


@pytest.fixture
def client(fleet: BigFleet) -> TestClient:
    made = TestClient(app_of(fleet), raise_server_exceptions=False, follow_redirects=False)
    made.headers |= {**PAGE, "Authorization": f"Bearer {TOKEN}"}
    return made


def test_whoever_is_nobody_is_sent_to_log_in(client: TestClient) -> None:
    del client.headers["Authorization"]
    answer = client.get("/nodes?sort=name")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fnodes%3Fsort%3Dname")
    assert client.get("/api/v1/pools").json()["detail"].startswith("log in")
    assert client.get("/live?view=fleet").status_code == 401


def test_a_page_allows_nothing_from_elsewhere(client: TestClient) -> None:
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"
    assert INLINE.search(answer.text) is None


@pytest.mark.parametrize("path", ["/", "/no-such-page", "/api/v1/pools", "/static/x/css/stoker.css", "/healthz"])
def test_every_answer_has_the_headers(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_nobody_sees_what_the_role_may_not(fleet: BigFleet, client: TestClient) -> None:
    pages = {}
    for role in Role:
        as_role(client, fleet.people, role)
        page = client.get("/").text
        assert f'data-role="{role}"' in page
        pages[role] = {path for path in ("/users", "/audit", "/nodes") if f'href="{path}"' in page}
    assert pages == {
        Role.VIEWER: {"/nodes"},
        Role.OPERATOR: {"/nodes", "/audit"},
        Role.ADMIN: {"/nodes", "/audit", "/users"},
    }


def test_static_files_are_kept_for_good_by_their_hash(client: TestClient) -> None:
    del client.headers["Authorization"]
    answer = client.get(static("css/stoker.css"))
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"].startswith("text/css")
    assert client.get("/static/another/css/stoker.css").headers["cache-control"] == "no-cache"
    assert client.get(static("js/live.js")).headers["content-type"].startswith("text/javascript")
    assert client.get("/favicon.ico").headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize("path", ["css/nothing.css", "../templates/base.html", "%2e%2e/build.py", "/etc/passwd"])
def test_nothing_else_is_a_static_file(client: TestClient, path: str) -> None:
    assert client.get(f"/static/x/{path}").status_code == 404


def test_a_template_that_names_a_missing_file_fails() -> None:
    with pytest.raises(KeyError):
        static("css/nothing.css")


def test_errors_are_pages_for_people_and_json_for_others(client: TestClient) -> None:
    page = client.get("/no-such-page")
    assert page.status_code == 404
    assert "There is no such page" in page.text
    assert 'href="/nodes"' in page.text
    assert "Not Found" not in page.text
    assert client.get("/no-such-page", headers={"Accept": "*/*"}).json() == {"detail": "Not Found"}


def test_a_fault_of_ours_tells_nothing_of_itself(fleet: BigFleet) -> None:
    app = create_app(fleet.sources())

    @app.get("/broken", dependencies=[PUBLIC])
    def broken() -> None:
        raise RuntimeError("a secret of ours")

    client = TestClient(app, raise_server_exceptions=False)
    for accept in ("text/html", "application/json"):
        answer = client.get("/broken", headers={"Accept": accept})
        assert answer.status_code == 500
        assert "secret of ours" not in answer.text
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_who_stands_by_says_who_leads_and_nothing_else(fleet: BigFleet, client: TestClient) -> None:
    fleet.leads = False
    answer = client.get("/")
    assert answer.status_code == 503
    assert '<a href="http://10.0.0.7:8000/">' in answer.text
    assert fleet.policies[4].pool not in answer.text
    assert client.get("/api/v1/pools").status_code == 200


@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        ("/pools/a?x=1", "/pools/a?x=1"),
        ("//elsewhere.example", "/"),
        ("https://elsewhere.example", "/"),
        ("/\\elsewhere.example", "/"),
        ("/a\nSet-Cookie: b=c", "/"),
    ],
)
def test_the_language_is_chosen_and_leads_back_here(client: TestClient, wanted: str, place: str) -> None:
    answer = client.get("/language/zh", params={"next": wanted})
    assert (answer.status_code, answer.headers["location"]) == (303, place)
    assert 'lang="zh-Hans"' in client.get("/").text


def test_an_unknown_language_changes_nothing(client: TestClient) -> None:
    assert "set-cookie" not in client.get("/language/tlh").headers


def test_numbers_that_are_old_say_since_when(fleet: BigFleet, client: TestClient) -> None:
    fleet.metrics.down = True
    fleet.step(2)
    since = fleet.clock.now()
    fleet.step(2)
    page = client.get("/").text
    assert "Prometheus does not answer" in page
    assert since.isoformat(timespec="milliseconds") in page
    fleet.metrics.down = False
    fleet.step(2)
    assert "Prometheus does not answer" not in client.get("/").text


def test_a_controller_that_is_stuck_says_so(fleet: BigFleet, client: TestClient) -> None:
    fleet.ticking = False
    fleet.step(60)
    assert "The controller has not looked since" in client.get("/").text
    fleet.ticking = True
    fleet.step(2)


def test_a_database_that_is_away_is_told_on_top(fleet: BigFleet, client: TestClient) -> None:
    """As soon as ticks fail for it; in red only once that is no matter of a moment."""
    fleet.step(2)
    since = fleet.clock.now().isoformat(timespec="milliseconds")
    fleet.store.database.gone = True
    told = "The database does not answer since"
    assert told not in state(client), "until a tick is missing"
    for seconds, level in ((6, "busy"), (20, "act")):
        fleet.clock.advance(seconds)
        assert told in state(client)
        assert since in state(client)
        assert f'class="state {level}"' in state(client)
    fleet.store.database.gone = False
    fleet.step(2)
    assert told not in state(client)


def state(client: TestClient) -> str:
    """The sentence on top of the page."""
    page = client.get("/").text
    return page[page.index('<p class="state ') :].partition("</p>")[0]


def test_a_node_that_is_silent_is_told_by_its_name(fleet: BigFleet, client: TestClient) -> None:
    name = fleet.names[5]
    fleet.runtimes[name].down = True
    fleet.step(2)
    told = state(client)
    fleet.runtimes[name].down = False
    fleet.step(2)
    assert f'<a href="/nodes/{name}">{name}</a>' in told
    assert "runtime" not in told


def test_without_numbers_nobody_says_that_users_are_served(fleet: BigFleet) -> None:
    calm = PoolFacts(PoolName("a"), "m", Mode.ACTIVE, ScalingPolicy(), 1, {ReplicaState.READY: 1})
    broken = replace(calm, fuse=True)
    fleet.metrics.down = True
    fleet.step(2)
    said = [catalogs()["en"](f"state.{one.key}", **one.values) for one in state_of(fleet.sources(), [calm, broken])]
    fleet.metrics.down = False
    fleet.step(2)
    assert said[0] == '<a href="/pools/a">a</a> needs somebody.'
    assert "Prometheus does not answer" in said[1]


def test_a_pool_without_numbers_keeps_the_top_of_the_page_from_saying_that_all_are_served(fleet: BigFleet) -> None:
    dark = PoolFacts(PoolName("a"), "m", Mode.ACTIVE, ScalingPolicy(), 1, {ReplicaState.READY: 1})
    calm = replace(dark, name=PoolName("b"), in_flight=1.0, latency=0.1)
    (said,) = state_of(fleet.sources(), [dark, calm])
    assert (said.level, said.key, said.values["n"]) == ("unknown", "untold", 1)
    assert state_of(fleet.sources(), [calm])[0].key == "calm"


def test_one_engine_that_is_silent_is_told_as_such(fleet: BigFleet) -> None:
    seen = fleet.sources().latest()
    assert seen is not None
    alone = replace(seen, snapshot=replace(seen.snapshot, unknown=("runtime",)))
    (said,) = state_of(replace(fleet.sources(), latest=lambda: alone), [])
    assert said.key == "engine_now"


def test_a_drill_that_runs_is_told_where_its_pool_is(fleet: BigFleet, client: TestClient) -> None:
    """Also on the pool's page; while the database is away the rest is told all the same."""
    pool, other = fleet.policies[0].pool, fleet.policies[4].pool
    sources, now = fleet.sources(), fleet.clock.now()
    sources.drills.change_drill("cafe", lambda known: Drilled("cafe", "kill", pool, "ada", now, now))
    desk = FakeDesk(lives="cafe")
    made = TestClient(create_app(replace(sources, drill_desk=desk)), headers=dict(client.headers))
    tag = '<a class="tag" href="/drills/cafe">drill runs</a>'
    assert made.get("/").text.count(tag) == 1
    assert [made.get(f"/pools/{name}").text.count(tag) for name in (pool, other)] == [1, 0]
    fleet.store.database.gone = True
    assert "drill runs" not in made.get("/").text
    fleet.store.database.gone = False
    desk.lives = None
    assert "drill runs" not in made.get("/").text


def test_a_pool_is_found_by_how_it_stands(fleet: BigFleet, client: TestClient) -> None:
    """By words that come with each change, in the language of the page."""
    paused = fleet.policies[2].pool
    for language, word in (("en", "paused"), ("zh", "已暂停")):
        page = client.get("/", headers={"Accept-Language": language}).text
        head = page[page.index(f'<th id="pool-{paused}:head"') :].partition("</th>")[0]
        found = re.findall(r'data-also="([^"]*)"', head)[0]
        stand = re.findall(r'class="badge.*?</svg>([^<]+)<', head, re.DOTALL)[0]
        assert word in found
        assert stand in found


def test_the_fleet_is_told_while_the_database_is_away(fleet: BigFleet, client: TestClient) -> None:
    assert client.get("/").status_code == 200
    fleet.store.database.gone = True
    answer = client.get("/")
    assert answer.status_code == 200
    assert str(fleet.policies[0].pool) in answer.text


def test_a_name_full_of_markup_is_text(fleet: BigFleet) -> None:
    evil = PoolName("\"><img src=x onerror=alert(1)>'")
    sources = replace(fleet.sources(), policies=[replace(fleet.policies[0], pool=evil)], latest=lambda: None)
    page = TestClient(create_app(sources)).get("/", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert "<img src=x" not in page
    assert "%22%3E%3Cimg" in page
    assert INLINE.search(page.replace("onerror=alert(1)", "")) is None


def test_the_fleet_page_of_50_pools_is_small(fleet: BigFleet) -> None:
    """HTML, styles and scripts, as they are before they are compressed."""
    big = BigFleet().warm_up(8)
    client = TestClient(app_of(big))
    page = client.get("/", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert page.count("data-row") == 50
    names = set(re.findall(r'/static/\w+/([\w./-]+\.(?:js|css))"', page))
    modules = names | {f"js/{name}" for name in re.findall(r'from "\./([\w.]+)"', "".join(map(_text, names)))}
    assert len(page) + sum(len(files()[name]) for name in modules) < 300_000


def _text(name: str) -> str:
    return files()[name].decode()
