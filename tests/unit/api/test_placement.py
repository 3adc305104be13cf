"""Where a replica could start, over the API: each place, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from controller.api.app import create_app
from controller.api.deps import Seen, Sources
from controller.api.placement import placement_of
from controller.core.model import (
    Cordon,
    Gpu,
    GpuMemory,
    Node,
    NodeName,
    Order,
    OrderKind,
    PoolMemory,
    ReplicaState,
    Snapshot,
)
from controller.core.planner import plan
from controller.core.policy import PoolPolicy, ScalingPolicy
from tests.fakes.clock import START
from tests.fakes.store import FakeStore
from tests.unit.api.callers import as_admin
from tests.unit.core.build import POOL, gpu, probe, replica

GIB = 1024**3
A, B, C = (NodeName(name) for name in "abc")
NODES = (Node(A), Node(B, silent_since=START), Node(C, cordoned=True))


class Given:
    """What the last tick saw."""

    def __init__(self) -> None:
        self.needed = 18 * GIB
        self.seen: Seen | None = None

    def policies(self) -> tuple[PoolPolicy, ...]:
        return (PoolPolicy(POOL, "llama", ScalingPolicy(floor=2, gpu_memory_bytes=self.needed)),)

    def tick(self, *gpus: Gpu, nodes: tuple[Node, ...] = NODES, orders: tuple[Order, ...] = ()) -> None:
        """One replica starts on GPU-1 of node a."""
        starting = replica("llama-1", ReplicaState.STARTING, probe(False), box={"gpu": "GPU-1", "node": A})
        broken = GpuMemory("GPU-3", A, Cordon(START, "GpuFault", "XID 48"))
        known = {"GPU-3": broken} if any(gpu.uuid == "GPU-3" for gpu in gpus) else {}
        pools = {POOL: PoolMemory(POOL, 2, 9)}
        snapshot = Snapshot(START, 9, (starting,), pools, {}, gpus=gpus, nodes=nodes, orders=orders, gpu_memory=known)
        made = plan(snapshot, self.policies())
        self.seen = Seen(snapshot, made, made.gateway.replicas(), self.policies())


def on(number: int, free_gib: float | None, node: str = "a") -> Gpu:
    return gpu(number, free_gib, node=node)


@pytest.fixture
def given() -> Given:
    return Given()


@pytest.fixture
def client(given: Given) -> Iterator[TestClient]:
    sources = Sources(
        policies=given.policies(),
        nodes=(A, B, C),
        store=FakeStore(),
        latest=lambda: given.seen,
        healthy=lambda: True,
        metrics=lambda: b"",
        now=lambda: START,
        token="secret",
    )
    with TestClient(create_app(sources)) as made:
        yield as_admin(made)


def test_each_gpu_says_what_it_lacks(client: TestClient, given: Given) -> None:
    order = Order(OrderKind.CORDON, "gpu/GPU-2", START, "new paste")
    given.tick(on(0, 40), on(1, 30), on(2, 40), on(3, 40), on(4, None), on(5, 40, "b"), on(6, 40, "c"), orders=(order,))
    told = client.get("/api/v1/pools/llama/placement").json()

    assert (told["needed_bytes"], told["fits"]) == (18 * GIB, 2)
    assert [(place["gpu"], place["lacks"], place["fits"]) for place in told["places"]] == [
        ("GPU-0", "", 2),
        ("GPU-1", "memory", 0),
        ("GPU-2", "cordoned", 0),
        ("GPU-3", "cordoned", 0),
        ("GPU-4", "unknown", None),
        ("GPU-5", "node_silent", 0),
        ("GPU-6", "node_cordoned", 0),
    ]
    assert [place["text"] for place in told["places"][1:4]] == [
        "GPU-1 of a has 30 GiB free, of which 18 GiB are promised; 18 GiB are needed",
        "GPU-2 of a is cordoned: new paste",
        "GPU-3 of a is cordoned: XID 48",
    ]
    assert told["places"][1]["promised_bytes"] == 18 * GIB


def test_what_the_tick_said_stands_beside_it(client: TestClient, given: Given) -> None:
    given.tick(on(1, 20))
    told = client.get("/api/v1/pools/llama/placement").json()

    assert told["fits"] == 0
    assert [reason["code"] for reason in told["reasons"]] == ["NoGpuFits"]


def test_without_gpus_the_places_are_nodes(given: Given) -> None:
    given.needed = 0
    given.tick()
    told = placement_of(given.seen, given.policies()[0]).model_dump() if given.seen else {}

    assert (told["needed_bytes"], told["fits"], told["reasons"]) == (0, None, [])
    assert [(place["node"], place["gpu"], place["lacks"]) for place in told["places"]] == [
        ("a", None, ""),
        ("b", None, "node_silent"),
        ("c", None, "node_cordoned"),
    ]


def test_what_is_not_there(client: TestClient, given: Given) -> None:
    assert client.get("/api/v1/pools/llama/placement").status_code == 409
    given.tick()
    answer = client.get("/api/v1/pools/other/placement")
    assert (answer.status_code, answer.json()["detail"]) == (404, "there is no pool 'other'; there is llama")
