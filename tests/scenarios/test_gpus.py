"""GPUs that break under load: whole ticks on fakes, from what the exporter says to the replicas that are elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import ItemsView
from dataclasses import replace
from datetime import timedelta

import pytest

from controller.core.capacity import GIB
from controller.core.decision import DrainReplica, RemoveReplica, StartReplica
from controller.core.model import NodeName, Order, OrderKind, ReplicaId
from controller.core.policy import HealthPolicy, PoolPolicy, ScalingPolicy
from tests.fakes.world import FakeRuntime
from tests.scenarios.test_crash_points import Killer, play
from tests.scenarios.world import POOL, World

NEED, CARD = 18 * GIB, 40 * GIB  # two replicas to a GPU
SCALING = ScalingPolicy(floor=3, ceiling=6, gpu_memory_bytes=NEED, scale_down_window=timedelta(seconds=60))
XID = "xid79"


class Memory(dict[tuple[NodeName, str], float]):
    """Free bytes of each GPU: what is ready on one has taken its memory, and one that is lost tells of none."""

    def __init__(self, runtimes: dict[NodeName, FakeRuntime], cards: list[tuple[NodeName, str]]) -> None:
        super().__init__()
        self.runtimes, self.cards = runtimes, cards
        self.lost: set[str] = set()

    def items(self) -> ItemsView[tuple[NodeName, str], float]:  # type: ignore[override]
        used = dict.fromkeys(self.cards, 0)
        for node, runtime in self.runtimes.items():
            for entry in runtime.replicas.values():
                loaded = (runtime.clock.now() - entry.started_at).total_seconds() >= entry.cold_start_s
                if entry.container.gpu and loaded and entry.container.exit_code is None:
                    used[node, entry.container.gpu] += NEED
        free = {(node, uuid): float(CARD - count) for (node, uuid), count in used.items() if uuid not in self.lost}
        return free.items()


class Cards(World):
    """Two nodes with two GPUs each, and as many replicas as the `load` needs."""

    load = 4

    def up(self) -> Cards:
        cards = [(name, f"GPU-{name}{number}") for name in self.runtimes for number in (0, 1)]
        self.memory = Memory(self.runtimes, cards)
        self.metrics.gpus = self.memory
        self.metrics.signs = {card: {"stoker_gpu_lost": 0, "stoker_gpu_thermal_throttled": 0} for card in cards}
        self.metrics.gateway[POOL] = 4 * self.load
        self.run(60)
        assert len(self.routed()) == self.load, [reason.text for reason in self.ticker.latest.plan.standing[POOL]]  # type: ignore[union-attr]
        self.sink.told.clear()
        return self

    def on(self) -> dict[str, str]:
        """Every container's GPU."""
        found = [entry.container for runtime in self.runtimes.values() for entry in runtime.replicas.values()]
        return {item.replica: item.gpu.removeprefix("GPU-") for item in sorted(found, key=lambda item: item.replica)}

    def say(self, gpu: str, **told: float) -> None:
        node = next(name for name, uuid in self.metrics.signs if uuid == f"GPU-{gpu}")
        self.metrics.signs[node, f"GPU-{gpu}"] |= told

    def watched(self, seconds: int) -> int:
        """The fewest that nginx had at the end of any second."""
        least = len(self.routed())
        for _ in range(seconds):
            self.run(1)
            self.clock.advance(1)
            least = min(least, len(self.routed()))
        return least

    def order(self, kind: OrderKind, gpu: str) -> None:
        self.store.give_order(Order(kind, f"gpu/GPU-{gpu}", self.clock.now(), "a test"))

    def cordoned(self) -> dict[str, str]:
        assert self.ticker.latest is not None
        known = self.ticker.latest.plan.memory.gpus
        return {uuid.removeprefix("GPU-"): item.cordon.code for uuid, item in known.items() if item.cordon is not None}


def cards(scaling: ScalingPolicy = SCALING, **health: object) -> Cards:
    policy = PoolPolicy(POOL, "llama", scaling, HealthPolicy(**health))  # type: ignore[arg-type]
    return Cards(policy=policy, nodes=("a", "b")).up()


def test_replicas_spread_over_nodes_and_gpus() -> None:
    here = cards()

    assert sorted(here.on().values()) == ["a0", "a1", "b0", "b1"]
    rows = [row.decision for row in here.store.decisions(limit=100) if isinstance(row.decision, StartReplica)]
    assert {row.replica: row.gpu.removeprefix("GPU-") for row in rows} == here.on(), "the ledger has it, too"
    assert sum(here.sink.reports[-1].gpus.values()) == len(here.on())


def test_one_that_falls_off_the_bus_is_replaced_elsewhere_under_load() -> None:
    here = cards()
    victim = next(name for name, gpu in here.on().items() if gpu == "a1")
    here.memory.lost.add("GPU-a1")
    here.say("a1", stoker_gpu_lost=1, **{XID: 1})

    assert here.watched(30) == 3, "what runs there is dead at once; nothing else goes"
    assert len(here.routed()) == 4
    assert victim not in here.running()
    assert "a1" not in here.on().values()
    assert here.cordoned() == {"a1": "GpuLost"}
    assert here.sink.names().count("gpu_cordoned") == 1
    (removed,) = [row.decision for row in here.store.decisions(limit=100) if isinstance(row.decision, RemoveReplica)]
    assert (removed.replica, removed.reasons[-1].code) == (victim, "GpuLost")
    assert here.store.load().pools[POOL].remediations != ()
    assert here.sink.reports[-1].cordoned == {("a", "GPU-a1", "GpuLost")}

    here.metrics.gateway[POOL] = 24
    here.run(60)
    assert len(here.routed()) == 6
    assert "a1" not in here.on().values(), "nothing new starts there"


def test_after_a_release_it_is_used_again() -> None:
    here = cards()
    here.memory.lost.add("GPU-a1")
    here.say("a1", stoker_gpu_lost=1, **{XID: 1})
    here.run(30)
    here.say("a1", stoker_gpu_lost=0)
    here.memory.lost.clear()
    here.run(60)
    assert here.cordoned() == {"a1": "GpuLost"}, "that it is there again does not say that it is well"

    here.order(OrderKind.RELEASE, "a1")
    here.metrics.gateway[POOL] = 24
    here.run(60)
    assert here.cordoned() == {}
    assert here.store.orders() == ()
    assert "a1" in here.on().values()
    assert "gpu_released" in here.sink.names()


def test_one_that_needs_a_reset_is_emptied_new_first() -> None:
    here = cards()
    victim = next(name for name, gpu in here.on().items() if gpu == "b0")
    here.say("b0", xid48=1)

    assert here.watched(60) == 4, "never fewer than before"
    assert (len(here.routed()), victim in here.running()) == (4, False)
    assert "b0" not in here.on().values()
    drained = [row.decision for row in here.store.decisions(limit=100) if isinstance(row.decision, DrainReplica)]
    assert [(item.replica, item.reasons[-1].code) for item in drained] == [(victim, "SuccessorReady")]
    assert len(here.store.load().pools[POOL].remediations) == 1


def test_what_a_program_did_changes_nothing() -> None:
    here = cards()
    before = here.on()
    here.say("b0", xid31=9, xid13=2)
    here.run(60)

    assert here.on() == before
    assert here.sink.names() == []


def test_minutes_of_heat_move_what_runs_there_and_coolness_brings_it_back_into_use() -> None:
    here = cards(thermal_for=timedelta(minutes=2))
    here.say("a0", stoker_gpu_thermal_throttled=1)
    here.run(110)
    assert here.cordoned() == {}
    here.run(60)
    assert here.cordoned() == {"a0": "GpuHot"}
    assert "a0" not in here.on().values()

    here.say("a0", stoker_gpu_thermal_throttled=0)
    here.run(150)
    assert here.cordoned() == {}


def test_without_an_exporter_nothing_is_cordoned_and_nothing_released() -> None:
    here = cards()
    here.say("b0", xid48=1)
    here.run(30)
    placed, signs = here.on(), here.metrics.signs
    here.metrics.gpus, here.metrics.signs = {}, {}
    here.run(300)
    assert (here.cordoned(), here.on()) == ({"b0": "GpuFault"}, placed)

    here.runtime.kill(ReplicaId(next(name for name, gpu in placed.items() if gpu == "a1")))
    here.run(30)
    assert len(here.routed()) == 4
    assert "b0" not in here.on().values(), "those that were known are named still"
    assert "" not in here.on().values()
    here.metrics.gpus, here.metrics.signs = here.memory, signs
    here.run(30)
    assert here.cordoned() == {"b0": "GpuFault"}


def test_a_new_controller_knows_what_is_cordoned_and_which_gpu_each_has() -> None:
    here = cards()
    here.say("b0", xid48=1)
    here.run(60)
    before = here.on()
    here.sink.told.clear()
    here.controller()
    here.run(60)

    assert here.cordoned() == {"b0": "GpuFault"}
    assert here.on() == before
    assert not {"gpu_cordoned", "replica_started"} & set(here.sink.names())
    assert {name: known.gpu for name, known in here.store.load().replicas.items()} == {
        name: f"GPU-{gpu}" for name, gpu in before.items()
    }


def test_a_lost_ledger_is_read_from_the_labels() -> None:
    here = cards()
    before = here.on()
    here.store.database.memory = type(here.store.database.memory)()
    here.controller()
    here.run(60)

    assert here.on() == before, "none is started twice, and none on a GPU that is full"
    here.metrics.gateway[POOL] = 24
    here.run(60)
    after = here.on()
    assert after.items() >= before.items()
    assert len(after) == 6
    assert max(Counter(after.values()).values()) == 2


def test_where_most_break_at_once_nothing_moves() -> None:
    here = cards()
    before = here.on()
    for name in ("a0", "a1", "b0"):
        here.say(name, xid119=1)
    here.run(60)

    assert (here.on(), here.cordoned(), len(here.routed())) == (before, {}, 4)
    assert here.sink.names() == ["gpus_held"]
    here.order(OrderKind.RELEASE, "a0")
    here.run(60)
    assert {"gpus_free", "gpu_cordoned"} <= set(here.sink.names())
    assert set(here.cordoned()) == {"a1", "b0"}


def test_the_budget_is_for_gpus_too() -> None:
    here = cards(budget_actions=1)
    here.say("a0", xid48=1)
    here.run(40)
    here.say("b0", xid48=1)
    here.run(120)

    assert "a0" not in here.on().values()
    assert list(here.on().values()).count("b0") >= 1, "the second one serves on where it is"
    assert "fuse_blown" in here.sink.names()
    here.store.give_order(Order(OrderKind.RELEASE, f"pool/{POOL}", here.clock.now()))
    here.run(60)
    assert "b0" not in here.on().values()


def test_a_person_may_cordon_or_empty_one() -> None:
    here = cards()
    before = here.on()
    here.order(OrderKind.CORDON, "a0")
    here.metrics.gateway[POOL] = 24
    here.run(60)
    assert list(here.on().values()).count("a0") == 1, "what runs there stays"
    assert here.sink.reports[-1].cordoned == {("a", "GPU-a0", "Ordered")}

    here.metrics.gateway[POOL] = 16
    here.order(OrderKind.DRAIN, "b0")
    here.run(200)
    assert len(here.routed()) == 4
    assert "b0" not in here.on().values()
    assert set(before) != set(here.on())


def test_no_room_anywhere_says_why_for_each() -> None:
    here = cards(replace(SCALING, gpu_memory_bytes=30 * GIB))
    here.metrics.gateway[POOL] = 24
    here.run(60)
    assert here.ticker.latest is not None
    told = [reason.text for reason in here.ticker.latest.plan.standing[POOL] if reason.code == "NoGpuFits"]

    assert told[0].startswith("cannot scale: no GPU with 30 GiB free (GPU-a0 of a has 22 GiB; GPU-a1 of a has 22 GiB; ")


@pytest.mark.parametrize("kind", [OrderKind.CORDON, OrderKind.DRAIN])
def test_an_order_stands_until_it_is_withdrawn(kind: OrderKind) -> None:
    here = cards()
    here.order(kind, "a0")
    here.run(100)

    assert [(order.kind, order.subject) for order in here.store.orders()] == [(kind, "gpu/GPU-a0")]


@pytest.mark.parametrize("told", [{"xid48": 1}, {"xid79": 1}], ids=["emptied", "gone"])
def test_killed_at_any_step_the_next_controller_goes_on_with_the_same_gpus(told: dict[str, float]) -> None:
    """Each replica is on one GPU, none has more than it holds, and the broken one is neither forgotten nor used."""
    whole, counter = cards(), Killer()
    whole.say("b0", **told)
    assert not play(whole, counter, 30)
    assert len(counter.steps) > 5, counter.steps

    for number in range(len(counter.steps)):
        here = cards()
        here.say("b0", **told)
        assert play(here, Killer(number), 40), "it was killed"
        where = f"killed before step {number}, {counter.steps[number]}"
        assert here.cordoned() == whole.cordoned(), where
        assert len(here.routed()) == len(here.running()) == 4, where
        assert "b0" not in here.on().values(), where
        assert max(Counter(here.on().values()).values()) <= 2, where
        names = {name: known.gpu.removeprefix("GPU-") for name, known in here.store.load().replicas.items()}
        assert names == here.on(), where
        assert here.sink.names().count("gpu_cordoned") <= 1, where


def test_a_start_on_a_gpu_that_goes_says_nothing_of_what_starts() -> None:
    here = cards()
    here.metrics.gateway[POOL] = 24
    before = here.on()
    here.run(1)
    new = {gpu for name, gpu in here.on().items() if name not in before}
    assert new
    here.memory.lost.add(f"GPU-{min(new)}")
    here.say(min(new), stoker_gpu_lost=1)
    here.run(2)

    assert here.store.load().pools[POOL].start_failures == 0
    here.run(20)
    assert len(here.routed()) == 6, "it is started elsewhere at once"


def test_a_new_controller_knows_the_gpus_of_a_node_that_is_silent() -> None:
    here = cards()
    before = here.on()
    here.runtimes[NodeName("b")].down = True
    here.controller()
    here.run(4)

    assert {name: known.gpu for name, known in here.store.load().replicas.items()} == {
        name: f"GPU-{gpu}" for name, gpu in before.items()
    }


def test_the_only_replica_leaves_at_once_with_its_gpu() -> None:
    here = Cards(policy=PoolPolicy(POOL, "llama", replace(SCALING, floor=1, ceiling=1)), nodes=("a", "b"))
    here.load = 1
    here.up()
    (gpu,) = here.on().values()
    here.memory.lost.add(f"GPU-{gpu}")
    here.say(gpu, stoker_gpu_lost=1)
    here.run(1)

    assert here.routed() == [], "a question of looks it is not"
    here.run(20)
    assert len(here.routed()) == 1
