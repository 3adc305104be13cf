"""Changes that come to nothing after they stand in the audit log as done: the next line says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import pytest
from fastapi.testclient import TestClient

from controller.core.errors import GatewayRejected, GatewayUnavailable, LostLease, TransientError
from controller.core.people import LastAdmin, NotAdmin, Role, Session, User
from controller.core.policy import PoolPolicy, ScalingPolicy
from tests.fakes.clock import START
from tests.fakes.overrides import FakeOverrides
from tests.unit.api.callers import ADMIN, as_admin, logged_in
from tests.unit.api.people_world import PASSWORD, World
from tests.unit.api.test_gateway import FakeDesk
from tests.unit.core.build import POOL

AWAY = "the database is gone"
POLICY = PoolPolicy(POOL, POOL, ScalingPolicy())
BOUNDS = {"floor": 3, "ceiling": 4, "why": "x"}
INVITED = {"name": "bob", "role": "viewer", "why": "x"}
UNDO, REVERT = {"undo": True, "why": "x"}, {"number": 1, "why": "x"}


def raising(error: Exception) -> Callable[..., NoReturn]:
    """In the place of a method of a store."""

    def fail(*given: Any, **named: Any) -> NoReturn:
        raise error

    return fail


@pytest.mark.parametrize(
    ("method", "path", "body", "store", "change", "action"),
    [
        ("POST", "/api/v1/keys", {"name": "ci", "why": "x"}, "keys", "add_key", "key create"),
        ("POST", "/api/v1/pools/llama/pause", {"why": "x"}, "overrides", "change_override", "pause"),
        ("PUT", "/api/v1/pools/llama/bounds", BOUNDS, "overrides", "change_override", "bounds set"),
        ("PUT", "/api/v1/users/ada/role", {"role": "viewer", "why": "x"}, "people", "change_user", "user role"),
        ("DELETE", "/api/v1/users/ada?why=x", None, "people", "remove_user", "user remove"),
        ("POST", "/api/v1/invitations", INVITED, "people", "invite", "user invite"),
        ("POST", "/api/v1/tokens", {"name": "ci", "role": "viewer"}, "people", "add_token", "token create"),
        ("DELETE", "/api/v1/sessions?of=ada", None, "people", "end_sessions", "session end"),
    ],
)  # fmt: skip
def test_a_change_that_the_store_does_not_take(
    world: World, method: str, path: str, body: Any, store: str, change: str, action: str
) -> None:
    world.add(User("ada", Role.OPERATOR, START))
    world.people.rows.sessions["digest"] = Session("digest", "ada", world.clock.now(), world.clock.now(), "", "")
    world.app.state.sources = replace(world.sources(), policies=[POLICY], overrides=FakeOverrides(world.store))
    setattr(getattr(world.app.state.sources, store), change, raising(TransientError(AWAY)))

    answer = world.client.request(method, path, json=body, headers=ADMIN)

    assert (answer.status_code, answer.json()["detail"]) == (503, AWAY)
    before, after = world.noted()
    assert (before.action, before.outcome) == (action, "done")
    assert (after.action, after.subject, after.why) == (action, before.subject, before.why)
    assert (after.outcome, after.refused) == (f"failed: {AWAY}", False)


@pytest.mark.parametrize("fault", [NotAdmin("root"), LastAdmin("ada")])
def test_who_lost_the_right_meanwhile_is_told_of_in_the_log(world: World, fault: Exception) -> None:
    world.add(User("ada", Role.OPERATOR, START))
    world.people.change_user = raising(fault)  # type: ignore[method-assign]

    answer = as_admin(world.client).put("/api/v1/users/ada/role", json={"role": "viewer"})

    assert (answer.status_code, answer.json()["detail"]) == (409, str(fault))
    assert [entry.outcome for entry in world.noted()] == ["done", f"failed: {fault}"]


@pytest.mark.parametrize(
    ("body", "fault", "status", "said"),
    [
        (UNDO, GatewayUnavailable("nginx is silent"), 503, "nginx is silent"),
        (REVERT, GatewayUnavailable("nginx is silent"), 503, "nginx is silent"),
        (REVERT, GatewayRejected("no"), 409, "the settings of 1 cannot be used: no; nothing is changed"),
        (REVERT, KeyError(1), 404, "there is no revision 1; `stoker gateway history` shows those that are kept"),
    ],
)
def test_a_gateway_that_does_not_go_back(world: World, body: Any, fault: Exception, status: int, said: str) -> None:
    world.app.state.sources = replace(world.sources(), desk=FakeDesk(fault=fault))

    answer = as_admin(world.client).post("/api/v1/gateway/revert", json=body)

    assert answer.status_code == status
    action = "gateway undo" if body is UNDO else "gateway revert"
    assert [(entry.action, entry.outcome) for entry in world.noted()] == [(action, "done"), (action, f"failed: {said}")]


def test_a_token_whose_owner_is_gone_is_written_down_once(world: World) -> None:
    csrf = logged_in(world.client, world.people, Role.OPERATOR)
    world.people.add_token = lambda token: False  # type: ignore[method-assign]

    body = {"name": "ci", "role": "viewer"}
    answer = world.client.post("/api/v1/tokens", json=body, headers={"X-CSRF-Token": csrf})

    assert answer.status_code == 409
    assert [entry.outcome for entry in world.noted()] == ["done", f"failed: {answer.json()['detail']}"]


def test_a_login_that_does_not_begin(world: World) -> None:
    world.add(User("ada", Role.OPERATOR, START))
    world.people.start_session = lambda session, password: False  # type: ignore[method-assign]

    answer = world.client.post("/api/v1/sessions", json={"name": "ada", "password": PASSWORD})

    assert answer.status_code == 401
    assert [(entry.action, entry.outcome) for entry in world.noted()] == [
        ("login", "done"), ("login", f"failed: {answer.json()['detail']}")
    ]  # fmt: skip


def test_a_fault_of_ours_tells_nothing_of_itself(world: World) -> None:
    world.people.invite = raising(ValueError("secret"))  # type: ignore[method-assign]
    client = TestClient(world.app, raise_server_exceptions=False, headers=ADMIN)

    assert client.post("/api/v1/invitations", json=INVITED).status_code == 500
    outcome = "failed: something went wrong here; the controller's log has more"
    assert [entry.outcome for entry in world.noted()] == ["done", outcome]


def test_where_the_log_goes_away_with_the_rest_an_event_says_so(world: World) -> None:
    def lose(*given: Any) -> NoReturn:
        world.store.database.gone = True
        raise TransientError(AWAY)

    world.people.invite = lose  # type: ignore[method-assign]
    assert as_admin(world.client).post("/api/v1/invitations", json=INVITED).status_code == 503

    assert [entry.outcome for entry in world.noted()] == ["done"]
    assert [event.message for event in world.events] == [
        f"state-directory from testclient tried user invite, which the audit log lacks: {AWAY}."
    ]


def test_whoever_lost_the_lead_keeps_the_log_to_the_one_that_has_it(world: World) -> None:
    def lose(*given: Any) -> NoReturn:
        world.people.write_audit = raising(LostLease("term 1 is over"))  # type: ignore[method-assign]
        raise LostLease("term 1 is over")

    world.people.invite = lose  # type: ignore[method-assign]

    assert as_admin(world.client).post("/api/v1/invitations", json=INVITED).status_code == 409
