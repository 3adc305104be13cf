"""The API over what a tick left behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from controller.api.app import create_app
from controller.api.deps import Seen, Sources
from controller.core.decision import Plan, Reason, ReasonCode, ScalePool
from controller.core.event import Event
from controller.core.model import GatewayPlan, NodeName, PoolReadings, ReplicaState, Snapshot
from controller.core.planner import RUNTIME, plan
from controller.core.policy import PoolPolicy, ScalingPolicy
from tests.fakes.clock import START
from tests.fakes.store import FakeStore
from tests.unit.core.build import POOL, probe, reading, replica

POLICIES = (PoolPolicy(POOL, "llama", ScalingPolicy(target_in_flight=4)),)


@dataclass
class Given:
    """What the sources say."""

    seen: Seen | None = None
    healthy: bool = True
    store: FakeStore = field(default_factory=FakeStore)

    def tick(self, *, unknown: tuple[str, ...] = ()) -> None:
        ready = [replica(f"llama-{number}", ReplicaState.READY, probe(True, in_flight=1)) for number in (1, 2)]
        starting = replica("llama-3", None, probe(False, 1))
        now = START + timedelta(seconds=5)
        readings = {POOL: PoolReadings(reading(2, now=now))}
        snapshot = Snapshot(now, 9, (*ready, starting), {}, readings, unknown)
        made = plan(snapshot, POLICIES)
        self.seen = Seen(snapshot, made, made.gateway.replicas())


@pytest.fixture
def given() -> Given:
    return Given()


@pytest.fixture
def client(given: Given) -> Iterator[TestClient]:
    sources = Sources(
        policies=POLICIES,
        nodes=(NodeName("local"),),
        store=given.store,
        latest=lambda: given.seen,
        healthy=lambda: given.healthy,
        metrics=lambda: b"stoker_up 1\n",
    )
    with TestClient(create_app(sources)) as made:
        yield made


def test_before_the_first_tick(client: TestClient) -> None:
    assert client.get("/readyz").status_code == 503
    (pool,) = client.get("/api/v1/pools").json()
    assert (pool["desired"], pool["ready"], pool["in_flight"]) == (3, 0, None)
    assert client.get("/api/v1/replicas").json() == []
    assert "no tick has ended yet" in client.get("/").text


def test_pools(client: TestClient, given: Given) -> None:
    given.tick()
    (pool,) = client.get("/api/v1/pools").json()

    assert {name: pool[name] for name in ("pool", "model", "floor", "ceiling", "desired", "ready", "starting")} == {
        "pool": "llama",
        "model": "llama",
        "floor": 3,
        "ceiling": 6,
        "desired": 3,
        "ready": 2,
        "starting": 1,
    }
    assert pool["in_flight"] == 2
    assert pool["reasons"][0]["numbers"]["in_flight"] == 2


def test_replicas(client: TestClient, given: Given) -> None:
    given.tick()
    first, *_, last = client.get("/api/v1/replicas").json()

    assert (first["replica"], first["state"], first["phase"], first["routed"]) == ("llama-1", "ready", "ready", True)
    assert (first["cold_start_s"], first["in_flight"], first["waiting"]) == (2.0, 1, 0)
    assert (last["state"], last["ready_at"], last["cold_start_s"], last["in_flight"]) == ("starting", None, None, None)


def test_nodes_say_when_their_engine_is_silent(client: TestClient, given: Given) -> None:
    given.tick()
    assert client.get("/api/v1/nodes").json() == [{"node": "local", "answering": True, "replicas": 3}]
    given.tick(unknown=(RUNTIME,))
    assert client.get("/api/v1/nodes").json()[0]["answering"] is False
    assert "No answer from: runtime" in client.get("/").text


def test_decisions_and_events(client: TestClient, given: Given) -> None:
    reasons = (Reason(ReasonCode.ABOVE_TARGET, "20 in flight <b>", {"in_flight": 20.0}),)
    term = given.store.take_term()
    wanted = Plan((ScalePool(POOL, 3, 5, reasons),), GatewayPlan(), given.store.load(), ())
    given.store.save(wanted, tick=4, term=term, at=START)
    given.store.append([Event(START, "pool_scaled", "pool/llama", "AboveTarget", "Went.", {"to": 5.0}, 4, 1)])

    (decision,) = client.get("/api/v1/decisions").json()
    assert (decision["kind"], decision["current"], decision["desired"], decision["outcome"]) == (
        "scale_pool",
        3,
        5,
        None,
    )
    assert decision["reasons"] == [{"code": "AboveTarget", "text": "20 in flight <b>", "numbers": {"in_flight": 20.0}}]
    assert client.get("/api/v1/events").json()[0]["event"] == "pool_scaled"
    assert client.get("/api/v1/decisions", params={"pool": "other"}).json() == []
    assert "20 in flight &lt;b&gt;" in client.get("/").text


@pytest.mark.parametrize("limit", ["0", "1001", "many"])
def test_a_bad_limit_is_refused(client: TestClient, limit: str) -> None:
    assert client.get("/api/v1/decisions", params={"limit": limit}).status_code == 422


def test_health_and_metrics(client: TestClient, given: Given) -> None:
    given.tick()
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    given.healthy = False
    assert client.get("/healthz").status_code == 503
    answer = client.get("/metrics")
    assert (answer.text, answer.headers["content-type"].split(";")[0]) == ("stoker_up 1\n", "text/plain")


def test_the_page_takes_nothing_from_elsewhere(client: TestClient, given: Given) -> None:
    given.tick()
    answer = client.get("/")

    assert "llama-3" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "http://" not in answer.text
    assert "https://" not in answer.text


def test_the_openapi_page_describes_every_route(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]

    assert sorted(paths) == [f"/api/v1/{name}" for name in ("decisions", "events", "nodes", "pools", "replicas")]
