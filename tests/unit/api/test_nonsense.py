"""What anybody may send: it is refused in a sentence, and is no fault of ours."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.core.people import Role, csrf_of
from controller.core.policy import PoolPolicy, ScalingPolicy
from tests.unit.api.callers import as_admin, as_role, logged_in
from tests.unit.api.people_world import World
from tests.unit.core.build import POOL

JSON = {"Content-Type": "application/json"}
WORDS = (
    *(
        "st_viewer",
        "Bearer",
        "Bearer st_viewer",
        "Basic",
        "stoker_session=st_viewer",
        "lang=zh",
        "=",
        ";",
        ",",
        "/",
        ":",
    ),
    *(
        "http://",
        "https://testserver",
        "[",
        "]",
        "[::1",
        "http://[::1",
        "testserver:x",
        "99999",
        "null",
        "*",
        "text/html",
    ),
    *(
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "; boundary=x",
        "; charset=utf-7",
    ),
    *(
        "charset=undefined",
        "en;q=nan",
        "zh;q=inf",
        "q=",
        "bytes=9-1",
        'W/"',
        '"',
        "\\",
        "%",
        "\t",
        "\x9b",
        "\xff",
        "\xb2",
    ),
)
HEADERS = (
    *("Cookie", "Authorization", "Origin", "Host", "Accept-Language", "Accept", "X-CSRF-Token", "Content-Type"),
    *("Range", "If-None-Match", "Sec-Fetch-Site", "Content-Length"),
)
ASKED = (
    *(
        ("GET", "/login"),
        ("GET", "/api/v1/pools"),
        ("GET", "/"),
        ("GET", "/metrics"),
        ("GET", "/static/x/css/stoker.css"),
    ),
    *(
        ("POST", "/login"),
        ("POST", "/join"),
        ("POST", "/logout"),
        ("POST", "/api/v1/sessions"),
        ("POST", "/api/v1/joins"),
    ),
    *(("POST", "/api/v1/keys"), ("POST", "/api/v1/alerts"), ("POST", "/api/v1/simulations/traces")),
    *(("DELETE", "/api/v1/sessions"), ("GET", "/language/zh")),
)
# What a server passes on: no control characters but the tab, and no spaces at the ends.
_PIECES = st.sampled_from(WORDS) | st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=4)
VALUES = (st.sampled_from(WORDS) | st.lists(_PIECES, max_size=6).map("".join)).map(
    lambda text: text.strip().encode("latin-1")
)


@pytest.fixture
def client(world: World) -> TestClient:
    return TestClient(world.app, raise_server_exceptions=False)


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": NaN, "password": "x"}',
        b'{"name": Infinity, "password": "x"}',
        b'{"name": "\\ud800", "password": "x"}',
        b'{"name": "ada", "password": "x", "\\ud800": 1}',
        b'{"name": "ada", "password": {"\\udfff": NaN}}',
        b'{"name": "ada", "password": ["correct horse battery"]}',
        b'{"name": "ada", "password": "correct horse battery", "more": "correct horse battery"}',
        b'"\\ud800',
        b"NaN",
        b"",
    ],
)
def test_a_body_that_is_none_is_refused_and_not_repeated(client: TestClient, body: bytes) -> None:
    answer = client.post("/api/v1/sessions", content=body, headers=JSON)

    assert answer.status_code == 422
    assert all(set(fault) == {"type", "loc", "msg"} for fault in answer.json()["detail"])
    assert "horse" not in answer.text


def test_what_is_wrong_is_said_with_its_place(client: TestClient) -> None:
    answer = client.post("/api/v1/sessions", json={"name": "ada", "password": "x", "\x1b[2J": 1})

    assert answer.json() == {
        "detail": [{"type": "extra_forbidden", "loc": ["body", " [2J"], "msg": "Extra inputs are not permitted"}]
    }


@pytest.mark.parametrize("origin", ["http://[::1", "http://[", "//[x]", "http://a]b", "http://\xbd.example"])
def test_an_origin_that_is_none_is_another_one(world: World, client: TestClient, origin: str) -> None:
    sent: Any = {"Origin": origin.encode("latin-1")}
    assert client.post("/api/v1/sessions", json={"name": "a", "password": "b"}, headers=sent).status_code == 403
    csrf = logged_in(client, world.people, Role.ADMIN)
    assert client.delete("/api/v1/sessions", headers={**sent, "X-CSRF-Token": csrf}).status_code == 403


def test_a_token_is_no_session_and_a_session_is_no_token(world: World, client: TestClient) -> None:
    as_role(client, world.people, Role.VIEWER)
    assert client.get("/api/v1/pools").status_code == 200
    other = TestClient(world.app, raise_server_exceptions=False, cookies={"stoker_session": "st_viewer"})
    assert other.get("/api/v1/pools").status_code == 401
    assert other.delete("/api/v1/sessions", headers={"X-CSRF-Token": csrf_of("st_viewer")}).status_code == 401

    browser = world.another()
    logged_in(browser, world.people, Role.VIEWER)
    assert browser.get("/api/v1/pools").status_code == 200
    assert as_admin(client, str(browser.cookies["stoker_session"])).get("/api/v1/pools").status_code == 401


_TEXTS = st.sampled_from(["", "ada", "\ud800", "\x00", "x" * 200])
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS
ANY_JSON = st.fixed_dictionaries({"name": _LEAVES, "password": _LEAVES}) | st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3), max_leaves=5
)


@settings(
    max_examples=150, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(asked=st.sampled_from(ASKED), sent=st.dictionaries(st.sampled_from(HEADERS), VALUES, max_size=5), body=ANY_JSON)
def test_no_header_and_no_body_is_a_fault_of_ours(
    client: TestClient, world: World, asked: tuple[str, str], sent: dict[str, bytes], body: Any
) -> None:
    as_role(TestClient(world.app), world.people, Role.VIEWER)  # whose token is among the words
    method, path = asked
    content = json.dumps(body).encode() if method == "POST" else None
    headers: Any = [(name.encode(), value) for name, value in {"Content-Type": b"application/json", **sent}.items()]

    answer = client.request(method, path, content=content, headers=headers, follow_redirects=False)

    assert answer.status_code != 500, answer.text


LARGE, BEFORE_ALL, AFTER_ALL = "9" * 25, "0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"


@pytest.mark.parametrize(
    "path",
    [
        f"/api/v1/audit?before={LARGE}",
        f"/api/v1/audit.csv?before={LARGE}",
        f"/api/v1/audit?since={BEFORE_ALL}",
        f"/api/v1/audit?until={AFTER_ALL}",
        f"/api/v1/audit.csv?until={AFTER_ALL}",
        f"/api/v1/pools/llama/decisions?at={BEFORE_ALL}",
        f"/api/v1/pools/llama/timeline?from={BEFORE_ALL}",
        "/api/v1/pools/llama/timeline?to=0001-01-01T00:00:00Z",
        f"/api/v1/activity?from={BEFORE_ALL}",
        f"/api/v1/activity?to={AFTER_ALL}",
        f"/api/v1/activity?before={LARGE}",
        f"/api/v1/gateway/history/{LARGE}",
        f"/api/v1/gateway/diff?after={LARGE}",
        f"/api/v1/gateway/diff?after=2&before={LARGE}",
    ],
)
def test_what_is_too_large_for_a_time_or_a_row_is_refused_in_a_sentence(world: World, path: str) -> None:
    policy = PoolPolicy(POOL, POOL, ScalingPolicy())
    world.app.state.sources = replace(world.sources(), policies=[policy])
    answer = as_admin(world.client).get(path)

    assert (answer.status_code, LARGE in answer.text) == (422, False)


@pytest.mark.parametrize("at", [AFTER_ALL, BEFORE_ALL.replace("%2B", "+"), "9999-12-31T23:59:59Z"])
def test_no_key_ends_when_there_is_no_time(world: World, at: str) -> None:
    answer = as_admin(world.client).post("/api/v1/keys", json={"name": "x", "expires_at": at})

    assert (answer.status_code, "give one between the years 1000 and 9999" in answer.text) == (422, True)


@pytest.mark.parametrize(
    "path",
    [
        f"/audit?before={LARGE}",
        "/audit?from=0001-01-01&to=9999-12-31",
        f"/activity?before={LARGE}",
        f"/activity?from={BEFORE_ALL}&to={AFTER_ALL}",
        f"/activity?event={LARGE}",
        f"/decisions/{LARGE}",
        f"/drills/{LARGE}",
        f"/gateway/revisions/{LARGE}",
        f"/gateway/diff?after={LARGE}",
        f"/keys?page={LARGE}",
        f"/alerts?before={LARGE}",
    ],
)
def test_a_page_of_what_cannot_be_is_no_fault(world: World, path: str) -> None:
    assert as_admin(world.client).get(path, headers={"Accept": "text/html"}).status_code in (200, 404, 422)
