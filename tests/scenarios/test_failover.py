"""What fails, and how it is healed: whole ticks on fakes, with budget, fuse, panic, orders, nodes and changed specs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from controller.core.decision import RemoveReplica
from controller.core.model import NodeName, Order, OrderKind, ReplicaId, Signal
from controller.core.policy import HealthPolicy, PoolPolicy, RolloutPolicy
from tests.scenarios.world import POOL, SCALING, World

NAMES = ("llama-1", "llama-2", "llama-3")
POLICY = PoolPolicy(POOL, "llama", SCALING)


def world(*, nodes: tuple[str, ...] = ("local",), spec: str = "", **health: object) -> World:
    """At its floor."""
    policy = HealthPolicy(**health)  # type: ignore[arg-type]
    return World(policy=replace(POLICY, health=policy, spec_hash=spec), nodes=nodes).up()


def order(here: World, kind: OrderKind, subject: str) -> None:
    here.store.give_order(Order(kind, subject, here.clock.now(), "a test"))


def reasons(here: World, kind: type = RemoveReplica) -> list[str]:
    """The codes of such decisions, oldest first."""
    rows = reversed(here.store.decisions(limit=1000))
    return [row.decision.reasons[-1].code.value for row in rows if isinstance(row.decision, kind)]


def test_one_that_makes_no_token_is_dead_though_it_answers() -> None:
    here = world()
    here.runtime.wedge(ReplicaId("llama-2"))
    here.run(28)
    assert "llama-2" in here.routed(), "it may still be at a long prompt"

    here.run(15)
    assert here.routed() == here.running() == ["llama-1", "llama-3", "llama-4"]
    assert reasons(here) == ["Stalled"]


def test_two_of_three_that_hang_stay_in_nginx_until_a_successor_serves() -> None:
    here = world()
    for name in ("llama-1", "llama-2"):
        here.runtime.pause(ReplicaId(name))
    here.run(4)
    assert here.routed() == list(NAMES), "most look bad: nothing leaves"
    assert "gateway_held" in here.sink.names()
    assert len(here.runtime.started) == 4, "one successor shows whether a new one fares better"

    here.run(20)
    assert here.routed() == here.running() == ["llama-3", "llama-4", "llama-5"]
    assert "gateway_free" in here.sink.names()


def test_a_host_that_stalls_for_a_moment_costs_one_replica_too_many_and_no_route() -> None:
    here = world()
    for name in NAMES:
        here.runtime.pause(ReplicaId(name))
    here.run(5)
    assert here.routed() == list(NAMES)
    for name in NAMES:
        here.runtime.replicas[ReplicaId(name)].hung = False
    here.run(100)

    assert here.routed() == here.running() == list(NAMES), "the fourth was too many, and the youngest"
    assert reasons(here) == ["Drained"]


def test_the_only_replica_stays_until_another_serves() -> None:
    scaling = replace(SCALING, floor=1)
    here = World(policy=replace(POLICY, scaling=scaling))
    here.run(20)
    assert here.routed() == ["llama-1"]
    here.runtime.pause(ReplicaId("llama-1"))
    here.run(4.5)
    assert here.routed() == ["llama-1"]

    here.run(10)
    assert here.routed() == here.running() == ["llama-2"]


def test_the_fuse_stops_healing_and_closes_after_a_window() -> None:
    here = world(budget_actions=2, budget_window=timedelta(minutes=5))
    for number in (1, 2, 3):
        here.runtime.kill(ReplicaId(f"llama-{number}"))
        here.run(10)

    assert here.routed() == ["llama-4", "llama-5"], "the third is not replaced"
    assert here.running() == ["llama-3", "llama-4", "llama-5"], "and kept as it is"
    assert here.sink.names().count("fuse_blown") == 1
    here.run(240)
    assert here.routed() == ["llama-4", "llama-5"]

    here.run(70)
    assert here.routed() == here.running() == ["llama-4", "llama-5", "llama-6"]
    assert here.sink.names().count("fuse_closed") == 1


def test_a_released_pool_heals_at_once() -> None:
    here = world(budget_actions=1)
    for number in (1, 2):
        here.runtime.kill(ReplicaId(f"llama-{number}"))
        here.run(10)
    assert here.routed() == ["llama-3", "llama-4"]

    order(here, OrderKind.RELEASE, f"pool/{POOL}")
    here.run(10)
    assert here.routed() == ["llama-3", "llama-4", "llama-5"]
    assert here.store.orders() == ()


def test_a_crash_loop_is_quarantined_with_its_last_words_and_heals_by_itself() -> None:
    here = World(policy=replace(POLICY, spec_hash="bad"))
    here.runtime.broken.add("bad")
    here.run(60)
    for entry in here.runtime.replicas.values():
        entry.words = "cannot open the checkpoint"
    here.run(400)
    assert "pool_quarantined" in here.sink.names()
    before = len(here.runtime.started)
    here.run(295)
    assert len(here.runtime.started) - before <= 1, "one is tried every five minutes"

    here.runtime.broken.clear()
    here.run(330)
    assert len(here.routed()) == 3
    assert here.sink.names()[-20:].count("pool_released") == 1


def test_what_a_failed_replica_wrote_last_is_kept() -> None:
    here = world()
    here.runtime.replicas[ReplicaId("llama-2")].words = "CUDA error: an illegal memory access was encountered"
    here.runtime.kill(ReplicaId("llama-2"))
    here.run(10)

    (words,) = here.store.last_words(limit=10)
    assert (words.replica, words.reason) == ("llama-2", "ContainerExited")
    assert words.text == "CUDA error: an illegal memory access was encountered"


def test_a_drained_one_has_its_receipt() -> None:
    here = world()
    here.runtime.replicas[ReplicaId("llama-1")].in_flight = 2
    here.run(4)
    order(here, OrderKind.DRAIN, "replica/llama-1")
    here.run(20)
    assert here.routed() == ["llama-2", "llama-3", "llama-4"]
    assert "llama-1" in here.running(), "it has two requests"

    here.runtime.replicas[ReplicaId("llama-1")].in_flight = 0
    here.run(6)
    assert here.running() == ["llama-2", "llama-3", "llama-4"]
    (row,) = [row for row in here.store.decisions(limit=100) if isinstance(row.decision, RemoveReplica)]
    numbers = row.decision.reasons[-1].numbers
    assert (numbers["in_flight"], numbers["cut"]) == (2.0, 0.0)
    assert numbers["took_s"] > 10
    assert here.store.orders() == (), "the order is fulfilled"


def test_a_restarted_pool_is_replaced_one_at_a_time_and_never_smaller() -> None:
    here = world()
    order(here, OrderKind.RESTART, f"pool/{POOL}")
    for _ in range(60):
        here.run(2)
        assert len(here.routed()) >= 3

    assert here.routed() == here.running() == ["llama-4", "llama-5", "llama-6"]
    assert here.store.orders() == ()


def test_a_quarantined_one_is_kept_without_requests_until_it_is_released() -> None:
    here = world()
    order(here, OrderKind.QUARANTINE, "replica/llama-2")
    here.run(10)
    assert here.routed() == ["llama-1", "llama-3", "llama-4"]
    assert "llama-2" in here.running()
    here.runtime.pause(ReplicaId("llama-2"))
    here.run(60)
    assert "llama-2" in here.running()

    here.runtime.replicas[ReplicaId("llama-2")].hung = False
    here.store.drop_orders(here.store.orders())
    here.run(100)
    assert len(here.routed()) == len(here.running()) == 3, "it is one of four, and one of them goes"


def test_errors_that_stand_out_take_one_out_of_nginx_and_replace_it() -> None:
    here = world()
    here.metrics.replica[POOL, ReplicaId("llama-2"), Signal.ERRORS] = 0.6
    here.run(3)
    assert here.routed() == ["llama-1", "llama-3"]
    assert "replica_suspect" in here.sink.names()

    here.run(50)
    assert here.routed() == here.running() == ["llama-1", "llama-3", "llama-4"]


def test_a_lost_node_is_replaced_elsewhere_and_the_youngest_go_when_it_is_back() -> None:
    here = world(nodes=("alpha", "beta"))
    alpha, beta = (here.runtimes[NodeName(name)] for name in here.nodes)
    assert sorted(len(runtime.replicas) for runtime in (alpha, beta)) == [1, 2]
    lost, left = (alpha, beta) if len(alpha.replicas) == 2 else (beta, alpha)
    lost.down = True
    for entry in lost.replicas.values():
        entry.hung = True
    here.run(30)
    assert len(here.routed()) == 3
    assert set(here.routed()) <= set(left.replicas)
    assert len(lost.replicas) == 2, "nothing is done on it"

    lost.down = False
    for entry in lost.replicas.values():
        entry.hung = False
    here.run(200)
    assert len(here.routed()) == len(here.running()) == 3
    assert set(NAMES) == set(here.running()), "the youngest went"


def test_an_engine_that_dies_while_its_replicas_serve_cuts_nobody() -> None:
    here = world(nodes=("alpha", "beta"))
    before = here.routed()
    here.runtimes[NodeName("alpha")].down = True
    here.run(60)

    assert set(before) <= set(here.routed()), "they still serve"
    assert len(here.routed()) == 3 + len(here.runtimes[NodeName("alpha")].replicas), "and have successors elsewhere"


def test_a_controller_that_starts_while_a_node_is_silent_starts_nothing_twice() -> None:
    here = world(nodes=("alpha", "beta"), node_grace=timedelta(seconds=60))
    here.runtimes[NodeName("alpha")].down = True
    here.controller()
    here.run(20)

    assert here.routed() == list(NAMES)
    assert len(here.running()) == 3


def test_duplicates_by_label_are_removed_the_younger_first() -> None:
    here = world(nodes=("alpha", "beta"))
    alpha, beta = (here.runtimes[NodeName(name)] for name in here.nodes)
    (twin,) = [entry for name, entry in alpha.replicas.items() if name == "llama-1"] or list(alpha.replicas.values())[
        :1
    ]
    young = replace(twin.container, node=NodeName("beta"), created_at=here.clock.now())
    beta.replicas[young.replica] = replace(twin, container=young, started_at=here.clock.now())
    here.run(6)

    assert young.replica in alpha.replicas
    assert young.replica not in beta.replicas
    assert here.routed() == list(NAMES)


def test_nothing_new_starts_on_a_cordoned_node_and_a_drained_one_empties() -> None:
    here = world(nodes=("alpha", "beta"))
    order(here, OrderKind.DRAIN, "node/alpha")
    for _ in range(40):
        here.run(3)
        assert len(here.routed()) >= 3

    assert here.runtimes[NodeName("alpha")].replicas == {}
    assert len(here.routed()) == 3
    here.store.drop_orders(here.store.orders())
    here.runtimes[NodeName("beta")].kill(ReplicaId(here.routed()[0]))
    here.run(10)
    assert len(here.runtimes[NodeName("alpha")].replicas) == 1


def change(here: World, spec: str, **rollout: object) -> None:
    """A new configuration, and the controller started anew with it, as `stoker apply` does."""
    here.policy = replace(here.policy, spec_hash=spec, rollout=RolloutPolicy(**rollout))  # type: ignore[arg-type]
    here.controller()


def specs(here: World) -> list[str]:
    return sorted(here.runtime.specs[ReplicaId(name)] for name in here.routed())


def test_a_changed_spec_replaces_one_at_a_time_and_is_never_short() -> None:
    here = world(spec="old")
    change(here, "new")
    for _ in range(40):
        here.run(3)
        assert 3 <= len(here.routed()) <= 4
        assert len(here.running()) <= 5

    assert specs(here) == ["new"] * 3
    assert here.store.load().pools[POOL].good_spec == "new"


@pytest.mark.parametrize("interrupt", [lambda here: None, lambda here: here.controller()], ids=["whole", "cut off"])
def test_a_spec_that_never_gets_ready_is_rolled_back(interrupt: Callable[[World], object]) -> None:
    here = world(spec="old")
    here.runtime.broken.add("bad")
    change(here, "bad")
    for _ in range(40):
        here.run(3)
        interrupt(here)
        assert len(here.routed()) >= 3

    assert specs(here) == ["old"] * 3
    pool = here.store.load().pools[POOL]
    assert (pool.good_spec, pool.refused_spec) == ("old", "bad")
    assert pool.why_refused == "2 replicas of it in a row failed"
    assert "spec_refused" in here.sink.names()


def test_a_spec_whose_requests_fail_is_rolled_back() -> None:
    here = world(spec="old")
    change(here, "worse", bake=timedelta(seconds=30))
    here.run(6)
    (name,) = [name for name, spec in here.runtime.specs.items() if spec == "worse"]
    here.metrics.replica[POOL, name, Signal.ERRORS] = 0.1
    here.run(60)

    assert specs(here) == ["old"] * 3
    assert "10 % of its requests failed" in here.store.load().pools[POOL].why_refused


def test_a_spec_that_is_changed_again_on_the_way_goes_to_the_newest() -> None:
    here = world(spec="old")
    change(here, "new")
    here.run(20)
    assert 0 < specs(here).count("new") < 3
    change(here, "newest")
    here.run(120)

    assert specs(here) == ["newest"] * 3
    assert len(here.running()) == 3
