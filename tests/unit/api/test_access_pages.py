"""/login, /join, /logout, /account, /users and /audit, as a browser without a script sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from controller.api.access_unopened import UnopenedPeople
from controller.api.web.login import onward
from controller.core.people import STATE_DIRECTORY, AuditEntry, Invitation, Role, User, digest_of
from tests.fakes.clock import START
from tests.unit.api.callers import as_admin, logged_in
from tests.unit.api.people_world import PASSWORD, World

HTML = {"Accept": "text/html"}
MARKUP = '<img src=x onerror="alert(1)">'


@pytest.fixture
def world() -> World:
    made = World()
    made.add(User("ada", Role.OPERATOR, START))
    return made


@pytest.fixture
def client(world: World) -> Iterator[TestClient]:
    with world.client as made:
        made.headers.update(HTML)
        made.follow_redirects = False
        yield made


def field(answer: Response, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', answer.text)
    assert found is not None
    return found[1]


def log_in(client: TestClient, password: str = PASSWORD, next: str = "/nodes?x=1", **more: str) -> Response:
    form = client.get("/login", params={"next": next})
    sent = {"name": "ada", "password": password, "next": field(form, "next"), "csrf": field(form, "csrf"), **more}
    return client.post("/login", data=sent)


def test_whoever_is_nobody_is_led_to_the_form_and_back(world: World, client: TestClient) -> None:
    led = client.get("/users?x=1")
    assert (led.status_code, led.headers["location"]) == (303, "/login?next=%2Fusers%3Fx%3D1")

    answer = log_in(client)
    assert (answer.status_code, answer.headers["location"]) == (303, "/nodes?x=1")
    assert client.get("/account").status_code == 200
    assert client.get("/login?next=/audit").headers["location"] == "/audit"


@pytest.mark.parametrize(
    ("path", "onto"),
    [
        ("/pools/llama?from=1", "/pools/llama?from=1"),
        ("https://elsewhere.example/", "/"),
        ("//elsewhere.example/", "/"),
        ("/\\elsewhere.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/logout", "/"),
        ("/login?next=/login", "/"),
        ("", "/"),
    ],
)
def test_nobody_is_led_elsewhere(path: str, onto: str) -> None:
    assert onward(path) == onto


def test_a_wrong_password_says_so_and_keeps_the_name(world: World, client: TestClient) -> None:
    answer = log_in(client, "wrong", name=f"ada{MARKUP}")

    assert answer.status_code == 401
    assert "The name or the password is wrong." in answer.text
    assert "wrong&#34;" not in answer.text
    assert MARKUP not in answer.text
    assert "ada&lt;img" in answer.text
    for _ in range(5):
        log_in(client, "wrong")
    slowed = log_in(client)
    assert (slowed.status_code, slowed.headers["retry-after"]) == (429, "1")
    assert "Try again in 1 second." in slowed.text


def test_a_form_that_is_none_of_ours_is_refused(world: World, client: TestClient) -> None:
    assert "Try once more" in log_in(client, csrf="made up").text
    cookieless = world.another()
    form = cookieless.get("/login")
    cookieless.cookies.clear()
    sent = {"name": "ada", "password": PASSWORD, "csrf": field(form, "csrf")}
    assert cookieless.post("/login", data=sent).status_code == 403
    assert client.post("/login", data={**sent, "csrf": ""}).status_code == 403
    client.headers["Sec-Fetch-Site"] = "cross-site"
    assert log_in(client).status_code == 403
    assert world.people.rows.sessions == {}


def test_an_invitation_is_accepted_on_its_page(world: World, client: TestClient) -> None:
    world.people.invite(Invitation(digest_of("code"), "bob", Role.VIEWER, START.replace(year=2027), STATE_DIRECTORY))

    def accept(password: str, again: str, code: str = "code") -> Response:
        sent = {"code": code, "password": password, "again": again, "csrf": field(client.get("/join"), "csrf")}
        return client.post("/join", data=sent)

    assert "not the same" in accept("a long password", "another password").text
    assert accept("short", "short").status_code == 422
    assert "Ask for another one" in accept("a long password", "a long password", "wrong").text
    answer = accept("a long password", "a long password")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "bob" in client.get("/account").text


def test_logging_out_needs_the_token_of_the_page(world: World, client: TestClient) -> None:
    log_in(client)
    assert client.post("/logout").status_code == 403
    page = client.get("/account")
    assert client.post("/logout", data={"csrf": field(page, "csrf")}).headers["location"] == "/login"
    assert client.get("/account").headers["location"] == "/login?next=%2Faccount"


def test_who_stands_by_says_who_leads_on_every_page(world: World, client: TestClient) -> None:
    csrf = field(client.get("/login"), "csrf")
    world.lead = "stands by; other:8000 leads"
    world.app.state.sources = replace(world.sources(), people=UnopenedPeople())

    answer = client.get("/login")
    assert (answer.status_code, "other:8000 leads" in answer.text) == (503, True)
    refused = client.post("/login", data={"name": "ada", "password": PASSWORD, "csrf": csrf})
    assert (refused.status_code, "other:8000 leads" in refused.text) == (503, True)
    for page in ("/account", "/users", "/audit"):
        assert as_admin(client).get(page).status_code == 503


def test_pages_for_roles(world: World, client: TestClient) -> None:
    logged_in(client, world.people, Role.OPERATOR)
    assert [client.get(path).status_code for path in ("/account", "/audit", "/users")] == [200, 200, 403]
    logged_in(client, world.people, Role.ADMIN, "root")
    assert client.get("/users").status_code == 200
    logged_in(client, world.people, Role.VIEWER, "vic")
    assert client.get("/audit").status_code == 403


def test_everything_from_outside_is_text(world: World, client: TestClient) -> None:
    logged_in(client, world.people, Role.ADMIN)
    (digest,) = world.people.rows.sessions
    row = world.people.rows.sessions[digest]
    world.people.rows.sessions[digest] = replace(row, agent=MARKUP)
    for refused in (False, True):
        world.people.write_audit([AuditEntry(START, *([MARKUP] * 8), refused=refused)])

    asked = "&".join(f"{name}={MARKUP}" for name in ("q", "name", "action", "from", "refused"))
    for path in ("/account", "/audit", f"/audit?{asked}"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert MARKUP not in answer.text, path
    assert "&lt;img" in answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe-inline" not in answer.headers["content-security-policy"]


def test_the_audit_log_page_by_page(world: World, client: TestClient) -> None:
    logged_in(client, world.people, Role.ADMIN)
    world.people.write_audit(
        [AuditEntry(START, "ada", "operator", "token ci", "", "key create", f"key/{n}-") for n in range(150)]
    )
    first = client.get("/audit?name=ADA&from=2026-01-05&to=2026-01-05")

    assert "key/149-" in first.text
    assert "key/49-" not in first.text
    older = re.search(r'rel="next" href="([^"]+)"', first.text)
    assert older is not None
    second = client.get(older[1].replace("&amp;", "&"))
    assert "key/49-" in second.text
    assert 'rel="next"' not in second.text
    assert "token ci" in second.text
    assert "Nothing fits" in client.get("/audit?to=2026-01-04").text
    export = re.search(r'href="(/api/v1/audit.csv[^"]+)"', first.text)
    assert export is not None
    assert len(client.get(export[1].replace("&amp;", "&")).text.splitlines()) == 151


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("path", ["/login", "/join", "/account", "/users", "/audit"])
def test_every_page_in_every_language(world: World, client: TestClient, path: str, language: str) -> None:
    if path in ("/account", "/users", "/audit"):
        as_admin(client)
    client.cookies.set("lang", language)

    answer = client.get(path)
    assert (answer.status_code, f'lang="{language}' in answer.text) == (200, True)
