"""GPU health: each sign, when it counts, what follows, what is not known, and where most look broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from controller.core.gpus import GpuHealth, assess, held, wish
from controller.core.model import GpuMemory, GpuReport, Node, NodeName, Order, OrderKind, Signal, Snapshot
from controller.core.model import ReplicaState as S
from controller.core.planner import plan
from controller.core.policy import HealthPolicy, PoolPolicy
from controller.core.reason import ReasonCode as R
from tests.fakes.clock import FakeClock
from tests.unit.core.build import POOL, gpu, memory, only, order, report

K = OrderKind
GIB = 1024**3
SCALING = only(Signal.IN_FLIGHT, floor=1, ceiling=4, gpu_memory_bytes=18 * GIB)
POLICY = PoolPolicy(POOL, "llama", SCALING, HealthPolicy(thermal_for=timedelta(minutes=5)))
NAMES = ("GPU-0", "GPU-1", "GPU-2", "GPU-3")


@dataclass
class Bench:
    """Four GPUs that are looked at again and again. `said` is what is special about one; None: it is silent."""

    clock: FakeClock = field(default_factory=FakeClock)
    said: dict[int, Mapping[str, object] | None] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    memory: Mapping[str, GpuMemory] = field(default_factory=dict)
    health: GpuHealth = field(default_factory=GpuHealth)
    told: list[str] = field(default_factory=list)

    def look(self, seconds: float = 2.0) -> Bench:
        """Once more, so much later."""
        now = self.clock.advance(seconds)
        found = [report(number, now, **told) for number in range(4) if (told := self.said.get(number, {})) is not None]
        self.health = assess(self.snapshot(found), (POLICY,))
        self.memory = self.health.memory
        self.told += [f"{item.event} {item.uuid} {item.reason.code}" for item in self.health.changes]
        self.orders = [item for item in self.orders if item.kind is not K.RELEASE]  # the plan fulfils them
        return self

    def snapshot(self, found: Sequence[GpuReport]) -> Snapshot:
        told, now = {item.uuid: item for item in found}, self.clock.now()
        return Snapshot(now, 1, (), {}, {}, orders=tuple(self.orders), reports=told, gpu_memory=self.memory)

    def say(self, number: int, **told: object) -> Bench:
        """From now on it says that."""
        self.said[number] = told
        return self

    def run(self, seconds: int) -> Bench:
        for _ in range(seconds // 2):
            self.look()
        return self

    def restart(self) -> Bench:
        """A new controller has what was written down."""
        self.memory = {uuid: replace(item, hot_since=None, cool_since=None) for uuid, item in self.memory.items()}
        return self

    def order(self, kind: OrderKind, number: int, why: str = "") -> Bench:
        self.orders.append(order(kind, f"gpu/GPU-{number}", self.clock.now(), why))
        return self

    def cordoned(self) -> dict[str, str]:
        return {uuid: item.cordon.code for uuid, item in self.memory.items() if item.cordon is not None}


SIGNS = [
    # what one of four says, the code of its cordon, whether what runs there is dead at once
    pytest.param({}, None, False, id="all is well"),
    pytest.param({"xids": {48: 1}}, R.GPU_FAULT, False, id="an XID that means a broken GPU"),
    pytest.param({"xids": {31: 7, 13: 1, 43: 2, 45: 1}}, None, False, id="XIDs that programs cause"),
    pytest.param({"xids": {63: 1}}, None, False, id="a row is to be remapped, and no reset is needed"),
    pytest.param({"xids": {63: 1}, "remap_pending": True}, R.GPU_FAULT, False, id="and one is"),
    pytest.param({"xids": {64: 1}}, R.GPU_FAULT, False, id="a row could not be remapped"),
    pytest.param({"xids": {94: 1}}, None, False, id="a contained error"),
    pytest.param({"xids": {95: 1}}, R.GPU_FAULT, False, id="one that was not contained"),
    pytest.param({"xids": {79: 1}}, R.GPU_LOST, True, id="fallen off the bus"),
    pytest.param({"xids": {79: 1, 48: 1, 31: 1}}, R.GPU_LOST, True, id="the worst counts"),
    pytest.param({"xids": {4711: 1}}, None, False, id="an XID that nobody knows"),
    pytest.param({"double_bit": 1}, R.GPU_FAULT, False, id="a double-bit error"),
    pytest.param({"remap_failed": True}, R.GPU_FAULT, False, id="the flag of a failed remapping"),
    pytest.param({"lost": True}, R.GPU_LOST, True, id="lost"),
    pytest.param({"throttled": True}, None, False, id="hot for a moment"),
    pytest.param(dict.fromkeys(("double_bit", "remap_failed", "lost", "throttled")), None, False, id="unknown"),
]


@pytest.mark.parametrize(("told", "code", "dead"), SIGNS)
def test_a_sign(told: Mapping[str, object], code: R | None, dead: bool) -> None:
    bench = Bench().look().say(2, **told).look()

    assert bench.cordoned() == ({"GPU-2": code.value} if code else {})
    assert set(bench.health.barred) == ({"GPU-2"} if code else set())
    assert set(bench.health.dead) == ({"GPU-2"} if dead else set())
    assert set(bench.health.leaving) == ({"GPU-2"} if code and not dead else set())
    assert bench.health.held is None
    assert bench.run(60).cordoned() == ({"GPU-2": code.value} if code else {}), "once and for all"
    assert [item for item in bench.told if item.startswith("gpu_cordoned")] == (
        [f"gpu_cordoned GPU-2 {code}"] if code else []
    ), "and said once"


def test_what_came_before_the_first_look_counts() -> None:
    assert Bench().say(1, xids={119: 3}).look().cordoned() == {"GPU-1": R.GPU_FAULT.value}


def test_what_wants_watching_is_told_once_with_its_meaning() -> None:
    bench = Bench().look().say(0, xids={92: 1, 31: 4}).look()

    assert bench.health.changes[0].reason.text == "XID 92: its memory needs correcting more often than usual"
    bench.run(30).say(0, xids={92: 2, 31: 4}).look()
    assert bench.told == ["gpu_watched GPU-0 GpuWatched"] * 2
    assert bench.cordoned() == {}


def test_the_sentences_say_what_to_do() -> None:
    bench = Bench().look().say(3, xids={79: 1}).look()

    (change,) = bench.health.changes
    assert (change.uuid, change.node, change.event) == ("GPU-3", NodeName("local"), "gpu_cordoned")
    assert change.reason.text == (
        "XID 79: it has fallen off the bus: reboot the node; if it comes back, check the seat, the power and the "
        "cooling of the GPU, or have it replaced; then `stoker release --gpu GPU-3`"
    )
    assert bench.health.barred["GPU-3"] == "is cordoned: XID 79: it has fallen off the bus"
    assert bench.health.dead["GPU-3"].text == "its GPU is gone: XID 79: it has fallen off the bus"


def test_silence_cordons_nothing_and_releases_nothing() -> None:
    bench = Bench().say(1, xids={48: 1}).look()
    before = bench.restart().memory
    for number in range(4):
        bench.said[number] = None
    bench.run(600)

    assert bench.memory == before
    assert bench.told == ["gpu_cordoned GPU-1 GpuFault"]


def test_an_old_answer_is_silence() -> None:
    bench = Bench().look()
    stale = report(1, bench.clock.now(), xids={48: 1})
    bench.clock.advance(2.5)

    health = assess(bench.snapshot([stale]), (POLICY,))
    assert health.changes == ()
    assert set(health.memory) == set(NAMES)


def test_a_new_controller_keeps_the_cordon_and_tells_nothing_twice() -> None:
    bench = Bench().say(1, xids={48: 1}).say(2, xids={92: 1}).look()
    bench.restart().run(20)

    assert bench.cordoned() == {"GPU-1": R.GPU_FAULT.value}
    assert len(bench.told) == 2


def test_a_fault_that_came_while_no_controller_ran_is_new() -> None:
    bench = Bench().say(1, xids={31: 2}).look().restart().say(1, xids={31: 2, 140: 1}).look(3600)

    assert bench.cordoned() == {"GPU-1": R.GPU_FAULT.value}


def test_an_exporter_that_began_anew_counts_from_zero_and_releases_nothing() -> None:
    bench = Bench().say(1, xids={48: 3}).look().say(1).run(60)
    assert bench.cordoned() == {"GPU-1": R.GPU_FAULT.value}
    bench.order(K.RELEASE, 1).look()
    assert bench.cordoned() == {}

    assert bench.say(1, xids={48: 1}).look().cordoned() == {"GPU-1": R.GPU_FAULT.value}, "one is new again"


LEVELS = ["remap_failed", "remap_pending", "lost"]


@pytest.mark.parametrize("sign", LEVELS)
def test_a_release_holds_for_what_stood_then(sign: str) -> None:
    bench = Bench().look().say(1, **{sign: True}).look().order(K.RELEASE, 1).look()
    assert bench.cordoned() == {}
    assert bench.run(60).cordoned() == {}, "a person has said that it is well"
    assert bench.told[-1] == "gpu_released GPU-1 Ordered"

    bench.say(1, **{sign: None}).look().say(1, **{sign: True}).look()
    assert bench.cordoned() == {}, "nobody said that it had been otherwise"
    bench.say(1).look().say(1, **{sign: True}).look()
    assert len(bench.cordoned()) == 1


def test_what_is_worse_takes_its_place_and_what_is_not_does_not() -> None:
    bench = Bench().look().say(1, xids={48: 1}).look().say(1, xids={48: 2, 64: 1}).look()
    assert bench.told == ["gpu_cordoned GPU-1 GpuFault"]

    bench.say(1, xids={48: 2, 64: 1}, lost=True).look()
    assert bench.told[1:] == ["gpu_cordoned GPU-1 GpuLost"]
    assert bench.cordoned() == {"GPU-1": R.GPU_LOST.value}


def test_heat_counts_after_minutes_and_ends_by_itself() -> None:
    bench = Bench().look().say(1, throttled=True).run(300)
    assert bench.cordoned() == {}
    bench.look()
    assert bench.cordoned() == {"GPU-1": R.GPU_HOT.value}
    assert bench.health.changes[0].reason.text == (
        "its heat slows it down, for 300 s: check the cooling of its node; it is released when it has been cool"
    )

    bench.say(1).run(300)
    assert bench.cordoned() == {"GPU-1": R.GPU_HOT.value}
    assert bench.look().cordoned() == {}
    assert bench.told == ["gpu_cordoned GPU-1 GpuHot", "gpu_released GPU-1 GpuCool"]


def test_a_short_break_is_no_end_of_the_heat_and_a_long_one_is() -> None:
    bench = Bench().look().say(1, throttled=True).run(200).say(1).run(28).say(1, throttled=True).run(80)
    assert bench.cordoned() == {"GPU-1": R.GPU_HOT.value}

    bench = Bench().look().say(1, throttled=True).run(200).say(1).run(34).say(1, throttled=True).run(80)
    assert bench.cordoned() == {}


def test_what_is_not_known_of_the_heat_is_neither_hot_nor_cool() -> None:
    bench = Bench().look().say(1, throttled=True).run(290).say(1, throttled=None).look().say(1, throttled=True).run(290)
    assert bench.cordoned() == {}, "nobody knows whether it was hot all the time"
    bench.run(20)
    assert bench.cordoned() == {"GPU-1": R.GPU_HOT.value}

    bench.say(1).run(290).say(1, throttled=None).run(60).say(1).run(290)
    assert bench.cordoned() == {"GPU-1": R.GPU_HOT.value}, "nor cool"


def test_the_most_careful_pool_says_how_long() -> None:
    bench = Bench().look().say(1, throttled=True).look()
    now = bench.clock.advance(60)
    found = bench.snapshot([report(0, now), report(1, now, throttled=True)])
    cautious = replace(POLICY, health=HealthPolicy(thermal_for=timedelta(minutes=1)))
    elsewhere = replace(cautious, scaling=replace(POLICY.scaling, gpu_memory_bytes=0))

    assert assess(found, (POLICY, cautious)).memory["GPU-1"].cordon is not None
    assert assess(found, (POLICY, elsewhere)).memory["GPU-1"].cordon is None, "it has nothing on GPUs"


def test_where_most_look_broken_nothing_is_done_and_it_is_said() -> None:
    bench = Bench().look()
    for number in (0, 1, 2):
        bench.say(number, xids={119: 1})
    bench.look()

    assert bench.cordoned() == {}
    assert (bench.health.barred, bench.health.dead, bench.health.leaving) == ({}, {}, {})
    assert bench.health.held is not None
    assert bench.health.held.code is R.GPU_PANIC
    assert bench.health.held.numbers == {"broken": 3, "gpus": 4}
    assert bench.health.held.text.startswith(
        "3 of 4 GPUs look broken at once, so nothing is cordoned or moved for GPU-0 (XID 119: its system processor "
        "gave no answer), GPU-1 (XID 119"
    )
    assert bench.run(30).health.held is not None, "for as long as it is so"


def test_half_of_them_may_go() -> None:
    bench = Bench().look().say(0, lost=True).say(1, lost=True).look()
    assert len(bench.cordoned()) == 2
    assert bench.health.held is None

    bench.say(2, lost=True).look()
    assert set(bench.cordoned()) == {"GPU-0", "GPU-1"}
    assert bench.health.held is not None
    assert set(bench.health.dead) == {"GPU-0", "GPU-1"}
    assert bench.health.leaving == {}


def test_a_held_fault_counts_once_enough_of_the_others_are_well() -> None:
    bench = Bench().look()
    for number in (0, 1, 2):
        bench.say(number, double_bit=1)
    bench.look().order(K.RELEASE, 0).look()

    assert set(bench.cordoned()) == {"GPU-1", "GPU-2"}
    assert bench.health.held is None


def test_the_only_gpu_is_most_of_them() -> None:
    bench = Bench(said={1: None, 2: None, 3: None}).look().say(0, lost=True).look()

    assert bench.cordoned() == {}
    assert bench.health.held is not None


def test_orders_bar_a_gpu_and_say_why() -> None:
    bench = Bench().order(K.CORDON, 1, "new paste").order(K.DRAIN, 2).look()

    assert bench.health.barred == {"GPU-1": "is cordoned: new paste", "GPU-2": "is cordoned: it was ordered"}
    assert (bench.cordoned(), bench.health.leaving, bench.told) == ({}, {}, [])


def test_a_gpu_that_was_taken_out_is_forgotten_and_one_that_is_cordoned_is_not() -> None:
    bench = Bench().say(1, xids={48: 1}).look()
    bench.said |= {1: None, 2: None}
    bench.look()

    assert set(bench.memory) == {"GPU-0", "GPU-1", "GPU-3"}
    assert bench.cordoned() == {"GPU-1": R.GPU_FAULT.value}


def test_whose_turn_it_is() -> None:
    bench = Bench().say(1, xids={48: 1}).look()
    old, young = (memory(f"llama-{number}", S.READY, gpu="GPU-1") for number in (1, 2))
    young = replace(young, created_at=old.created_at + timedelta(seconds=1))
    elsewhere, gone = memory("llama-3", S.READY, gpu="GPU-0"), memory("llama-4", S.UNREADY, gpu="GPU-1")

    found = wish(bench.health, [elsewhere, gone, young, old])
    assert found is not None
    assert (found[0], found[1].code) == (old, R.GPU_CORDONED)
    assert found[1].text == ("its GPU GPU-1 is cordoned: XID 48: its memory had an error that could not be corrected")
    assert wish(bench.health, [replace(old, retiring_since=old.created_at), elsewhere, gone]) is None
    assert wish(GpuHealth(), [old]) is None


def test_clocks_that_were_set_back() -> None:
    bench = Bench().look().say(1, throttled=True).look()
    bench.clock.advance(-7200)
    found = plan(bench.snapshot([report(1, bench.clock.now(), throttled=True)]), (POLICY,))
    assert found.memory.gpus["GPU-1"].hot_since == bench.clock.now()


def test_a_plan_without_an_engine_still_remembers_the_gpus() -> None:
    bench = Bench().look()
    silent = Node(NodeName("local"), bench.clock.now())
    now = bench.clock.now()
    snapshot = replace(bench.snapshot([report(0, now), report(1, now, xids={48: 1})]), nodes=(silent,))

    found = plan(snapshot, (POLICY,))
    assert found.memory.gpus["GPU-1"].cordon is not None
    assert [item.event for item in found.gpu_changes] == ["gpu_cordoned"]


def test_a_plan_says_that_most_look_broken() -> None:
    bench = Bench(said={1: None, 2: None, 3: None}).look().say(0, lost=True)
    now = bench.clock.advance(2)
    snapshot = replace(bench.snapshot([report(0, now, lost=True)]), gpus=(gpu(0, 40, now),))

    found = plan(snapshot, (POLICY,))
    assert held(found)
    assert R.GPU_PANIC in [reason.code for reason in found.standing[POOL]]
    assert not held(plan(replace(snapshot, reports={}), (POLICY,)))
