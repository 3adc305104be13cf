"""The API over what a tick left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response

from controller.api.access_routes import routes_of
from controller.api.app import create_app
from controller.api.deps import Seen, Sources
from controller.core.decision import Plan, Reason, ReasonCode, RemoveReplica, ScalePool
from controller.core.event import Event
from controller.core.model import (
    ColdStart,
    GatewayPlan,
    Node,
    NodeName,
    Order,
    OrderKind,
    PoolMemory,
    PoolReadings,
    ReplicaId,
    ReplicaState,
    Signal,
    Snapshot,
)
from controller.core.planner import RUNTIME, plan
from controller.core.policy import PoolPolicy, ScalingPolicy
from controller.evidence import load
from controller.ports import LastWords
from tests.fakes.clock import START
from tests.fakes.store import FakeStore
from tests.unit.api.callers import as_admin
from tests.unit.core.build import POOL, probe, reading, replica

LOCAL = Node(NodeName("local"))
POLICIES = (PoolPolicy(POOL, "llama", ScalingPolicy()),)


@dataclass
class Given:
    """What the sources say."""

    seen: Seen | None = None
    healthy: bool = True
    lead: str = "leads"
    pool: PoolMemory | None = None
    woken: list[bool] = field(default_factory=list)
    store: FakeStore = field(default_factory=FakeStore)

    def tick(self, *, unknown: tuple[str, ...] = (), node: Node = LOCAL) -> None:
        ready = [replica(f"llama-{number}", ReplicaState.READY, probe(True, in_flight=1)) for number in (1, 2)]
        starting = replica("llama-3", None, probe(False, 1))
        now = START + timedelta(seconds=5)
        readings = {POOL: PoolReadings({Signal.IN_FLIGHT: reading(2, now=now)})}
        pools = {POOL: self.pool} if self.pool else {}
        snapshot = Snapshot(now, 9, (*ready, starting), pools, readings, unknown, nodes=(node,))
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
        now=lambda: START,
        lead=lambda: given.lead,
        wake=lambda: given.woken.append(True),
        token="secret",
    )
    with TestClient(create_app(sources)) as made:
        yield as_admin(made)


def test_before_the_first_tick(client: TestClient) -> None:
    assert client.get("/readyz").status_code == 503
    (pool,) = client.get("/api/v1/pools").json()
    assert (pool["desired"], pool["ready"], pool["in_flight"]) == (3, 0, None)
    assert client.get("/api/v1/replicas").json() == []
    assert "The controller has just started" in client.get("/").text


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
    calm = {
        "node": "local",
        "answering": True,
        "silent_since": None,
        "cordoned": False,
        "order": None,
        "ordered_at": None,
        "why": "",
        "replicas": 3,
    }
    assert client.get("/api/v1/nodes").json() == [calm]
    given.tick(unknown=(RUNTIME,), node=Node(NodeName("local"), START, cordoned=True))
    (node,) = client.get("/api/v1/nodes").json()
    assert (node["answering"], node["silent_since"], node["cordoned"]) == (False, "2026-01-05T12:00:00Z", True)
    assert "The container engine does not answer: nothing can be started" in client.get("/").text


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

    assert 'href="/pools/llama"' in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "http://" not in answer.text
    assert "https://" not in answer.text


def test_the_openapi_page_describes_every_route(client: TestClient) -> None:
    assert isinstance(client.app, FastAPI)
    told = client.get("/openapi.json").json()["paths"]

    found = {(path, method.upper()) for path, operations in told.items() for method in operations}
    assert found == {(route.path, route.method) for route in routes_of(client.app) if route.path.startswith("/api/v1/")}


def ask(client: TestClient, kind: str, subject: str, token: str = "secret") -> Response:
    wanted = {"kind": kind, "subject": subject, "why": "a test"}
    return client.post("/api/v1/orders", json=wanted, headers={"Authorization": f"Bearer {token}"})


def test_an_order_is_kept_and_wakes_a_tick(client: TestClient, given: Given) -> None:
    given.tick()
    answer = ask(client, "quarantine", "replica/llama-1")

    assert answer.status_code == 202
    assert given.store.orders() == (Order(OrderKind.QUARANTINE, "replica/llama-1", START, "a test"),)
    assert given.woken == [True]
    (told,) = client.get("/api/v1/orders").json()
    assert told == {
        "kind": "quarantine",
        "subject": "replica/llama-1",
        "at": "2026-01-05T12:00:00Z",
        "why": "a test",
    }


def test_release_withdraws_what_holds_of_a_replica_or_a_node_and_is_an_order_for_a_pool(
    client: TestClient, given: Given
) -> None:
    given.tick()
    ask(client, "quarantine", "replica/llama-1")
    ask(client, "cordon", "node/local")
    assert ask(client, "release", "replica/llama-1").status_code == 202
    assert ask(client, "release", "node/local").status_code == 202
    assert given.store.orders() == ()

    assert ask(client, "release", "pool/llama").status_code == 202
    assert [(order.kind, order.subject) for order in given.store.orders()] == [(OrderKind.RELEASE, "pool/llama")]


@pytest.mark.parametrize(
    ("kind", "subject", "status", "said"),
    [
        ("drain", "replica/llama-9", 404, "there is no replica/llama-9; there is llama-1, llama-2, llama-3"),
        ("restart", "pool/other", 404, "there is no pool/other; there is llama"),
        ("cordon", "node/other", 404, "there is no node/other; there is local"),
        ("cordon", "pool/llama", 422, "cordon is no order for pool/llama; it is one for node/NAME or gpu/UUID"),
        ("restart", "node/local", 422, "restart is no order for node/local; it is one for replica/NAME or pool/NAME"),
        ("restart", "llama-1", 422, "'llama-1' is no subject; write node/NAME, gpu/UUID, replica/NAME or pool/NAME"),
        (
            "release",
            "replica/llama-1",
            409,
            "nothing is ordered of replica/llama-1, so there is nothing to release it from",
        ),
        (
            "drain",
            "node/local",
            409,
            "no other node could take the replicas of local; add one, or restart its pools",
        ),
    ],
)
def test_an_order_that_means_nothing_is_refused_in_a_sentence(
    client: TestClient, given: Given, kind: str, subject: str, status: int, said: str
) -> None:
    given.tick()
    answer = ask(client, kind, subject)

    assert (answer.status_code, answer.json()["detail"]) == (status, said)
    assert given.store.orders() == ()
    assert given.woken == []


@pytest.mark.parametrize("token", ["", "secre", "secret ", "s\u00e9cret"])
def test_an_order_without_the_token_is_refused(client: TestClient, given: Given, token: str) -> None:
    given.tick()
    headers = {"Authorization": f"Bearer {token}".encode()}
    wanted = {"kind": "quarantine", "subject": "replica/llama-1"}

    assert client.post("/api/v1/orders", json=wanted, headers=headers).status_code == 401
    del client.headers["Authorization"]
    assert client.post("/api/v1/orders", json=wanted).status_code == 401
    assert given.store.orders() == ()


def test_before_the_first_tick_nothing_can_be_ordered(client: TestClient) -> None:
    assert ask(client, "quarantine", "replica/llama-1").status_code == 409


def test_a_standby_is_healthy_and_not_ready_and_says_who_leads(client: TestClient, given: Given) -> None:
    given.healthy, given.lead = False, "stands by; the controller on alpha leads"

    assert client.get("/healthz").status_code == 200
    answer = client.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "stands by; the controller on alpha leads\n")


def test_receipts_and_last_words(client: TestClient, given: Given) -> None:
    term = given.store.take_term()
    drained = Reason(ReasonCode.DRAINED, "it did", {"in_flight": 2.0, "took_s": 3.4, "cut": 0.0})
    died = Reason(ReasonCode.CONTAINER_EXITED, "it exited", {"in_flight": 1.0})
    removals = tuple(
        RemoveReplica(POOL, ReplicaId(name), (reason,)) for name, reason in (("llama-1", drained), ("llama-2", died))
    )
    given.store.save(Plan(removals, GatewayPlan(), given.store.load(), ()), tick=4, term=term, at=START)
    given.store.keep_last_words(LastWords(START, POOL, ReplicaId("llama-2"), "ContainerExited", "no space\nleft"))

    told = client.get("/api/v1/receipts?pool=llama").json()
    assert [(row["replica"], row["reason"], row["in_flight"], row["took_s"], row["cut"]) for row in told] == [
        ("llama-2", "ContainerExited", 1, None, None),
        ("llama-1", "Drained", 2, 3.4, 0),
    ]
    (words,) = client.get("/api/v1/last-words").json()
    assert (words["replica"], words["text"]) == ("llama-2", "no space\nleft")


def test_what_a_cold_start_is_made_of_and_when_the_next_will_be_ready(client: TestClient, given: Given) -> None:
    starts = tuple(ColdStart(total_s=float(total), load_s=1.0) for total in (4, 6, 20))
    given.pool = PoolMemory(POOL, 3, 9, cold_starts=starts, history_since=START)
    given.tick()

    (pool,) = client.get("/api/v1/pools").json()
    assert (pool["cold_start_p50_s"], pool["cold_start_p95_s"]) == (6.0, 20.0)
    rows = {row["replica"]: row for row in client.get("/api/v1/replicas").json()}
    assert rows["llama-3"]["eta_s"] == 1.0, "five of the usual six seconds are over"
    assert rows["llama-1"]["eta_s"] is None


def _kept(given: Given, minutes: int, desired: int, *, decided: bool) -> None:
    """An evaluation of that minute in the store."""
    assert given.seen is not None
    newest = given.seen.plan.evaluations[POOL]
    at = START + timedelta(minutes=minutes)
    memory = replace(newest.view.memory, desired=3)
    kept = replace(newest, at=at, view=replace(newest.view, memory=memory), desired=desired)
    decisions = (ScalePool(POOL, 3, desired, kept.reasons),) if decided else ()
    made = replace(given.seen.plan, decisions=decisions)
    given.store.save(made, tick=minutes, term=given.store.take_term(), at=at, evaluations=[kept])


def test_how_the_size_came_about(client: TestClient, given: Given) -> None:
    given.tick()
    (told,) = client.get("/api/v1/pools/llama/decisions").json()

    assert (told["id"], told["current"], told["desired"], told["ready"], told["starting"]) == (None, 3, 3, 2, 1)
    in_flight = told["signals"][0]
    assert (in_flight["signal"], in_flight["known"], in_flight["load"], in_flight["wanted"]) == (
        "in_flight",
        "value",
        2,
        1,
    )
    assert [signal["known"] for signal in told["signals"][1:]] == ["unknown", "unknown"]
    assert [step["code"] for step in told["steps"]] == ["BelowTarget", "AtFloor"]
    assert told["flip"]["text"] == "with in flight and waiting at 14 instead of 2 it would have been 4"
    assert told["evidence"] is None


def test_evaluations_by_time_and_by_change(client: TestClient, given: Given) -> None:
    given.tick()
    for minutes, desired, decided in ((1, 5, True), (2, 3, False), (3, 4, True)):
        _kept(given, minutes, desired, decided=decided)
    path = "/api/v1/pools/llama/decisions"

    assert [row["desired"] for row in client.get(path).json()] == [4, 3, 5]
    assert [row["desired"] for row in client.get(f"{path}?changed=true").json()] == [4, 5]
    at = (START + timedelta(minutes=2, seconds=30)).isoformat().replace("+00:00", "Z")
    assert [row["desired"] for row in client.get(f"{path}?at={at}&limit=1").json()] == [3]
    (row,) = client.get(f"{path}?limit=1&evidence=true").json()
    assert load(json.dumps(row["evidence"])) == given.store.evaluations(pool=POOL, limit=1)[0].evaluation


@pytest.mark.parametrize(
    ("query", "code"),
    [("?at=yesterday", 422), ("?at=2026-01-05T12:00:00", 422), ("?limit=0", 422), ("?limit=201", 422)],
)
def test_what_is_no_time_or_limit_is_refused(client: TestClient, query: str, code: int) -> None:
    assert client.get(f"/api/v1/pools/llama/decisions{query}").status_code == code


def test_a_pool_that_is_not_there_is_404(client: TestClient) -> None:
    answer = client.get("/api/v1/pools/nope/decisions")

    assert (answer.status_code, answer.json()["detail"]) == (404, "there is no pool 'nope'; there is llama")
