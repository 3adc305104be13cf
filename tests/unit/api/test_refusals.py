"""What was asked for and not done: that it is written down once, as text, and told in a sentence."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from controller.core.people import Role, User, csrf_of
from controller.core.policy import PoolPolicy, ScalingPolicy
from tests.fakes.clock import START
from tests.fakes.overrides import FakeDrills
from tests.unit.api.callers import as_admin, as_role, logged_in
from tests.unit.api.people_world import PASSWORD, World
from tests.unit.core.build import POOL


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/api/v1/tokens", {"name": "x", "role": "admin"}, 403, "a token has at most the role of who makes it"),
        ("DELETE", "/api/v1/sessions?of=root", None, 403, "the sessions of others need the role admin, and ada is"),
        ("DELETE", "/api/v1/tokens/tok_1?of=root", None, 403, "the tokens of others need the role admin, and ada is"),
        ("POST", "/api/v1/drills", {"fault": "kill", "why": "x", "force": True}, 403, "needs the role admin; leave"),
        ("POST", "/api/v1/pools/llama/resume", {}, 409, "nobody has paused llama"),
        ("POST", "/api/v1/password", {"old": "x", "new": "y"}, 409, "ada has no password here"),
    ],
)
def test_what_a_route_itself_refuses_is_in_the_audit_log(
    world: World, client: TestClient, method: str, path: str, body: Any, status: int, said: str
) -> None:
    policy = PoolPolicy(POOL, POOL, ScalingPolicy())
    world.app.state.sources = replace(world.sources(), policies=[policy], drills=FakeDrills(world.store))
    csrf = {"X-CSRF-Token": logged_in(client, world.people, Role.OPERATOR)}

    answer = client.request(method, path, json=body, headers=csrf)

    assert (answer.status_code, said in answer.json()["detail"]) == (status, True)
    (noted,) = world.noted()
    assert (noted.action, noted.subject) == ("refused", f"{method} {path.partition('?')[0]}")
    assert (noted.name, noted.role, noted.how, noted.refused) == ("ada", "operator", "session", True)
    assert noted.outcome == answer.json()["detail"]


def test_that_the_last_admin_stays_is_in_the_audit_log(world: World, client: TestClient) -> None:
    world.people.rows.users["grace"] = User("grace", Role.ADMIN, START)

    assert as_admin(client).delete("/api/v1/users/grace").status_code == 409
    assert client.put("/api/v1/users/grace/role", json={"role": "viewer"}).status_code == 409
    assert [(entry.subject, entry.refused) for entry in world.noted()] == [
        ("DELETE /api/v1/users/grace", True), ("PUT /api/v1/users/grace/role", True)
    ]  # fmt: skip


def test_what_is_refused_to_a_page_is_in_the_audit_log(world: World, client: TestClient) -> None:
    logged_in(client, world.people, Role.VIEWER)

    assert client.post("/logout", headers={"Accept": "text/html"}).status_code == 403
    assert [(entry.name, entry.subject) for entry in world.noted()] == [("ada", "POST /logout")]


def test_what_is_only_looked_at_and_what_is_not_there_is_not_written_down(world: World, client: TestClient) -> None:
    as_role(client, world.people, Role.VIEWER)

    assert client.get("/api/v1/users").status_code == 403
    assert client.delete("/api/v1/simulations/none").status_code in (404, 409, 503)
    assert client.post("/api/v1/nothing").status_code == 404
    assert [entry for entry in world.noted() if entry.subject.startswith("GET") or "nothing" in entry.subject] == []


def test_what_is_written_down_where_it_is_found_out_is_not_written_twice(world: World, client: TestClient) -> None:
    world.add(User("ada", Role.OPERATOR, START))
    started = client.post("/api/v1/sessions", json={"name": "ada", "password": PASSWORD})
    csrf = {"X-CSRF-Token": csrf_of(client.cookies["stoker_session"])}
    assert started.status_code == 201

    wrong = client.post("/api/v1/password", json={"old": "wrong", "new": "x"}, headers=csrf)
    assert wrong.status_code == 403
    assert client.post("/api/v1/sessions", json={"name": "ada", "password": "wrong"}).status_code == 401
    assert client.post("/api/v1/joins", json={"code": "x", "password": PASSWORD}).status_code == 404
    assert [entry.subject for entry in world.noted("refused")] == ["password", "login", "join"]


def test_refusals_of_routes_share_the_room_of_all(world: World, client: TestClient) -> None:
    csrf = {"X-CSRF-Token": logged_in(client, world.people, Role.OPERATOR)}
    for _ in range(100):
        client.delete("/api/v1/sessions?of=root", headers=csrf)

    assert len(world.noted()) == 60


def test_whoever_is_refused_writes_no_orders_for_a_terminal(world: World, client: TestClient) -> None:
    client.post("/api/v1/orders/%1B%5D52;c;c3R1ZmY=%07%C2%9B2J")
    as_role(client, world.people, Role.VIEWER)
    client.delete("/api/v1/sessions/%1B[2J")
    as_admin(client).delete("/api/v1/users/%1B[2J?why=%1B[2J")
    world.people.rows.users["ada"] = User("ada", Role.VIEWER, START)
    assert client.delete("/api/v1/users/ada?why=%1B[2J%00").status_code == 422

    assert client.put("/api/v1/users/ada/role%1B", json={"role": "viewer"}).status_code in (404, 405)
    kept = [text for entry in world.noted() for text in (entry.subject, entry.outcome, entry.why, entry.address)]
    assert "DELETE /api/v1/sessions/ [2J" in kept
    assert all(text.isprintable() for text in kept)


ELSEWHERE = {"Origin": "http://evil.example"}


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/api/v1/sessions", {"name": "ada", "password": PASSWORD}, ELSEWHERE, 403),
        ("/api/v1/joins", {"code": "x", "password": PASSWORD}, ELSEWHERE, 403),
        ("/api/v1/alerts", {}, {"Authorization": "Bearer st_guessed"}, 401),
        ("/api/v1/gateways/edge", {"version": "1"}, {"Authorization": "Bearer st_guessed"}, 401),
    ],
)
def test_what_is_refused_where_nobody_is_asked_for_has_the_address(
    world: World, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    answer = world.another("192.0.2.9").post(path, json=body, headers=headers)

    assert answer.status_code == status
    (noted,) = world.noted()
    assert (noted.subject, noted.address, noted.name) == (f"POST {path}", "192.0.2.9", "")
    assert (noted.outcome, noted.refused) == (answer.json()["detail"], True)


def test_who_must_wait_after_failed_logins_is_in_the_audit_log(world: World, client: TestClient) -> None:
    world.add(User("ada", Role.OPERATOR, START))
    for _ in range(8):
        client.post("/api/v1/sessions", json={"name": "ada", "password": "my secret guess"})
    csrf = {"X-CSRF-Token": logged_in(client, world.people, Role.OPERATOR, "bob")}
    world.add(User("bob", Role.OPERATOR, START))
    for _ in range(7):
        client.post("/api/v1/password", json={"old": "my secret guess", "new": "y"}, headers=csrf)

    told = [(entry.name, entry.how, entry.subject, entry.outcome[:15]) for entry in world.noted()]
    assert told == [
        *[("ada", "password", "login", "the name or the")] * 5,
        *[("ada", "password", "login", "too many logins")] * 3,
        *[("bob", "session", "password", "the old passwor")] * 5,
        *[("bob", "session", "password", "too many logins")] * 2,
    ]
    assert "secret" not in str(world.noted())


def test_what_the_forms_refuse_is_in_the_audit_log_once(world: World, client: TestClient) -> None:
    world.add(User("ada", Role.OPERATOR, START))
    page = {"Accept": "text/html"}
    token = re.findall(r'name="csrf" value="([^"]+)"', client.get("/login", headers=page).text)[0]
    for csrf in ("bad", *[token] * 7):
        client.post("/login", data={"name": "ada", "password": "my secret guess", "csrf": csrf}, headers=page)
    client.post("/join", data={"code": "secret", "password": "a", "again": "a", "csrf": "bad"}, headers=page)

    told = [(entry.name, entry.subject, entry.outcome[:15]) for entry in world.noted()]
    assert told == [
        ("", "POST /login", "this form is to"),
        *[("ada", "login", "the name or the")] * 5,
        *[("ada", "login", "too many logins")] * 2,
        ("", "POST /join", "this form is to"),
    ]
    assert "secret" not in str(world.noted())


def test_whoever_is_nobody_takes_no_room_from_who_is_known(world: World, client: TestClient) -> None:
    for _ in range(99):
        client.post("/api/v1/alerts", headers={"Authorization": "Bearer old"})
    csrf = {"X-CSRF-Token": logged_in(client, world.people, Role.OPERATOR)}
    client.delete("/api/v1/sessions?of=root", headers=csrf)

    assert len(world.noted()) == 61
    assert world.noted()[-1].name == "ada"
