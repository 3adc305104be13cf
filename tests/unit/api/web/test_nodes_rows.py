"""Nodes and GPUs as their pages show them: how bad it is, and the word for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.api.deps import Seen
from controller.api.gpus import Gauges
from controller.api.web.nodes_rows import GpuCell, NodeCard, OnIt, cards_of, refused_of, states_of, totals_of
from controller.core.model import (
    Cordon,
    Gpu,
    GpuMemory,
    Node,
    NodeName,
    Order,
    OrderKind,
    PoolMemory,
    PoolName,
    ReplicaId,
    ReplicaState,
    Snapshot,
)
from controller.core.planner import plan
from controller.core.policy import PoolPolicy, ScalingPolicy
from tests.fakes.clock import START
from tests.unit.core.build import POOL, gpu, probe, replica, report

GIB = 1024**3
A = NodeName("a")
POLICIES = (PoolPolicy(POOL, "llama", ScalingPolicy(gpu_memory_bytes=18 * GIB)),)
NOTHING = Gauges({})


def seen(
    *orders: Order, node: Node | None = None, gpus: tuple[Gpu, ...] = (), cordons: tuple[GpuMemory, ...] = (),
    policies: tuple[PoolPolicy, ...] = POLICIES,
) -> Seen:  # fmt: skip
    """One replica on GPU-0 of node a."""
    one = replica("llama-1", ReplicaState.READY, probe(True), box={"gpu": "GPU-0", "node": A})
    told = {item.uuid: replace(report(int(item.uuid[4:]), node=item.node), used_bytes=10.0 * GIB) for item in gpus}
    pools = {policy.pool: PoolMemory(policy.pool, 9, 9) for policy in policies}
    snapshot = Snapshot(
        START, 9, (one,), pools, {}, gpus=gpus, nodes=(node or Node(A),), orders=orders, reports=told,
        gpu_memory={item.uuid: item for item in cordons},
    )  # fmt: skip
    made = plan(snapshot, policies)
    return Seen(snapshot, made, made.gateway.replicas(), policies)


def card_of(known: Seen, gauges: Gauges = NOTHING) -> NodeCard:
    (card,) = cards_of(known, [A], gauges)
    return card


def cell_of(known: Seen) -> GpuCell:
    return card_of(known).gpus[0]


def order(kind: OrderKind, subject: str) -> Order:
    return Order(kind, subject, START, "a test")


@pytest.mark.parametrize(
    ("node", "orders", "told"),
    [
        (Node(A), (), ("calm", "answers")),
        (Node(A, silent_since=START), (), ("act", "silent")),
        (Node(A, cordoned=True), (order(OrderKind.CORDON, "node/a"),), ("paused", "cordoned")),
        (Node(A, cordoned=True), (order(OrderKind.DRAIN, "node/a"),), ("busy", "draining")),
        (Node(A, START, cordoned=True), (order(OrderKind.DRAIN, "node/a"),), ("act", "silent")),
    ],
)
def test_a_node(node: Node, orders: tuple[Order, ...], told: tuple[str, str]) -> None:
    card = card_of(seen(*orders, node=node))
    assert (card.level, card.word) == told


def test_a_node_that_nobody_has_looked_at() -> None:
    (card,) = cards_of(None, [A], NOTHING)
    assert (card.level, card.word, card.gpus, card.replicas) == ("unknown", "not_seen", (), ())


@pytest.mark.parametrize(
    ("cordon", "orders", "told"),
    [
        (None, (), ("calm", "")),
        (Cordon(START, "GpuLost", "gone"), (), ("act", "gpu_lost")),
        (Cordon(START, "GpuFault", "XID 48"), (), ("act", "gpu_fault")),
        (Cordon(START, "GpuHot", "hot"), (), ("busy", "gpu_hot")),
        (None, (order(OrderKind.CORDON, "gpu/GPU-0"),), ("paused", "gpu_cordoned")),
        (None, (order(OrderKind.DRAIN, "gpu/GPU-0"),), ("paused", "gpu_draining")),
    ],
)
def test_a_gpu(cordon: Cordon | None, orders: tuple[Order, ...], told: tuple[str, str]) -> None:
    others = tuple(gpu(number, 40, node="a") for number in (1, 2))  # most GPUs are well
    known = (GpuMemory("GPU-0", A, cordon),) if cordon else ()
    cell = cell_of(seen(*orders, gpus=(gpu(0, 30, node="a"), *others), cordons=known))
    assert (cell.level, cell.word) == told


def test_a_gpu_that_tells_nothing_is_no_empty_one() -> None:
    part = cell_of(seen(gpus=(gpu(0, None, node="a"),)))
    assert (part.level, part.used) == ("calm", None)  # a share of nobody knows what
    away = cell_of(seen(cordons=(GpuMemory("GPU-0", A, None),)))
    assert (away.level, away.word, away.used) == ("unknown", "gpu_untold", None)


def test_memory_that_is_promised_stands_beside_what_is_used() -> None:
    known = seen(gpus=(gpu(0, 30, node="a"),))
    assert (cell_of(known).used, cell_of(known).total, cell_of(known).promised) == (0.25, 40 * GIB, 0.45)


def test_gpus_are_called_by_their_index_where_it_is_known() -> None:
    known = seen(gpus=(gpu(0, 30, node="a"), gpu(1, 30, node="a")))
    card = card_of(known, Gauges({"GPU-0": {"gpu": 5.0}, "GPU-1": {"gpu": 2.0}}))
    assert [cell.name for cell in card.gpus] == ["GPU 2", "GPU 5"]
    assert [cell.name for cell in card_of(known).gpus] == ["GPU-0", "GPU-1"]


def test_a_replica_is_where_it_was_put() -> None:
    card = card_of(seen(order(OrderKind.RESTART, "replica/llama-1"), gpus=(gpu(0, 30, node="a"),)))
    (one,) = card.gpus[0].replicas
    assert (one.name, one.stem, one.tail, one.level, one.order) == ("llama-1", "llama", "-1", "calm", "restart")
    assert (card.others, [known.name for known in card.replicas]) == ((), ["llama-1"])
    assert "llama-1" in card.words
    assert [known.name for known in card_of(seen()).others] == ["llama-1"]  # nobody tells of its GPU


@pytest.mark.parametrize(
    ("name", "stem", "tail"),
    [
        ("mistral-small-chat-4", "mistral-small", "-chat-4"),
        ("mistral-small-code-4", "mistral-small", "-code-4"),
        ("llama-3-3-70b-internationalization-12", "llama-3-3-70b-internation", "alization-12"),
        ("llama-1", "llama", "-1"),
        ("alone", "alone", ""),
    ],
)
def test_of_a_name_what_tells_it_from_others_is_never_cut(name: str, stem: str, tail: str) -> None:
    memory = replica("llama-1", ReplicaState.READY).memory
    assert memory is not None
    one = OnIt(replace(memory, replica=ReplicaId(name)), "calm")
    assert (one.stem, one.tail) == (stem, tail)


def test_a_gpu_that_takes_nothing_has_one_word_everywhere() -> None:
    known = seen(
        order(OrderKind.CORDON, "gpu/GPU-1"),
        gpus=tuple(gpu(number, 30, node="a") for number in range(3)),
        cordons=(GpuMemory("GPU-0", A, Cordon(START, "GpuLost", "gone")),),
    )
    assert states_of(known) == {"GPU-0": ("act", "gpu_lost"), "GPU-1": ("paused", "gpu_cordoned")}
    words = {cell.gpu.uuid: (cell.level, cell.word) for cell in card_of(known).gpus if cell.word}
    assert states_of(known) == words


def test_totals_and_who_needs_somebody() -> None:
    known = seen(
        gpus=tuple(gpu(number, 30, node="a") for number in range(4)),
        cordons=(GpuMemory("GPU-0", A, Cordon(START, "GpuLost", "gone")),),
    )
    totals = totals_of(cards_of(known, [A], NOTHING))
    assert (totals.nodes, totals.silent, totals.gpus, totals.taking, totals.untold, totals.used) == (
        1,
        0,
        4,
        3,
        0,
        0.25,
    )
    assert [(card.node.node, cell and cell.name) for card, cell in totals.trouble] == [("a", "GPU-0")]
    away = totals_of(cards_of(seen(node=Node(A, START), gpus=(gpu(0, 30, node="a"),)), [A], NOTHING))
    assert (away.silent, away.taking, [cell for _, cell in away.trouble]) == (1, 0, [None])


def test_pools_that_lack_the_same_are_told_of_together() -> None:
    names = [PoolName(name) for name in ("llama", "qwen", "phi")]
    needs = dict(zip(names, (18, 18, 60), strict=True))
    policies = tuple(
        PoolPolicy(name, name, ScalingPolicy(floor=9, ceiling=9, gpu_memory_bytes=need * GIB))
        for name, need in needs.items()
    )
    known = seen(gpus=(gpu(0, 2, node="a"), gpu(1, 3, node="a")), policies=policies)
    told = [
        (item.pools, item.needed_bytes // GIB, [(lack.code, lack.count) for lack in item.lacks])
        for item in refused_of(known, policies)
    ]
    assert told == [(("llama", "qwen"), 18, [("memory", 2)]), (("phi",), 60, [("memory", 2)])]
    assert refused_of(None, policies) == []
