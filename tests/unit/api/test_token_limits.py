"""What a token may not do of its owner: it is a program's, and what gets hold of one must not keep a person out."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from controller.core.people import STATE_DIRECTORY, ApiToken, Role, digest_of, token_prefix
from tests.fakes.clock import START
from tests.unit.api.callers import as_admin, as_role, logged_in
from tests.unit.api.people_world import World


def token(world: World, text: str, owner: str, role: Role) -> str:
    digest = digest_of(text)
    made = ApiToken(f"tok_{text[3:]}", text[3:], owner, role, token_prefix(text), digest, START)
    world.people.rows.tokens[digest] = made
    return made.id


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.ADMIN])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "sessions"), ("DELETE", "sessions"), ("DELETE", "sessions/{session}")]
)
def test_a_token_has_no_say_in_its_owners_sessions(
    world: World, client: TestClient, role: Role, method: str, path: str
) -> None:
    logged_in(world.another(), world.people, Role.ADMIN)
    token(world, "st_program", "ada", role)
    (session,) = world.people.rows.sessions

    answer = as_admin(client, "st_program").request(method, f"/api/v1/{path}".format(session=session[:16]))

    assert (answer.status_code, answer.json()["detail"]) == (
        403,
        "a token has no say in sessions; log in, or let the token of an admin name somebody by ?of=NAME",
    )
    assert list(world.people.rows.sessions) == [session]


def test_only_the_token_of_an_admin_names_somebody(world: World, client: TestClient) -> None:
    logged_in(world.another(), world.people, Role.ADMIN)
    token(world, "st_low", "ada", Role.OPERATOR)
    token(world, "st_high", "ada", Role.ADMIN)

    assert as_admin(client, "st_low").delete("/api/v1/sessions?of=ada").status_code == 403
    assert as_admin(client, "st_high").delete("/api/v1/sessions?of=ada").json() == {"ended": 1}


def test_the_state_directory_may_everything(world: World, client: TestClient) -> None:
    logged_in(world.another(), world.people, Role.ADMIN)
    made = token(world, "st_any", "ada", Role.VIEWER)

    assert as_admin(client).get("/api/v1/sessions").json() == []
    assert [one["id"] for one in client.get("/api/v1/tokens").json()] == [made]
    assert client.delete(f"/api/v1/tokens/{made}").status_code == 204
    assert client.delete("/api/v1/sessions?of=ada").json() == {"ended": 1}


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_a_token_sees_and_removes_itself_only(world: World, client: TestClient, role: Role) -> None:
    as_role(world.another(), world.people, Role.ADMIN, "ada")
    mine, other = token(world, "st_mine", "ada", role), token(world, "st_other", "ada", Role.VIEWER)
    as_admin(client, "st_mine")

    for asked in ("", "?of=ada"):
        assert [one["id"] for one in client.get(f"/api/v1/tokens{asked}").json()] == [mine]
        refused = client.delete(f"/api/v1/tokens/{other}{asked}")
        assert (refused.status_code, "a token removes itself only" in refused.json()["detail"]) == (403, True)
    assert client.get("/api/v1/tokens?of=root").status_code == 403
    assert client.delete(f"/api/v1/tokens/{mine}").status_code == 204
    assert client.get("/api/v1/caller").status_code == 401
    assert {one.id for one in world.people.rows.tokens.values()} == {"tok_ada", other}


def test_the_token_of_an_admin_says_whose_it_removes(world: World, client: TestClient) -> None:
    as_role(client, world.people, Role.ADMIN, "root")
    of_ada = token(world, "st_other", "ada", Role.VIEWER)
    of_nobody = token(world, "st_file", STATE_DIRECTORY, Role.VIEWER)

    assert client.delete(f"/api/v1/tokens/{of_ada}").status_code == 403
    assert client.delete(f"/api/v1/tokens/{of_ada}?of=root").status_code == 404
    assert client.delete(f"/api/v1/tokens/{of_ada}?of=Ada").status_code == 204
    assert client.delete(f"/api/v1/tokens/{of_nobody}?of={STATE_DIRECTORY}").status_code == 204


def test_a_session_removes_every_token_of_its_person(world: World, client: TestClient) -> None:
    csrf = {"X-CSRF-Token": logged_in(client, world.people, Role.VIEWER)}
    made = token(world, "st_mine", "ada", Role.VIEWER)

    assert [one["id"] for one in client.get("/api/v1/tokens").json()] == [made]
    assert client.delete(f"/api/v1/tokens/{made}?of=bob", headers=csrf).status_code == 403
    assert client.delete(f"/api/v1/tokens/{made}", headers=csrf).status_code == 204
