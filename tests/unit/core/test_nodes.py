"""Timelines of several nodes: one is lost, comes back, is cordoned."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.core.model import NodeName, OrderKind
from controller.core.model import ReplicaState as S
from controller.core.policy import HealthPolicy, MemoryPolicy
from controller.core.reason import ReasonCode as R
from tests.unit.core.play import Play, policy_of

HEALTH = HealthPolicy(node_grace=timedelta(seconds=15))


def fleet(count: int = 4, nodes: str = "ab", spec: str = "") -> Play:
    return Play(policy_of(count, health=HEALTH, spec=spec), nodes=tuple(nodes)).serving()


def on(play: Play, name: str) -> list[str]:
    """What stands on a node."""
    return [known.replica for known in play.containers.values() if known.node == name]


def test_replicas_are_spread() -> None:
    play = fleet(5, "abc")

    assert [len(on(play, name)) for name in "abc"] == [2, 2, 1]


def test_a_silence_shorter_than_the_grace_moves_nothing() -> None:
    play = fleet()
    play.hush("a")

    assert play.run(14, at_least=4) == []
    play.wake("a")
    assert play.run(30, at_least=4) == []


def test_a_longer_one_and_its_replicas_are_replaced_elsewhere() -> None:
    """Its engine gives no answer; what runs on it does, so it stays in nginx."""
    play = fleet()
    play.hush("a")

    assert play.run(15, at_least=4) == ["+5@b, +6@b"]
    assert play.run(300, at_least=4) == []
    assert play.up == [f"llama-{number}" for number in range(1, 7)]


def test_it_comes_back_and_the_youngest_go_one_at_a_time() -> None:
    play = fleet()
    play.hush("a")
    play.run(60)
    play.wake("a")

    told = play.run(60, at_least=4)

    assert told == ["drain 5", "term 5", "drain 6, -5", "term 6", "-6"]
    assert play.up == ["llama-1", "llama-2", "llama-3", "llama-4"]


def test_a_machine_that_is_gone_is_replaced_as_soon_as_its_replicas_fail_their_probes() -> None:
    play = fleet()
    play.hush("a")
    play.dead.add("a")

    assert play.run(10, at_least=2) == ["+5@b, +6@b"]
    assert play.up == ["llama-2", "llama-4", "llama-5", "llama-6"]
    assert [play.states()[name] for name in ("llama-1", "llama-3")] == [S.UNREADY, S.UNREADY]
    assert play.run(300) == [], "nothing is done about what cannot be reached"


def test_it_comes_back_with_replicas_that_serve_again() -> None:
    play = fleet()
    play.hush("a")
    play.dead.add("a")
    play.run(60)
    play.wake("a")

    assert play.run(60, at_least=4) == ["drain 5", "term 5", "drain 6, -5", "term 6", "-6"]
    assert play.up == ["llama-1", "llama-2", "llama-3", "llama-4"]


def test_it_comes_back_with_replicas_that_stopped() -> None:
    play = fleet()
    play.hush("a")
    play.dead.add("a")
    play.run(60)
    play.wake("a")
    for name in ("llama-1", "llama-3"):
        play.kill(name)

    assert play.run(60, at_least=4) == ["-1, -3"]
    assert play.up == ["llama-2", "llama-4", "llama-5", "llama-6"]


def test_one_that_drains_on_a_lost_node_stops_nobody_else() -> None:
    play = fleet(4, "abc")
    play.policy = policy_of(3, health=HEALTH)
    assert play.tick() == ["drain 4"]
    play.hush("a")
    play.dead.add("a")
    play.run(60)
    assert play.states()["llama-4"] is S.DRAINING
    play.policy = policy_of(2, health=HEALTH)

    told = play.until(lambda: len(play.up) == 2)

    assert "term" in "".join([*told, *play.run(5)])
    assert play.states()["llama-4"] is S.DRAINING, "it goes once its node is back"
    play.wake("a")
    assert "term 4" in ", ".join(play.run(5))


def test_what_is_too_many_on_a_silent_node_stays_and_another_one_goes() -> None:
    play = fleet(4, "ab")
    play.hush("b")
    play.tick()
    play.policy = policy_of(3, health=HEALTH)

    assert play.run(3) == ["drain 1", "term 1", "-1"]


def test_nothing_starts_on_a_silent_node_even_within_its_grace() -> None:
    play = fleet()
    play.hush("a")
    play.kill("llama-2")

    assert play.run(5) == ["+5@b", "-2"]


def test_nowhere_to_go_with_a_single_node() -> None:
    """Its engine gives no answer: nothing is started or stopped, but nginx loses what hangs."""
    play = Play(policy_of(3, health=HEALTH)).serving()
    play.hush("local")
    play.hung = {"llama-1"}

    assert play.run(60, at_least=2) == []
    assert play.up == ["llama-2", "llama-3"]
    assert R.RUNTIME_SILENT in play.standing()
    play.wake("local")
    assert play.run(10)[0] == "+4"


def test_all_nodes_silent_is_the_same() -> None:
    play = fleet()
    play.hush("a", "b")

    assert play.run(60, at_least=4) == []
    assert R.RUNTIME_SILENT in play.standing()


def test_where_the_others_are_cordoned_nothing_counts_as_lost() -> None:
    play = fleet()
    play.cordoned = {"b"}
    play.hush("a")

    assert play.run(60, at_least=4) == []
    play.kill("llama-2")
    assert play.run(60, at_least=3) == ["-2"]
    assert play.said(R.NO_NODE).startswith("no node can take a replica: the engine of a gives no answer; b is cordoned")


def test_a_cordoned_node_keeps_what_it_has_and_gets_nothing_new() -> None:
    play = fleet()
    play.cordoned = {"a"}
    assert play.run(30) == []

    play.kill("llama-1")

    assert play.run(30) == ["+5@b", "-1"]


@pytest.mark.parametrize(("newest", "gone"), [("b", "b"), ("a", "a")])
def test_of_two_with_one_name_the_younger_goes(newest: str, gone: str) -> None:
    """The database was lost while a node was silent, so that a name was given a second time."""
    play = fleet(3)
    twin = replace(play.containers["llama-1"], node=NodeName(newest), created_at=play.now)
    play.duplicates = [twin]

    decided = play.tick()

    assert decided == ["-1"]
    assert play.reasons("-") == [R.DUPLICATE]
    assert play.made.decisions[0].node == gone  # type: ignore[union-attr]
    assert play.states()["llama-1"] is S.READY
    assert play.tick() == []


def test_a_duplicate_on_a_silent_node_has_to_wait() -> None:
    play = fleet(3)
    play.duplicates = [replace(play.containers["llama-1"], node=NodeName("b"), created_at=play.now)]
    play.hush("b")

    assert play.tick() == []
    play.wake("b")
    assert play.tick() == ["-1"]


def test_a_rollout_goes_on_past_a_node_that_is_lost() -> None:
    play = fleet(4, "abc", spec="v1")
    play.hush("a")
    play.run(60)
    play.policy = replace(play.policy, spec_hash="v2")

    play.run(200, at_least=4)

    here = [name for name in play.up if play.containers[name].node != "a"]
    assert {play.containers[name].spec_hash for name in here} == {"v2"}
    assert play.pool.good_spec == "v2"
    play.wake("a")
    play.run(200, at_least=4)
    assert play.specs() == ["v2"] * 4


def test_an_order_for_a_replica_on_a_silent_node_waits() -> None:
    play = fleet()
    play.hush("a")
    play.give(OrderKind.RESTART, "replica/llama-1")

    assert play.run(14, at_least=4) == []
    assert len(play.orders) == 1
    play.wake("a")
    assert play.run(10, at_least=4)[:2] == ["retire 1, +5@a", "drain 1"]
    assert play.orders == []


def test_the_others_are_restarted_while_the_oldest_is_out_of_reach() -> None:
    play = fleet()
    play.give(OrderKind.RESTART, "pool/llama")
    play.hush("a")

    assert play.run(5, at_least=4)[0] == "retire 2, +5@b"


def test_one_whose_memory_is_full_on_a_silent_node_waits() -> None:
    policy = policy_of(4, health=HEALTH)
    policy = replace(policy, scaling=replace(policy.scaling, memory=MemoryPolicy(duration=timedelta(seconds=5))))
    play = Play(policy, nodes=("a", "b")).serving()
    play.hush("a")
    play.full = {"llama-1"}

    assert play.run(14, at_least=4) == []
    assert play.pool.last_recycle_at is None
    play.wake("a")
    assert play.run(10, at_least=4)[0] == "retire 1, +5@a"


def test_one_that_drains_on_a_lost_node_holds_up_no_order() -> None:
    play = fleet(4, "abc")
    play.policy = policy_of(3, health=HEALTH)
    assert play.tick() == ["drain 4"]
    play.hush("a")
    play.dead.add("a")
    play.run(60)
    assert play.states()["llama-4"] is S.DRAINING
    play.give(OrderKind.RESTART, "replica/llama-2")

    assert play.run(10, at_least=3)[0].startswith("retire 2")


def test_the_budget_waits_for_the_probes_of_a_node_that_has_come_back() -> None:
    play = fleet()
    play.hush("a")
    play.dead.add("a")
    play.run(60)
    play.wake("a")
    play.dead.add("a")
    play.run(3)
    assert play.pool.remediations == ()
    play.dead.clear()
    play.run(10)
    assert play.pool.remediations == ()
