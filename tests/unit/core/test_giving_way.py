"""Timelines of pools on GPUs that are full, of which too many look bad at once."""

from __future__ import annotations

from dataclasses import replace

from controller.core.capacity import GIB
from controller.core.decision import Decision, StartReplica
from controller.core.model import ContainerState, Signal, Snapshot
from controller.core.model import ReplicaState as S
from controller.core.policy import HealthPolicy, PoolPolicy
from controller.core.reason import ReasonCode as R
from tests.unit.core.build import POOL, gpu, only
from tests.unit.core.play import Play


class Full(Play):
    """As many GPUs as replicas, of which each holds one."""

    def _snapshot(self) -> Snapshot:
        used = {known.gpu for known in self.containers.values() if known.state is ContainerState.RUNNING}
        count = self.policy.scaling.floor
        gpus = [gpu(number, 6 if f"GPU-{number}" in used else 24, now=self.now) for number in range(1, count + 1)]
        return replace(super()._snapshot(), gpus=tuple(gpus))

    def _do(self, decision: Decision) -> None:
        super()._do(decision)
        if isinstance(decision, StartReplica):
            self.containers[decision.replica] = replace(self.containers[decision.replica], gpu=decision.gpu)


def full(count: int, budget: int = 9) -> Play:
    scaling = only(Signal.IN_FLIGHT, floor=count, ceiling=count, gpu_memory_bytes=18 * GIB)
    return Full(PoolPolicy(POOL, "llama", scaling, HealthPolicy(budget_actions=budget))).serving()


def test_all_hang_and_one_at_a_time_gives_way() -> None:
    play = full(3)
    play.hung = {"llama-1", "llama-2", "llama-3"}

    assert play.run(32) == []
    assert play.up == ["llama-1", "llama-2", "llama-3"]
    play.tick()
    assert play.up == ["llama-2", "llama-3"]
    said = [reason.text for reason in play.made.standing[POOL] if reason.code is R.PANIC_THRESHOLD]
    assert said[1] == (
        "llama-1, which has looked bad the longest, leaves nginx all the same: "
        "no GPU has room for a successor, so it goes first"
    )
    assert play.tick() == ["-1"]
    assert play.made.decisions[0].reasons[0].text.endswith("; no GPU has room for a successor, so it goes first")
    assert play.run(40) == ["+4", "-2", "+5", "-3", "+6"]
    assert play.up == ["llama-4", "llama-5", "llama-6"]


def test_two_of_three_hang() -> None:
    play = full(3)
    play.hung = {"llama-1", "llama-2"}

    assert play.run(60) == ["-1", "+4", "-2", "+5"]
    assert play.up == ["llama-3", "llama-4", "llama-5"]


def test_the_only_one_hangs() -> None:
    play = full(1)
    play.hung = {"llama-1"}

    assert play.run(60) == ["-1", "+2"]
    assert play.up == ["llama-2"]


def test_a_stall_of_the_machine_costs_none() -> None:
    play = full(3)
    play.hung = {"llama-1", "llama-2", "llama-3"}
    play.run(30, at_least=3)
    play.hung = set()

    assert play.run(60, at_least=3) == []


def test_where_successors_fare_no_better_one_is_lost_and_no_more() -> None:
    play = full(3)
    play.hung = {f"llama-{number}" for number in range(1, 99)}

    assert play.run(300, at_least=2) == ["-1", "+4"]
    assert play.up == ["llama-2", "llama-3"]


def test_one_that_answers_again_in_time_comes_back() -> None:
    play = full(3)
    play.hung = {"llama-1", "llama-2", "llama-3"}
    play.until(lambda: len(play.up) == 2)
    play.hung = set()

    assert play.run(60, at_least=2) == []
    assert play.up == ["llama-1", "llama-2", "llama-3"]


def test_nothing_gives_way_once_the_budget_is_spent() -> None:
    play = full(3, budget=1)
    play.hung = {"llama-1", "llama-2", "llama-3"}

    assert play.run(120, at_least=2) == ["-1", "+4"]
    assert play.states()["llama-2"] is S.UNREADY
    assert R.FUSE_BLOWN in play.standing()


def test_one_that_went_without_a_successor_is_the_only_one() -> None:
    """Its GPU is given away meanwhile, or it cannot be removed."""
    play = full(3)
    play.sticky = {"llama-1"}
    play.hung = {"llama-1", "llama-2", "llama-3"}

    play.run(120, at_least=2)

    assert play.up == ["llama-2", "llama-3"]
