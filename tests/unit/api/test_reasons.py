"""Why somebody changes something: each change has a reason that people can read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import TypeAdapter, ValidationError

from controller.api.reasons import LONGEST, Why
from controller.core.people import Role, User
from controller.core.policy import PoolPolicy, ScalingPolicy
from tests.fakes.clock import START
from tests.fakes.overrides import FakeOverrides
from tests.unit.api.callers import as_admin
from tests.unit.api.people_world import World
from tests.unit.core.build import POOL

BODIES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("POST", "/api/v1/keys", {"name": "ci"}),
    ("POST", "/api/v1/keys/key_1/revoke", {}),
    ("POST", "/api/v1/keys/key_1/rotate", {"grace_s": 60}),
    ("POST", "/api/v1/orders", {"kind": "cordon", "subject": "node/a"}),
    ("POST", f"/api/v1/pools/{POOL}/pause", {}),
    ("POST", f"/api/v1/pools/{POOL}/resume", {}),
    ("PUT", f"/api/v1/pools/{POOL}/bounds", {"floor": 1, "ceiling": 2}),
    ("POST", "/api/v1/gateway/revert", {"undo": True}),
    ("PUT", "/api/v1/users/ada/role", {"role": "viewer"}),
    ("POST", "/api/v1/invitations", {"name": "bob"}),
)
QUERIES = (f"/api/v1/pools/{POOL}/bounds", "/api/v1/users/ada", "/api/v1/invitations/bob")


@pytest.fixture
def client(world: World) -> TestClient:
    world.add(User("ada", Role.OPERATOR, START))
    policies = [PoolPolicy(POOL, POOL, ScalingPolicy())]
    world.app.state.sources = replace(world.sources(), policies=policies, overrides=FakeOverrides(world.store))
    return as_admin(world.client)


@pytest.mark.parametrize("why", [{"why": "x" * (LONGEST + 1)}, {"why": "a\x1b[2J"}])
@pytest.mark.parametrize(("method", "path", "body"), BODIES, ids=lambda value: str(value)[:40])
def test_a_change_with_one_that_nobody_can_read_is_not_made(
    world: World, client: TestClient, method: str, path: str, body: dict[str, Any], why: dict[str, str]
) -> None:
    answer = client.request(method, path, json={**body, **why})

    assert (answer.status_code, [fault["loc"] for fault in answer.json()["detail"]]) == (422, [["body", "why"]])
    assert world.noted() == []


@pytest.mark.parametrize("why", [f"?why={'x' * (LONGEST + 1)}", "?why=%00"])
@pytest.mark.parametrize("path", QUERIES)
def test_nor_is_anything_taken_away(world: World, client: TestClient, path: str, why: str) -> None:
    answer = client.delete(f"{path}{why}")

    assert (answer.status_code, [fault["loc"] for fault in answer.json()["detail"]]) == (422, [["query", "why"]])
    assert world.noted() == []


@pytest.mark.parametrize("why", [{}, {"why": ""}, {"why": " \n"}])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"/api/v1/pools/{POOL}/pause", {}),
        ("PUT", f"/api/v1/pools/{POOL}/bounds", {"floor": 1, "ceiling": 2}),
        ("POST", "/api/v1/drills", {"fault": "kill"}),
    ],
)
def test_what_would_puzzle_the_next_one_is_not_done_without(
    world: World, client: TestClient, method: str, path: str, body: dict[str, Any], why: dict[str, str]
) -> None:
    assert client.request(method, path, json={**body, **why}).status_code == 422
    assert world.noted() == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  a launch ", "a launch"),
        ("two\r\nlines\tand more", "two  lines and more"),
        ("\u3000扩容\u3000上线", "扩容 上线"),
        ("x" * LONGEST + "  ", "x" * LONGEST),
    ],
)
def test_it_is_one_line(given: str, kept: str) -> None:
    assert TypeAdapter(Why).validate_python(given) == kept


@pytest.mark.parametrize("given", ["a\0b", "\x07", "\x7f", "\x9b2J", "half \ud800"])
def test_what_nobody_can_read_is_none(given: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Why).validate_python(given)


def test_it_is_kept_as_it_is_shown(world: World, client: TestClient) -> None:
    client.post(f"/api/v1/pools/{POOL}/pause", json={"why": " a leak\nagain "})

    assert world.app.state.sources.overrides.rows[POOL].pause.why == "a leak again"
    assert [entry.why for entry in world.noted()] == ["a leak again"]
