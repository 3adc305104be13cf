"""What every page has: its frame, its headers, its language, and what it is when something is the matter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from controller.api.access import PUBLIC
from controller.api.app import create_app
from controller.api.web.static import files, static
from controller.core.model import PoolName
from controller.core.people import Role
from tests.fakes.big_fleet import TOKEN, BigFleet, app_of
from tests.unit.api.callers import as_role

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
