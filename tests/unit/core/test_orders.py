"""What people want of nodes, replicas and pools, and when it is fulfilled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from controller.core import orders
from controller.core.decision import Decision, StartReplica
from controller.core.model import Node, NodeName, Order, OrderKind, PoolMemory, ReplicaId, ReplicaMemory
from controller.core.model import ReplicaState as S
from controller.core.reason import ReasonCode as R
from tests.fakes.clock import START
from tests.unit.core.build import POOL, memory, node, order
from tests.unit.core.play import Play, policy_of

K = OrderKind
OLD, LATER = START - timedelta(seconds=1), START + timedelta(seconds=1)


def there(*states: S, where: str = "ab", **known: object) -> list[ReplicaMemory]:
    """Replicas made at START, on these nodes in turn."""
    nodes = [NodeName(where[number % len(where)]) for number in range(len(states))]
    return [
        memory(f"llama-{number}", state, node=at, **known)
        for number, (state, at) in enumerate(zip(states, nodes, strict=True), 1)
    ]


A, B = node("a"), node("b")
THREE = (S.READY, S.READY, S.READY)
WISHES = [
    # orders, states, nodes, whose turn it is
    pytest.param([], THREE, (A, B), None, id="none"),
    pytest.param([order(K.RESTART, "replica/llama-2")], THREE, (A, B), 2, id="restart a replica"),
    pytest.param([order(K.DRAIN, "replica/llama-2")], THREE, (A, B), 2, id="drain a replica"),
    pytest.param([order(K.RESTART, "replica/llama-9")], THREE, (A, B), None, id="one that is not there"),
    pytest.param([order(K.RESTART, "replica/llama-1")], (S.STARTING,), (A,), 1, id="one that starts"),
    pytest.param([order(K.RESTART, "replica/llama-1")], (S.SUSPECT,), (A,), 1, id="one that is suspect"),
    pytest.param([order(K.RESTART, "replica/llama-1")], (S.UNREADY,), (A,), None, id="one that goes anyway"),
    pytest.param([order(K.RESTART, "replica/llama-1")], (S.QUARANTINED,), (A,), None, id="one that is kept"),
    pytest.param([order(K.QUARANTINE, "replica/llama-1")], THREE, (A, B), None, id="to keep is not to replace"),
    pytest.param([order(K.CORDON, "node/a")], THREE, (A, B), None, id="nor is to cordon"),
    pytest.param([order(K.RELEASE, "pool/llama")], THREE, (A, B), None, id="nor to release"),
    pytest.param([order(K.RESTART, "pool/llama", LATER)], THREE, (A, B), 1, id="restart a pool: the oldest first"),
    pytest.param([order(K.RESTART, "pool/llama", START)], THREE, (A, B), None, id="all are younger than the order"),
    pytest.param([order(K.RESTART, "pool/other", LATER)], THREE, (A, B), None, id="another pool"),
    pytest.param([order(K.DRAIN, "node/b")], THREE, (A, node("b", cordoned=True)), 2, id="drain a node"),
    pytest.param([order(K.DRAIN, "node/a")], THREE, (node("a", cordoned=True),), None, id="there is no other node"),
    pytest.param(
        [order(K.DRAIN, "node/a")],
        THREE,
        (node("a", cordoned=True), node("b", 3)),
        None,
        id="the other one gives no answer",
    ),
    pytest.param(
        [order(K.RESTART, "replica/llama-3"), order(K.RESTART, "replica/llama-1")],
        THREE,
        (A, B),
        3,
        id="the first order first",
    ),
    pytest.param(
        [order(K.RESTART, "replica/llama-9"), order(K.RESTART, "replica/llama-1")],
        THREE,
        (A, B),
        1,
        id="the next where the first has nothing to do",
    ),
]


@pytest.mark.parametrize(("given", "states", "nodes", "want"), WISHES)
def test_wish(given: Sequence[Order], states: Sequence[S], nodes: Sequence[Node], want: int | None) -> None:
    found = orders.wish(given, there(*states), nodes)

    assert (found[0].replica if found else None) == (f"llama-{want}" if want else None)
    assert found is None or found[1].code is R.ORDERED


def test_one_that_is_being_replaced_is_not_asked_for_again() -> None:
    given = [order(K.RESTART, "pool/llama", LATER)]

    assert orders.wish(given, there(*THREE, retiring_since=START), (A,)) is None


def test_the_sentence_of_an_order() -> None:
    found = orders.wish([order(K.DRAIN, "replica/llama-1", why="a new disk")], there(S.READY), (A,))
    plain = orders.wish([order(K.RESTART, "pool/llama", LATER)], there(S.READY), (A,))

    assert found is not None
    assert plain is not None
    assert found[1].text == "drain of replica/llama-1 was ordered: a new disk"
    assert plain[1].text == "restart of pool/llama was ordered"


DONE = [
    pytest.param(order(K.CORDON, "node/a"), [], False, id="a cordon stands"),
    pytest.param(order(K.DRAIN, "node/a"), [], False, id="so does a node's drain"),
    pytest.param(order(K.RELEASE, "pool/llama"), [S.READY], True, id="a release is done at once"),
    pytest.param(order(K.RESTART, "replica/llama-1"), [S.READY], False, id="it still serves"),
    pytest.param(order(K.RESTART, "replica/llama-1"), [S.STARTING], False, id="it still starts"),
    pytest.param(order(K.RESTART, "replica/llama-1"), [S.DRAINING], True, id="it drains"),
    pytest.param(order(K.DRAIN, "replica/llama-1"), [S.UNREADY], True, id="it has failed"),
    pytest.param(order(K.RESTART, "replica/llama-1"), [], True, id="it is gone"),
    pytest.param(order(K.QUARANTINE, "replica/llama-1"), [S.QUARANTINED], False, id="it is kept"),
    pytest.param(order(K.QUARANTINE, "replica/llama-1"), [S.STOPPED], False, id="it stopped before, and is not gone"),
    pytest.param(order(K.QUARANTINE, "replica/llama-1"), [], True, id="nothing is left to keep"),
    pytest.param(order(K.RESTART, "pool/llama", LATER), [S.DRAINING, S.READY], False, id="one is left"),
    pytest.param(order(K.RESTART, "pool/llama", LATER), [S.DRAINING, S.UNREADY], True, id="none is left"),
    pytest.param(order(K.RESTART, "pool/llama", OLD), [S.READY], True, id="all are younger"),
    pytest.param(order(K.RESTART, "pool/gone", LATER), [S.READY], True, id="there is no such pool"),
]


@pytest.mark.parametrize(("given", "states", "want"), DONE)
def test_fulfilled(given: Order, states: Sequence[S], want: bool) -> None:
    memories = {known.replica: known for known in there(*states)}

    assert orders.fulfilled([given], memories, [POOL]) == ((given,) if want else ())


def test_what_is_kept_and_why() -> None:
    given = [
        order(K.QUARANTINE, "replica/llama-1", why="to look at"),
        order(K.QUARANTINE, "replica/llama-2"),
        order(K.DRAIN, "replica/llama-3"),
    ]

    assert orders.kept(given) == {ReplicaId("llama-1"): "to look at", ReplicaId("llama-2"): "it was ordered"}


@pytest.mark.parametrize(
    ("given", "want"),
    [
        (order(K.CORDON, "node/a"), True),
        (order(K.DRAIN, "node/a"), True),
        (order(K.CORDON, "node/b"), False),
        (order(K.DRAIN, "replica/a"), False),
    ],
)
def test_cordoned(given: Order, want: bool) -> None:
    assert orders.cordoned(A, [given]) is want


def test_a_release_forgets_what_keeps_a_pool_from_healing_and_nothing_else() -> None:
    known = PoolMemory(
        POOL,
        3,
        9,
        start_failures=5,
        last_start_failure_at=START,
        cold_start_s=4.0,
        remediations=(START,),
        fuse_since=START,
        quarantined_since=START,
        good_spec="v1",
        refused_spec="v2",
        why_refused="its errors",
    )

    assert orders.release(known, [order(K.RELEASE, "pool/llama")]) == PoolMemory(
        POOL, 3, 9, cold_start_s=4.0, good_spec="v1"
    )
    for other in (order(K.RELEASE, "pool/other"), order(K.RESTART, "pool/llama")):
        assert orders.release(known, [other]) is known


# --- over time


def test_a_replica_is_restarted_new_first() -> None:
    play = Play(policy_of(3)).serving()
    play.give(K.RESTART, "replica/llama-2", "it is odd")

    told = play.run(30, at_least=3)

    assert told == ["retire 2, +4", "drain 2", "term 2", "-2"]
    assert play.orders == []
    assert play.up == ["llama-1", "llama-3", "llama-4"]


def test_a_pool_is_restarted_one_by_one_and_each_once() -> None:
    play = Play(policy_of(3)).serving()
    play.give(K.RESTART, "pool/llama")

    told = play.run(120, at_least=3)

    assert [step for line in told for step in line.split(", ") if step[0] == "r"] == [
        "retire 1",
        "retire 2",
        "retire 3",
    ]
    assert play.up == ["llama-4", "llama-5", "llama-6"]
    assert play.orders == []


def test_a_node_is_drained_and_stays_empty() -> None:
    play = Play(policy_of(4), nodes=("a", "b")).serving()
    play.give(K.DRAIN, "node/a")
    play.cordoned = {"a"}  # the observer does that, for as long as the order stands

    play.run(120, at_least=4)

    assert {known.node for known in play.containers.values()} == {"b"}
    assert len(play.orders) == 1
    assert play.run(60) == []


def test_the_only_node_is_not_drained() -> None:
    play = Play(policy_of(2), nodes=("a",)).serving()
    play.give(K.DRAIN, "node/a")
    play.cordoned = {"a"}

    assert play.run(60, at_least=2) == []


def test_a_replica_is_kept_for_as_long_as_it_is_wanted() -> None:
    play = Play(policy_of(3)).serving()
    play.give(K.QUARANTINE, "replica/llama-1", "to look at")

    assert play.run(10) == ["+4"]
    assert play.up == ["llama-2", "llama-3", "llama-4"]
    assert play.states()["llama-1"] is S.QUARANTINED
    play.kill("llama-1")
    assert play.run(600) == []
    assert "llama-1" in play.containers
    play.orders.clear()
    assert play.run(10) == ["-1"]


def test_one_that_is_released_and_still_serves_is_one_too_many() -> None:
    play = Play(policy_of(3)).serving()
    play.give(K.QUARANTINE, "replica/llama-1")
    play.run(60)
    play.orders.clear()

    assert play.run(60, at_least=3) == ["drain 4", "term 4", "-4"]
    assert play.up == ["llama-1", "llama-2", "llama-3"]


def test_an_order_waits_until_the_pool_is_whole() -> None:
    play = Play(policy_of(3)).serving()
    play.kill("llama-3")
    play.give(K.RESTART, "replica/llama-1")

    told = play.run(30, at_least=2)

    assert told[:2] == ["+4", "-3"]
    assert told[2:] == ["retire 1, +5", "drain 1", "term 1", "-1"]


def test_an_order_comes_before_a_rollout() -> None:
    play = Play(policy_of(3, spec="v1")).serving()
    play.give(K.RESTART, "replica/llama-3")
    play.policy = policy_of(3, spec="v2")

    assert play.tick() == ["retire 3", "+4"]
    assert play.reasons("retire") == [R.ORDERED]


class Behind(Play):
    """Its node's clock is two minutes behind ours, by which its containers are made."""

    def _do(self, decision: Decision) -> None:
        super()._do(decision)
        if isinstance(decision, StartReplica):
            made = self.containers[decision.replica]
            early = made.created_at - timedelta(minutes=2)
            self.containers[decision.replica] = replace(made, created_at=early)


def test_a_pool_on_a_node_whose_clock_is_behind_is_restarted_once() -> None:
    play = Behind(policy_of(3)).serving()
    play.give(K.RESTART, "pool/llama")

    told = play.run(300, at_least=3)

    assert sum(line.count("+") for line in told) == 3
    assert (play.up, play.orders) == (["llama-4", "llama-5", "llama-6"], [])
