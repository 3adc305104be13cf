"""How much healing is allowed: a budget for each pool, and a fuse that ends it for a while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from controller.core import budget, orders
from controller.core.model import OrderKind, PoolMemory, ReplicaMemory, ReplicaState
from controller.core.policy import HealthPolicy
from controller.core.reason import ReasonCode
from tests.fakes.clock import START
from tests.unit.core.build import POOL, memory, order
from tests.unit.core.play import Play, policy_of

S = ReplicaState
POLICY = HealthPolicy(budget_actions=3, budget_window=timedelta(seconds=600))
GOOD, STARTS, UNSURE = (memory("llama-9", state) for state in (S.READY, S.STARTING, S.SUSPECT))


def ago(seconds: float) -> datetime:
    return START - timedelta(seconds=seconds)


def hung(number: int, since_s: float = 0, **known: object) -> ReplicaMemory:
    return memory(f"llama-{number}", S.UNREADY, ago(since_s), **known)


def died(number: int, since_s: float = 0, **known: object) -> ReplicaMemory:
    return memory(f"llama-{number}", S.STOPPED, ago(since_s), **known)


@dataclass(frozen=True)
class Case:
    """`spent` and `fuse` are seconds ago. `paid` and `blocked` are numbers of replicas, `left` what is spent then."""

    name: str
    mine: Sequence[ReplicaMemory]
    paid: Sequence[int] = ()
    blocked: Sequence[int] = ()
    spent: Sequence[float] = ()
    left: int = 0
    fuse: float | None = None
    blown: float | None = None


CASES = [
    Case("all is well", [GOOD]),
    Case("one hangs", [GOOD, hung(1)], [1], left=1),
    Case("one died", [GOOD, died(1)], [1], left=1),
    Case("three at once", [GOOD, hung(1), died(2), hung(3)], [1, 2, 3], left=3),
    Case("the fourth blows the fuse", [GOOD, *map(hung, (1, 2, 3, 4))], [1, 2, 3], [4], left=3, blown=0),
    Case("the last of the budget", [GOOD, hung(1)], [1], spent=(599, 1), left=3),
    Case("nothing is left of it", [GOOD, hung(1)], [], [1], (599, 300, 1), 3, blown=0),
    Case("one is ten minutes old", [GOOD, hung(1)], [1], spent=(600, 300, 1), left=3),
    Case(
        "those that failed first come first",
        [GOOD, *(hung(n, n) for n in (1, 2, 3, 4))],
        [4, 3, 2],
        [1],
        (),
        3,
        blown=0,
    ),
    Case("what is paid for is not paid again", [GOOD, hung(1, paid=True), hung(2)], [2], left=1),
    Case("nor kept, though the fuse has blown", [GOOD, hung(1, paid=True)], spent=(9, 8, 7), left=3, fuse=5, blown=5),
    Case("after the fuse has blown", [GOOD, hung(1)], [], [1], (9,), 1, fuse=5, blown=5),
    Case("until a window is over", [GOOD, hung(1)], [], [1], fuse=599.9, blown=599.9),
    Case("then it begins anew", [GOOD, hung(1)], [1], (), (9, 8, 7), 1, fuse=600),
    Case("nothing alive: one", [hung(1), hung(2)], [1], [2], (9, 8, 7), 4, fuse=5, blown=5),
    Case("nothing alive: the one that blows it", [hung(1), hung(2)], [1], [2], (9, 8, 7), 4, blown=0),
    Case("what starts is alive", [STARTS, hung(1)], [], [1], fuse=5, blown=5),
    Case("a suspect is alive", [UNSURE, hung(1)], [], [1], fuse=5, blown=5),
    Case(
        "what drains or is kept is not",
        [memory("llama-8", S.DRAINING), memory("llama-9", S.QUARANTINED), hung(1)],
        [1],
        (),
        (),
        1,
        fuse=5,
        blown=5,
    ),
    Case(
        "a failed start costs nothing", [GOOD, hung(1, ready_at=None), died(2, ready_at=None)], spent=(9, 8, 7), left=3
    ),
    Case("one that was asked to stop neither", [GOOD, died(1, terminated_at=START)], spent=(9, 8, 7), left=3),
    Case("nor one that drains", [GOOD, memory("llama-1", S.DRAINING)], spent=(9, 8, 7), left=3),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_allow(case: Case) -> None:
    known = PoolMemory(
        POOL,
        3,
        remediations=tuple(ago(seconds) for seconds in case.spent),
        fuse_since=None if case.fuse is None else ago(case.fuse),
    )

    found = budget.allow(case.mine, known, POLICY, START)

    assert found.paid == {f"llama-{number}" for number in case.paid}
    assert found.blocked == {f"llama-{number}" for number in case.blocked}
    assert len(found.memory.remediations) == case.left
    assert found.memory.fuse_since == (None if case.blown is None else ago(case.blown))
    assert [reason.code for reason in found.held] == ([ReasonCode.FUSE_BLOWN] if case.blown is not None else [])


def test_the_sentence_of_the_fuse() -> None:
    known = PoolMemory(POOL, 3, fuse_since=ago(12.4))
    (reason,) = budget.allow([GOOD, hung(1), hung(2)], known, POLICY, START).held

    assert reason.text == (
        "3 failed replicas were replaced within 600 s: healing stops, `stoker release llama` lets it go on"
    )
    assert reason.numbers == {"actions": 3, "window_s": 600, "left_s": 588, "kept": 2}


def test_a_release_closes_the_fuse_at_once() -> None:
    blown = PoolMemory(POOL, 3, remediations=(ago(9), ago(8), ago(7)), fuse_since=ago(5))

    released = orders.release(blown, [order(OrderKind.RELEASE, "pool/llama")])
    found = budget.allow([GOOD, hung(1)], released, POLICY, START)

    assert (found.paid, found.blocked, found.held) == ({"llama-1"}, set(), ())


def test_a_quiet_tick_leaves_the_memory_as_it_is() -> None:
    known = PoolMemory(POOL, 3, remediations=(ago(9),))

    assert budget.allow([GOOD, hung(1, paid=True)], known, POLICY, START).memory is known


# --- over time

TWO = replace(POLICY, budget_actions=2, node_grace=timedelta(seconds=15))


def test_the_third_failure_within_ten_minutes_is_kept_and_counts() -> None:
    play = Play(policy_of(4, health=TWO)).serving()
    play.hung = {"llama-1"}
    assert play.run(60) == ["+5", "-1"]
    play.hung = {"llama-2"}
    assert play.run(60) == ["+6", "-2"]
    play.hung = {"llama-3"}

    assert play.run(120) == [], "it is neither removed nor replaced"
    assert play.up == ["llama-4", "llama-5", "llama-6"], "but it has left nginx"
    assert play.states()["llama-3"] is S.UNREADY
    assert ReasonCode.FUSE_BLOWN in play.standing()
    blown = play.pool.fuse_since
    assert blown is not None
    play.tick(600 - (play.now - blown).total_seconds() - 1)
    assert ReasonCode.FUSE_BLOWN in play.standing()
    assert play.run(60) == ["+7, -3"]
    assert ReasonCode.FUSE_BLOWN not in play.standing()
    assert len(play.pool.remediations) == 1


def test_one_that_is_back_is_no_longer_kept() -> None:
    play = Play(policy_of(4, health=replace(TWO, budget_actions=1))).serving()
    play.kill("llama-1")
    play.run(10)
    play.hung = {"llama-2"}
    play.run(10)
    assert len(play.up) == 3
    play.hung = set()
    assert play.run(10) == []
    assert len(play.up) == 4


def test_a_release_goes_on_at_once() -> None:
    play = Play(policy_of(4, health=replace(TWO, budget_actions=1))).serving()
    play.kill("llama-1")
    play.run(10)
    play.kill("llama-2")
    assert play.run(10) == []
    play.give(OrderKind.RELEASE, "pool/llama")

    assert play.tick() == ["+6", "-2"]
    assert play.orders == []


def test_a_pool_of_which_nothing_is_alive_gets_one_at_a_time() -> None:
    play = Play(policy_of(3, health=replace(TWO, budget_actions=1))).serving()
    for number in (1, 2, 3):
        play.kill(f"llama-{number}")

    assert play.tick() == ["+4"], "one is paid for, and the fuse blows"
    assert play.run(20) == ["-1"]
    assert play.up == ["llama-4"]
    play.kill("llama-4")
    assert play.run(20) == ["+5, -2"], "the oldest one that is kept gives way"
    assert play.up == ["llama-5"]


def test_a_successor_is_never_drained_for_one_that_is_kept() -> None:
    """What is kept counts, but it serves nobody."""
    play = Play(policy_of(1, health=replace(TWO, budget_actions=1))).serving()
    for number in (1, 2, 3):
        play.hung = {f"llama-{number}"}
        told = play.run(30)
        assert not [line for line in told if "drain" in line]
        assert play.up == [f"llama-{number + 1}"]


def test_one_that_cannot_be_removed_costs_no_more_than_another() -> None:
    play = Play(policy_of(3, health=TWO)).serving()
    play.hung = play.sticky = {"llama-1"}

    told = play.run(30)

    assert told[0] == "+4"
    assert set(told[1:]) == {"-1"}
    assert len(play.pool.remediations) == 1
    assert ReasonCode.FUSE_BLOWN not in play.standing()


def test_what_a_lost_node_takes_with_it_costs_nothing_while_it_is_lost() -> None:
    play = Play(policy_of(4, health=TWO), nodes=("a", "b")).serving()
    play.hush("a")
    play.dead.add("a")

    play.run(120)

    assert (len(play.up), play.pool.remediations, play.pool.fuse_since) == (4, (), None)
    play.wake("a")
    play.run(30)
    assert (len(play.up), play.pool.remediations, play.pool.fuse_since) == (4, (), None), "nor when it is back"


def test_failed_starts_do_not_count() -> None:
    play = Play(policy_of(3, health=TWO)).serving()
    for number in (2, 3):
        play.containers[f"llama-{number}"] = replace(play.containers[f"llama-{number}"], spec_hash="good")
    play.broken = {"abc"}
    play.kill("llama-1")

    play.run(300)

    assert len(play.pool.remediations) == 1
    assert play.pool.start_failures >= 4
