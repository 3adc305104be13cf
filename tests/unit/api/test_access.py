"""Who gets in, as what, and what is asked of a change."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from controller.api.access import ADMIN, OPERATOR, VIEWER, Caller, holds
from controller.api.access_routes import described, routes_of
from controller.api.access_unopened import UnopenedPeople
from controller.api.unopened_gateway import UnopenedDesk
from controller.core.people import IDLE, ApiToken, Role, User, digest_of
from controller.core.revision import Reverted
from tests.fakes.clock import START
from tests.unit.api.callers import as_admin, as_role, logged_in
from tests.unit.api.people_world import World

KEY = {"name": "a client"}


def test_whoever_shows_nothing_learns_nothing(client: TestClient) -> None:
    for path in ("/api/v1/pools", "/api/v1/keys", "/api/v1/users", "/metrics", "/openapi.json", "/api/v1/audit"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/v1/orders", 413), ("/api/v1/alerts", 401), ("/api/v1/simulations/traces", 401)],
)
def test_of_who_may_nothing_no_large_body_is_read(client: TestClient, path: str, status: int) -> None:
    assert client.post(path, content=b"x" * (2 * 1024**2)).status_code == status


@pytest.mark.parametrize("given", ["Bearer ", "Bearer st_unknown", "Bearer secre", "secret2", "Basic c2VjcmV0"])
def test_what_is_good_for_nothing_is_said_to_be(client: TestClient, given: str) -> None:
    assert client.get("/api/v1/caller", headers={"Authorization": given}).status_code == 401


@pytest.mark.parametrize(
    ("role", "reads", "orders", "users"),
    [("viewer", 200, 403, 403), ("operator", 200, 201, 403), ("admin", 200, 201, 200)],
)
def test_each_role_may_what_the_lower_ones_may(
    world: World, client: TestClient, role: str, reads: int, orders: int, users: int
) -> None:
    as_role(client, world.people, Role(role))

    assert client.get("/api/v1/pools").status_code == reads
    refused = client.post("/api/v1/keys", json=KEY)
    assert refused.status_code == orders
    assert client.get("/api/v1/users").status_code == users
    if orders == 403:
        assert refused.json()["detail"] == "this needs the role operator, and a-viewer is viewer"


def test_a_token_is_worth_no_more_than_its_owner(world: World, client: TestClient) -> None:
    as_role(client, world.people, Role.ADMIN)
    world.people.rows.users["a-admin"] = User("a-admin", Role.VIEWER, START)

    assert client.get("/api/v1/caller").json() == {
        "name": "a-admin", "role": "viewer", "how": "token", "token": "tests"
    }  # fmt: skip
    assert client.get("/api/v1/users").status_code == 403


def test_a_token_of_nobody_is_worth_nothing(world: World, client: TestClient) -> None:
    digest = digest_of("st_left")
    world.people.rows.tokens[digest] = ApiToken("tok_1", "ci", "gone", Role.ADMIN, "st_left", digest, START)
    as_admin(client, "st_left")

    assert client.get("/api/v1/pools").status_code == 401


def test_an_expired_token_is_worth_nothing(world: World, client: TestClient) -> None:
    digest = digest_of("st_short")
    end = START + timedelta(seconds=1)
    world.people.rows.users["x"] = User("x", Role.VIEWER, START)
    world.people.rows.tokens[digest] = ApiToken("tok_1", "ci", "x", Role.VIEWER, "st_short", digest, START, end)
    as_admin(client, "st_short")

    assert client.get("/api/v1/pools").status_code == 200
    world.clock.advance(1)
    assert client.get("/api/v1/pools").status_code == 401


def test_it_is_noted_about_once_a_minute_that_something_is_used(world: World, client: TestClient) -> None:
    as_role(client, world.people, Role.VIEWER)
    logged_in(world.client, world.people, Role.VIEWER)
    (token,), (session,) = world.people.rows.tokens, world.people.rows.sessions
    seen: list[Any] = []
    for seconds in (0, 30, 31):
        world.clock.advance(seconds)
        client.get("/api/v1/pools")
        client.get("/api/v1/pools", headers={"Authorization": ""})
        del client.headers["Authorization"]
        client.get("/api/v1/pools")
        as_admin(client, "st_viewer")
        used = world.people.rows.tokens[token].used_at
        assert used is not None
        seen.append(((used - START).seconds, (world.people.rows.sessions[session].seen_at - START).seconds))

    assert seen == [(0, 0), (0, 0), (61, 61)]


def test_a_session_ends_by_itself(world: World, client: TestClient) -> None:
    logged_in(client, world.people, Role.VIEWER)

    for _ in range(20):
        world.clock.advance(IDLE.total_seconds() - 60)
        last = client.get("/api/v1/pools").status_code
        if last != 200:
            break
    assert last == 401
    assert world.clock.now() - START >= timedelta(days=7) > world.clock.now() - START - IDLE
    logged_in(client, world.people, Role.VIEWER, "bob", world.clock.now())
    world.clock.advance(IDLE.total_seconds())
    assert client.get("/api/v1/pools").status_code == 401


def test_what_is_known_lasts_a_few_seconds_and_ends_at_once(world: World, client: TestClient) -> None:
    logged_in(client, world.people, Role.VIEWER)
    assert client.get("/api/v1/pools").status_code == 200

    world.store.database.gone = True
    assert client.get("/api/v1/pools").status_code == 200  # by what is known
    world.clock.advance(6)
    assert client.get("/api/v1/pools").status_code == 503
    assert as_admin(client).get("/api/v1/pools").status_code == 200  # needs no database
    world.store.database.gone = False
    del client.headers["Authorization"]
    assert client.get("/api/v1/pools").status_code == 200
    world.people.end_sessions("ada")
    world.door.known.forget()
    assert client.get("/api/v1/pools").status_code == 401


def test_a_session_that_ends_while_it_is_looked_up_is_not_remembered(world: World) -> None:
    known = world.door.known

    def look() -> str:
        known.forget()
        return "was there a moment ago"

    assert known.find("digest", START, look) == "was there a moment ago"
    assert known.find("digest", START, lambda: None) is None


@pytest.mark.parametrize("site", [None, "same-origin"])
def test_a_change_from_a_page_shows_its_token(world: World, client: TestClient, site: str | None) -> None:
    csrf = logged_in(client, world.people, Role.OPERATOR)
    headers = {"X-CSRF-Token": csrf, **({"Sec-Fetch-Site": site, "Origin": "http://proxied"} if site else {})}

    assert client.post("/api/v1/keys", json=KEY, headers=headers).status_code == 201
    assert [(entry.name, entry.how) for entry in world.noted("key create")] == [("ada", "session")]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "0" * 64},
        {"X-CSRF-Token": "CSRF", "Sec-Fetch-Site": "cross-site"},
        {"X-CSRF-Token": "CSRF", "Sec-Fetch-Site": "same-site"},
        {"X-CSRF-Token": "CSRF", "Origin": "http://elsewhere.example"},
        {"X-CSRF-Token": "CSRF", "Origin": "null"},
        {"X-CSRF-Token": "CSRF", "Origin": "http://testserver:81"},
    ],
)
def test_a_change_from_elsewhere_is_refused(world: World, client: TestClient, headers: dict[str, str]) -> None:
    csrf = logged_in(client, world.people, Role.ADMIN)
    sent = {name: csrf if value == "CSRF" else value for name, value in headers.items()}

    answer = client.post("/api/v1/keys", json=KEY, headers=sent)

    assert answer.status_code == 403
    assert "not asked for by a page of this controller" in answer.json()["detail"]
    assert world.store.database.keys == {}
    assert [(entry.action, entry.subject) for entry in world.noted()] == [("refused", "POST /api/v1/keys")]


def test_the_csrf_token_is_of_the_session(world: World, client: TestClient) -> None:
    others = logged_in(client, world.people, Role.OPERATOR, "bob")
    logged_in(client, world.people, Role.OPERATOR, "ada")

    assert client.post("/api/v1/keys", json=KEY, headers={"X-CSRF-Token": others}).status_code == 403


def test_prometheus_reads_the_metrics_and_nothing_else(client: TestClient) -> None:
    as_admin(client, "for-prometheus")

    assert client.get("/metrics").text == "stoker_up 1\n"
    assert client.get("/api/v1/pools").status_code == 401
    for other in ("for-gateways", "for-alerts"):
        assert as_admin(client, other).get("/metrics").status_code == 401


def test_without_a_token_of_its_own_nobody_reads_the_metrics(world: World, client: TestClient) -> None:
    world.app.state.sources = replace(world.sources(), token="", metrics_token="")

    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 401


def test_who_stands_by_knows_nobody_and_says_who_does(world: World, client: TestClient) -> None:
    world.lead = "stands by; other:8000 leads"
    assert as_admin(client).get("/api/v1/pools").status_code == 200
    world.app.state.sources = replace(world.sources(), people=UnopenedPeople())
    del client.headers["Authorization"]
    client.cookies.set("stoker_session", "one of the leader's")

    answer = client.get("/api/v1/pools")
    assert (answer.status_code, "other:8000 leads" in answer.json()["detail"]) == (503, True)
    client.cookies.clear()
    assert client.get("/api/v1/pools").status_code == 401


def test_refusals_are_written_down_but_not_a_flood_of_them(world: World, client: TestClient) -> None:
    as_role(client, world.people, Role.VIEWER)
    for _ in range(100):
        client.post("/api/v1/keys", json=KEY)
        client.get("/api/v1/users")  # changes nothing
    assert len(world.noted()) == 60
    world.clock.advance(60)
    client.post("/api/v1/keys", json=KEY)

    last = world.noted()[-1]
    assert (last.name, last.role, last.how, last.subject) == ("a-viewer", "viewer", "token tests", "POST /api/v1/keys")
    assert last.outcome == (
        "this needs the role operator, and a-viewer is viewer (40 more refusals were not written down before this one)"
    )
    assert last.refused


def test_a_change_that_cannot_be_noted_is_not_made(world: World, client: TestClient) -> None:
    as_admin(client)
    world.store.database.gone = True

    answer = client.post("/api/v1/keys", json=KEY)

    assert answer.status_code == 503
    assert "nothing was changed" in answer.json()["detail"]
    world.store.database.gone = False
    assert world.store.database.keys == {}


class Reverting(UnopenedDesk):
    """A gateway that goes back."""

    def undo(self) -> Reverted:
        return Reverted(False, "nothing was reverted")


def test_what_mends_something_is_done_without_the_audit_log(world: World, client: TestClient) -> None:
    world.app.state.sources = replace(world.sources(), desk=Reverting())
    as_admin(client).post("/api/v1/gateway/revert", json={"undo": True, "why": "users wait"})
    world.store.database.gone = True

    assert client.post("/api/v1/gateway/revert", json={"undo": True}).status_code == 200
    (event,) = world.events
    assert (event.event, event.subject) == ("audit_write_failed", "gateway")
    assert (
        event.message
        == "state-directory from testclient did gateway undo, which the audit log lacks: the database is gone."
    )
    (noted,) = world.noted("gateway undo")
    assert (noted.subject, noted.why, noted.outcome) == ("gateway", "users wait", "done")


def test_a_stream_holds_for_as_long_as_what_was_shown(world: World, client: TestClient) -> None:
    sources = world.sources()
    logged_in(client, world.people, Role.VIEWER)
    (session,) = world.people.rows.sessions
    who = Caller("ada", Role.VIEWER, "session", "testclient", digest=session)

    assert holds(sources, who)
    world.people.end_sessions("ada")
    world.door.known.forget()
    assert not holds(sources, who)
    assert holds(sources, Caller("state-directory", Role.ADMIN, "file", ""))


def test_a_stream_of_a_token_ends_with_the_role_that_it_was_let_in_for(world: World, client: TestClient) -> None:
    as_role(client, world.people, Role.OPERATOR, "ada")
    (token,) = world.people.rows.tokens
    who = Caller("ada", Role.OPERATOR, "token", "testclient", digest=token)

    assert holds(world.sources(), who)
    world.people.change_user("ada", lambda now: replace(now, role=Role.VIEWER))
    world.door.known.forget()
    assert not holds(world.sources(), who)
    assert holds(world.sources(), replace(who, role=Role.VIEWER))


@pytest.mark.parametrize("markers", [[], [VIEWER, OPERATOR]])
def test_a_route_says_once_what_it_needs(markers: list[Any]) -> None:
    app, router = FastAPI(), APIRouter()
    router.add_api_route("/odd", lambda: "", dependencies=markers)
    app.router.routes.clear()
    app.include_router(router)

    with pytest.raises(RuntimeError, match="the route /odd has"):
        list(routes_of(app))


def test_openapi_says_what_each_operation_needs(world: World, client: TestClient) -> None:
    document = described(world.app)
    paths = document["paths"]

    assert paths["/api/v1/pools"]["get"]["x-stoker-role"] == "viewer"
    assert paths["/api/v1/users"]["get"]["x-stoker-role"] == "admin"
    assert paths["/api/v1/keys"]["post"]["security"] == [{"bearer": []}, {"session": []}]
    assert paths["/api/v1/gateways/{name}"]["post"]["security"] == [{"bearer": []}]
    assert paths["/api/v1/sessions"]["post"]["security"] == []
    assert all("x-stoker-role" in operation for path in paths.values() for operation in path.values())
    assert as_admin(client).get("/openapi.json").json() == document
    for others in ("/docs", "/redoc"):
        assert client.get(others).status_code == 404


def test_the_markers_are_different_things() -> None:
    assert len({VIEWER.dependency, OPERATOR.dependency, ADMIN.dependency}) == 3
