"""Pauses and bounds over the API: who may, what is refused, and what is told of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from controller.api.app import create_app
from controller.api.deps import Seen, Sources
from controller.core.event import Event
from controller.core.model import NodeName, Snapshot
from controller.core.overrides import overridden
from controller.core.people import Role
from controller.core.planner import plan
from controller.core.policy import Mode, PoolPolicy, ScalingPolicy
from tests.fakes.clock import START
from tests.fakes.overrides import FakeOverrides
from tests.fakes.people import FakePeople
from tests.fakes.store import FakeStore
from tests.unit.api.callers import as_admin, as_role
from tests.unit.core.build import POOL

POLICY = PoolPolicy(POOL, "llama", ScalingPolicy())


@dataclass
class Given:
    """What the sources say."""

    store: FakeStore = field(default_factory=FakeStore)
    policy: PoolPolicy = POLICY
    woken: list[bool] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.people, self.overrides = FakePeople(self.store), FakeOverrides(self.store)

    def sources(self) -> Sources:
        return Sources(
            policies=(self.policy,),
            nodes=(NodeName("local"),),
            store=self.store,
            latest=self.seen,
            healthy=lambda: True,
            metrics=lambda: b"",
            now=lambda: START,
            wake=lambda: self.woken.append(True),
            token="secret",
            tell=self.told.extend,
            people=self.people,
            overrides=self.overrides,
        )

    def seen(self) -> Seen:
        """As a tick would at that moment."""
        wanted = self.overrides.overrides()
        policies = overridden((self.policy,), wanted, START)
        snapshot = Snapshot(START, 1, (), {}, {})
        return Seen(snapshot, plan(snapshot, policies), frozenset(), policies, wanted)


@pytest.fixture
def given() -> Given:
    return Given()


@pytest.fixture
def client(given: Given) -> Iterator[TestClient]:
    with TestClient(create_app(given.sources())) as made:
        yield as_admin(made)


def test_a_pause_with_its_end_is_told_by_the_pool_and_the_ledger(client: TestClient, given: Given) -> None:
    as_role(client, given.people, Role.OPERATOR, "alice")
    answer = client.post("/api/v1/pools/llama/pause", json={"why": "launch", "for_s": 3600})

    until = (START + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    pause = {"by": "alice", "at": "2026-01-05T12:00:00Z", "why": "launch", "until": until}
    assert (answer.status_code, answer.json()) == (
        200,
        {"pool": "llama", "paused": True, "pause": pause, "bounds": None},
    )
    (pool,) = client.get("/api/v1/pools").json()
    assert (pool["mode"], pool["override"]) == ("paused", {"paused": True, "pause": pause, "bounds": None})
    assert "paused by alice until 2026-01-05 13:00:00 UTC: launch" in [one["text"] for one in pool["reasons"]]
    (event,) = given.store.events(limit=9)
    assert (event.event, event.subject, event.message) == ("pool_paused", "pool/llama", "By alice for 3600 s: launch.")
    assert (given.woken, [one.event for one in given.told]) == ([True], ["pool_paused"])
    (entry,) = given.people.rows.audit
    assert (entry.name, entry.action, entry.subject, entry.why) == (
        "alice",
        "pause",
        "pool/llama",
        "for 3600 s: launch",
    )


def test_a_pause_ends_when_somebody_resumes_the_pool(client: TestClient, given: Given) -> None:
    client.post("/api/v1/pools/llama/pause", json={"why": "launch"})
    assert client.post("/api/v1/pools/llama/resume", json={"why": "over"}).json()["paused"] is False
    assert [event.event for event in given.store.events(limit=9)] == ["pool_resumed", "pool_paused"]
    (pool,) = client.get("/api/v1/pools").json()
    assert (pool["mode"], pool["override"]) == ("active", None)
    again = client.post("/api/v1/pools/llama/resume")
    assert (again.status_code, again.json()["detail"]) == (409, "nobody has paused llama")


def test_bounds_hold_until_they_are_cleared(client: TestClient, given: Given) -> None:
    answer = client.put("/api/v1/pools/llama/bounds", json={"floor": 4, "ceiling": 8, "why": "launch"})
    assert answer.status_code == 200
    (pool,) = client.get("/api/v1/pools").json()
    assert (pool["floor"], pool["ceiling"], pool["override"]["paused"]) == (4, 8, False)
    assert pool["override"]["bounds"] == {
        "floor": 4,
        "ceiling": 8,
        "by": "state-directory",
        "at": "2026-01-05T12:00:00Z",
        "why": "launch",
        "configured_floor": 3,
        "configured_ceiling": 6,
        "in_force": True,
    }
    assert client.delete("/api/v1/pools/llama/bounds?why=over").json()["bounds"] is None
    (pool,) = client.get("/api/v1/pools").json()
    assert (pool["floor"], pool["ceiling"], pool["override"]) == (3, 6, None)
    cleared, set_ = given.store.events(limit=9)
    assert (set_.event, set_.numbers) == ("bounds_set", {"floor": 4.0, "ceiling": 8.0})
    assert cleared.message == "By state-directory: 3 to 6 of the configuration hold again: over."


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("POST", "other/pause", {"why": "x"}, 404, "there is no pool 'other'; there is llama"),
        ("PUT", "llama/bounds", {"floor": 5, "ceiling": 3, "why": "x"}, 422, "floor 5 is above ceiling 3; make the"),
        ("DELETE", "llama/bounds", None, 409, "nobody has set bounds of llama; those of the configuration hold"),
        ("POST", "llama/resume", {}, 409, "nobody has paused llama"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    client: TestClient, given: Given, method: str, path: str, body: object, status: int, sentence: str
) -> None:
    answer = client.request(method, f"/api/v1/pools/{path}", json=body)
    assert (answer.status_code, answer.json()["detail"][: len(sentence)]) == (status, sentence)
    assert (given.store.events(limit=9), given.overrides.rows) == ((), {})
    noted = [(entry.action, entry.outcome) for entry in given.people.rows.audit]
    assert noted == ([("refused", answer.json()["detail"])] if status == 409 else [])


@pytest.mark.parametrize(
    "body", [{"why": ""}, {"why": "x", "for_s": 0}, {"why": "x", "for_s": 1e9}, {"why": "x", "for_s": "inf"}, {}]
)
def test_a_pause_without_a_reason_or_without_an_end_that_can_come_is_refused(client: TestClient, body: object) -> None:
    assert client.post("/api/v1/pools/llama/pause", json=body).status_code == 422


def test_a_pool_that_its_configuration_pauses_is_not_resumed_here(given: Given) -> None:
    given.policy = replace(POLICY, mode=Mode.PAUSED)
    with TestClient(create_app(given.sources())) as client:
        as_admin(client)
        for order in ("pause", "resume"):
            answer = client.post(f"/api/v1/pools/llama/{order}", json={"why": "x"})
            assert answer.status_code == 409
            assert "set its mode there, and `stoker apply`" in answer.json()["detail"]


def test_who_may_only_look_may_not(client: TestClient, given: Given) -> None:
    as_role(client, given.people, Role.VIEWER, "vera")
    assert client.post("/api/v1/pools/llama/pause", json={"why": "x"}).status_code == 403
    assert client.put("/api/v1/pools/llama/bounds", json={"floor": 1, "ceiling": 2, "why": "x"}).status_code == 403
    assert given.overrides.rows == {}
