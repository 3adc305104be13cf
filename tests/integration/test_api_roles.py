"""The API's borders: what schemathesis makes of the OpenAPI document, asked as nobody, viewer, operator and admin.

No server error, every answer as it is described, and nothing that the role may not see. Beside it every page, which
the document does not have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
import schemathesis
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from controller.api.access_door import Door
from controller.api.access_passwords import Passwords
from controller.api.access_routes import described, routes_of
from controller.api.app import create_app
from controller.core.people import ApiToken, Role, Session, User, digest_of, token_prefix
from tests.fakes.big_fleet import BigFleet
from tests.fakes.overrides import FakeDrills
from tests.fakes.simulations import FakeSimulations
from tests.unit.api.test_drills import FakeDesk

NOBODY = "nobody"
ROLES = (NOBODY, *(role.value for role in Role))
CHECKS = [schemathesis.checks.not_a_server_error, content_type_conformance, response_schema_conformance]
EXAMPLES = 8  # of each operation and role
OF_FILES = {"api": "for-who-runs-it", "gateway": "for-gateways", "alerts": "for-alerts", "metrics": "for-prometheus"}
ENDLESS = ("/live",)


class World:
    """A small fleet that has ticked, people of each role, and what must stay secret."""

    def __init__(self) -> None:
        fleet = BigFleet(pools=3, nodes=2).warm_up(20)
        door = Door()
        door.passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))  # quick
        self.people, now = fleet.people, fleet.clock.now()
        for role in Role:
            name, token, cookie = f"a-{role}", f"st_{role}", f"session-of-{role}"
            kept = door.passwords.make("correct horse battery", "here")
            self.people.rows.users[name] = User(name, role, now, kept)
            made = ApiToken(f"tok_{role}", "tests", name, role, token_prefix(token), digest_of(token), now)
            self.people.rows.tokens[made.digest] = made
            self.people.rows.sessions[digest_of(cookie)] = Session(digest_of(cookie), name, now, now, "127.0.0.1")
        self.sources = replace(
            fleet.sources(),
            drills=FakeDrills(fleet.store),
            drill_desk=FakeDesk(),
            simulations=FakeSimulations(),
            door=door,
            token=OF_FILES["api"],
            gateway_token=OF_FILES["gateway"],
            alerts_token=OF_FILES["alerts"],
            metrics_token=OF_FILES["metrics"],
        )
        self.app = create_app(self.sources)
        self.known = {
            "pool": [str(policy.pool) for policy in fleet.policies],
            "node": [str(name) for name in fleet.names],
            "key": [str(key.id) for key in self.sources.keys.find_keys(limit=3)],
            "decision": [str(item.id) for item in fleet.store.decisions(limit=2)],
            "subject": [f"pool/{fleet.policies[0].pool}", f"node/{fleet.names[0]}"],
            "number": [3],
            "after": [3],
            "fault": ["kill"],
        }

    def secrets(self) -> list[str]:
        """What no answer may have in it, whoever asks."""
        rows = self.people.rows
        kept = [user.password for user in rows.users.values() if user.password]
        return [*OF_FILES.values(), *kept, *rows.tokens, *rows.sessions, *rows.invitations]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def clients(world: World) -> Iterator[dict[str, TestClient]]:
    """One for each role."""
    with ExitStack() as open_ones:
        found = {}
        for role in ROLES:
            shown = {} if role == NOBODY else {"Authorization": f"Bearer st_{role}"}
            client = TestClient(world.app, headers=shown, follow_redirects=False)
            found[role] = open_ones.enter_context(client)
        yield found


def may(role: str, needed: str) -> bool:
    """Whether what a route needs is had by who has this role; the token of a file nobody has here."""
    if needed == "public":
        return True
    known = needed.split(" ")[0]
    return role != NOBODY and known in list(Role) and Role(role).allows(Role(known))


def judge(case: Any, answer: Any, role: str, secrets: list[str]) -> None:
    """That the role got what it may have."""
    needed = case.operation.definition.raw["x-stoker-role"]
    told = answer.text
    if may(role, needed):
        assert not (answer.status_code == 403 and f"this needs the role {needed}" in told)
        assert answer.status_code != 401 or needed == "public"
    else:
        # A body that is no JSON at all is refused before anybody is asked for.
        assert answer.status_code in ((400, 401, 422) if role == NOBODY else (400, 401, 403, 422)), told
        if answer.status_code in (400, 422):
            assert "json_invalid" in told or "error parsing the body" in told, told
    assert not [secret for secret in secrets if secret in told]


def with_known(case: Any, world: World, pick: int) -> None:
    """Names of what is there in the place of some that were made up, as those lead to 404 only."""
    if not pick:
        return
    for values in (case.path_parameters, case.query, case.body):
        for name, known in world.known.items():
            if isinstance(values, dict) and isinstance(values.get(name), str | int):
                values[name] = known[pick % len(known)]


@pytest.mark.parametrize("role", ROLES)
def test_each_operation_answers_each_role_as_it_is_described(
    world: World, clients: dict[str, TestClient], role: str
) -> None:
    schema = schemathesis.openapi.from_dict(described(world.app))
    schema.app = world.app
    shown = dict(clients[role].headers) if role != NOBODY else {}
    secrets, statuses = world.secrets(), set()
    for result in schema.get_all_operations():
        operation = result.ok()
        modes = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=[*HealthCheck]
        )
        @given(case=st.one_of(*modes), pick=st.integers(0, 3))
        def ask(case: Any, pick: int) -> None:
            with_known(case, world, pick)
            answer = case.call(headers=shown)
            case.validate_response(answer, checks=CHECKS)
            judge(case, answer, role, secrets)
            statuses.add(answer.status_code)

        ask()
    expected = {401} if role == NOBODY else {200, 404, 422}
    assert expected <= statuses


@pytest.mark.parametrize("role", ROLES)
def test_each_page_is_there_for_who_may_see_it(world: World, clients: dict[str, TestClient], role: str) -> None:
    looked_at = 0
    for route in routes_of(world.app):
        if route.in_schema or route.method != "GET" or route.path in ENDLESS or route.role == "public":
            continue
        path = re.sub(r"{(\w+).*?}", lambda found: str(world.known.get(found[1], ["x"])[0]), route.path)
        answer = clients[role].get(path, headers={"Accept": "text/html"})
        looked_at += 1
        if may(role, route.role):
            assert answer.status_code in (200, 404, 409), (path, answer.text[:300])
        elif role == NOBODY and route.path not in ("/metrics",):
            assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/login"), path
        else:
            assert answer.status_code in (401, 403, 303), path
        assert not [secret for secret in world.secrets() if secret in answer.text], path
        assert "script-src 'self'" in answer.headers["content-security-policy"], path
    assert looked_at > 12
