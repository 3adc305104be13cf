"""GPUs over the API: what is told of each, and what may be ordered of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from controller.api.app import create_app
from controller.api.deps import Seen, Sources
from controller.api.kept_history import KeptHistory
from controller.core.decision import Plan, StartReplica
from controller.core.model import (
    Cordon,
    GatewayPlan,
    GpuMemory,
    NodeName,
    Order,
    OrderKind,
    ReplicaId,
    ReplicaState,
    Snapshot,
)
from controller.core.planner import plan
from controller.core.policy import PoolPolicy, ScalingPolicy
from controller.core.reason import Reason, ReasonCode
from tests.fakes.clock import START
from tests.fakes.history import FakeHistory
from tests.fakes.store import FakeStore
from tests.unit.api.callers import as_admin
from tests.unit.core.build import POOL, gpu, probe, replica, report

GIB = 1024**3
LOCAL = NodeName("local")
POLICIES = (PoolPolicy(POOL, "llama", ScalingPolicy(gpu_memory_bytes=18 * GIB)),)
FAULT = Cordon(START, "GpuFault", "XID 48: its memory had an error that could not be corrected", "reset it")


class Given:
    """What the sources say."""

    def __init__(self) -> None:
        self.seen: Seen | None = None
        self.store = FakeStore()
        self.history = FakeHistory()

    def tick(self, *gpus: GpuMemory) -> None:
        """Two GPUs are told of, and these are remembered."""
        one = replica("llama-1", ReplicaState.READY, probe(True), box={"gpu": "GPU-1"})
        told = {f"GPU-{number}": report(number) for number in (0, 1)}
        told["GPU-1"] = replace(told["GPU-1"], model="NVIDIA H200", used_bytes=30.0 * GIB, total_bytes=40.0 * GIB)
        snapshot = Snapshot(
            START,
            9,
            (one,),
            {},
            {},
            gpus=(gpu(0, 40), gpu(1, 10)),
            orders=self.store.orders(),
            reports=told,
            gpu_memory={item.uuid: item for item in gpus},
        )
        made = plan(snapshot, POLICIES)
        self.seen = Seen(snapshot, made, made.gateway.replicas())


@pytest.fixture
def given() -> Given:
    return Given()


@pytest.fixture
def client(given: Given) -> Iterator[TestClient]:
    sources = Sources(
        policies=POLICIES,
        nodes=(LOCAL,),
        store=given.store,
        latest=lambda: given.seen,
        healthy=lambda: True,
        metrics=lambda: b"",
        now=lambda: START,
        token="secret",
        history=KeptHistory(given.history, lambda: START),
    )
    with TestClient(create_app(sources)) as made:
        yield as_admin(made)


def ask(client: TestClient, kind: str, uuid: str) -> Response:
    wanted = {"kind": kind, "subject": f"gpu/{uuid}", "why": "a test"}
    return client.post("/api/v1/orders", json=wanted, headers={"Authorization": "Bearer secret"})


def test_what_is_told_of_each(client: TestClient, given: Given) -> None:
    assert client.get("/api/v1/gpus").json() == []
    given.store.give_order(Order(OrderKind.CORDON, "gpu/GPU-0", START, "new paste"))
    given.tick(GpuMemory("GPU-1", LOCAL, FAULT), GpuMemory("GPU-7", NodeName("elsewhere")))

    away, first, second = client.get("/api/v1/gpus").json()
    assert away == {
        "uuid": "GPU-7",
        "node": "elsewhere",
        "index": None,
        "model": None,
        "memory_used_bytes": None,
        "memory_total_bytes": None,
        "memory_free_bytes": None,
        "memory_promised_bytes": 0,
        "temperature_c": None,
        "power_w": None,
        "power_limit_w": None,
        "utilization": None,
        "xids": [],
        "replicas": [],
        "cordon": None,
    }
    assert (first["uuid"], first["memory_free_bytes"], first["cordon"]["reason"]) == ("GPU-0", 40 * GIB, "Ordered")
    assert first["cordon"]["why"] == "new paste"
    assert (second["model"], second["memory_used_bytes"], second["memory_total_bytes"], second["replicas"]) == (
        "NVIDIA H200",
        30 * GIB,
        40 * GIB,
        ["llama-1"],
    )
    assert second["cordon"] == {
        "at": "2026-01-05T12:00:00Z",
        "reason": "GpuFault",
        "why": "XID 48: its memory had an error that could not be corrected",
        "advice": "reset it",
    }
    assert client.get("/api/v1/replicas").json()[0]["gpu"] == "GPU-1"


def test_what_its_exporter_measured_and_its_errors(client: TestClient, given: Given) -> None:
    given.tick(GpuMemory("GPU-7", NodeName("silent"), xids=((94, 2),)))  # as it was told of last
    given.history.says = {
        "DCGM_FI_DEV_GPU_TEMP": {
            (("UUID", "GPU-0"), ("gpu", "3"), ("column", "temperature_c")): lambda at: 61.0,
            (("UUID", "GPU-0"), ("gpu", "3"), ("column", "utilization")): lambda at: 0.25,
        }
    }
    told = {gpu["uuid"]: gpu for gpu in client.get("/api/v1/gpus").json()}

    assert (told["GPU-0"]["index"], told["GPU-0"]["temperature_c"], told["GPU-0"]["utilization"]) == (3, 61.0, 0.25)
    assert (told["GPU-0"]["power_w"], told["GPU-1"]["index"], told["GPU-1"]["temperature_c"]) == (None, None, None)
    assert told["GPU-7"]["xids"] == [
        {
            "code": 94,
            "count": 2,
            "meaning": "an uncorrectable error of its memory was contained: only the program that met it ended",
            "verdict": "watch",
            "advice": "watch it; `dmesg` on its node has the whole line",
        }
    ]


def test_gpus_are_told_of_while_prometheus_is_away(client: TestClient, given: Given) -> None:
    given.tick()
    given.history.gone = True
    assert [gpu["temperature_c"] for gpu in client.get("/api/v1/gpus").json()] == [None, None]


def test_a_start_in_the_ledger_names_its_gpu(client: TestClient, given: Given) -> None:
    why = (Reason(ReasonCode.BELOW_DESIRED, "0 of 1 start or serve"),)
    wanted = Plan(
        (StartReplica(POOL, ReplicaId("llama-2"), why, LOCAL, "abc", "GPU-1"),), GatewayPlan(), given.store.load(), ()
    )
    given.store.save(wanted, tick=4, term=given.store.take_term(), at=START)

    assert client.get("/api/v1/decisions").json()[0]["gpu"] == "GPU-1"


def test_a_fault_is_released_by_an_order_that_the_next_tick_fulfils(client: TestClient, given: Given) -> None:
    given.tick(GpuMemory("GPU-1", LOCAL, FAULT))
    assert ask(client, "cordon", "GPU-1").status_code == 202
    assert ask(client, "release", "GPU-1").status_code == 202

    assert [(order.kind, order.subject) for order in given.store.orders()] == [(OrderKind.RELEASE, "gpu/GPU-1")]
    given.tick(GpuMemory("GPU-1", LOCAL, FAULT))
    assert given.seen is not None
    assert given.seen.plan.memory.gpus["GPU-1"].cordon is None
    assert [order.kind for order in given.seen.plan.fulfilled] == [OrderKind.RELEASE]


def test_what_was_only_ordered_is_withdrawn(client: TestClient, given: Given) -> None:
    given.tick()
    assert ask(client, "drain", "GPU-0").status_code == 202
    assert ask(client, "release", "GPU-0").status_code == 202
    assert given.store.orders() == ()


@pytest.mark.parametrize(
    ("kind", "uuid", "status", "said"),
    [
        ("cordon", "GPU-9", 404, "there is no gpu/GPU-9; there is GPU-0, GPU-1"),
        ("restart", "GPU-1", 422, "restart is no order for gpu/GPU-1; it is one for replica/NAME or pool/NAME"),
        ("release", "GPU-1", 409, "nothing is ordered of gpu/GPU-1, so there is nothing to release it from"),
    ],
)
def test_what_cannot_be_ordered_of_one(
    client: TestClient, given: Given, kind: str, uuid: str, status: int, said: str
) -> None:
    given.tick()
    answer = ask(client, kind, uuid)

    assert (answer.status_code, answer.json()["detail"]) == (status, said)
    assert given.store.orders() == ()
