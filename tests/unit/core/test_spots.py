"""On which node and GPU a replica starts: spread, promised memory, several nodes, and why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from controller.core.capacity import GIB, holds, no_room, short
from controller.core.decision import StartReplica
from controller.core.filling import Filling, Need, fill
from controller.core.gpus import GpuHealth
from controller.core.model import Gpu, GpuMemory, Node, NodeName, PoolMemory, PoolName, Replica, ReplicaMemory, Snapshot
from controller.core.model import ReplicaState as S
from controller.core.model import Signal as Sig
from controller.core.placement import Places, choose_spots, choose_victim, taken
from controller.core.planner import plan
from controller.core.policy import PoolPolicy
from controller.core.reason import ReasonCode as R
from controller.core.stock import stock
from tests.fakes.clock import START
from tests.unit.core.build import POOL, gpu, memory, node, only, probe, reading, replica

NEED = 18 * GIB
OTHER = PoolName("other")
A, B = node("a"), node("b")
POLICY = PoolPolicy(POOL, "llama", only(Sig.IN_FLIGHT, floor=3, ceiling=6, gpu_memory_bytes=NEED))
OTHERS = replace(POLICY, pool=OTHER, model="other", scaling=replace(POLICY.scaling, gpu_memory_bytes=4 * GIB))


def on(*places: str, pool: PoolName = POOL, **more: object) -> list[ReplicaMemory]:
    """A ready replica on each of these: `a0` is GPU-0 of node a."""
    state = more.pop("state", S.READY)
    return [
        replace(
            memory(f"{pool}-{at}", state, node=NodeName(place[0]), gpu=f"GPU-{place[1:]}", **more),  # type: ignore[arg-type]
            pool=pool,
        )
        for at, place in enumerate(places, 1)
    ]


def cards(**free: float | None) -> tuple[Gpu, ...]:
    """`a0=40`: GPU-0 of node a has 40 GiB free."""
    return tuple(gpu(int(name[1:]), gib, node=name[0]) for name, gib in free.items())


@dataclass
class Case:
    """`want`: a letter for the node and a digit for the GPU of each replica that finds a place."""

    name: str
    gpus: tuple[Gpu, ...]
    want: str
    count: int = 1
    nodes: Sequence[Node] = (A, B)
    there: Sequence[ReplicaMemory] = field(default_factory=list)
    need: int = NEED


CASES = [
    Case("the one that has room", cards(a0=10, a1=20), "a1"),
    Case("none has", cards(a0=10, a1=17.9), ""),
    Case("several on one, as its memory allows", cards(a0=40), "a0a0", 3),
    Case("spread over nodes first", cards(a0=80, a1=80, b2=20), "a0b2", 2),
    Case("then over GPUs", cards(a0=80, a1=80, b2=80), "a0b2a1b2", 4),
    Case("the fewest of the pool on a node", cards(a0=40, b1=40), "b1", there=on("a0")),
    Case("the fewest of the pool on a GPU", cards(a0=40, a1=40), "a1", there=on("a0")),
    Case("then the fewest of all", cards(a0=40, a1=40), "a1", there=on("a0", pool=OTHER)),
    Case("then the most free memory", cards(a0=20, a1=40), "a1"),
    Case("then by name", cards(a1=40, a0=40), "a0"),
    Case("what has stopped takes no place", cards(a0=40, a1=40), "a0", there=on("a0", state=S.STOPPED)),
    Case("what drains does", cards(a0=40, a1=40), "a1", there=on("a0", state=S.DRAINING)),
    Case("not one that is barred", (gpu(0, 80, node="a", barred="is cordoned"), *cards(a1=20)), "a1", 2),
    Case("a node without a GPU takes none", cards(a0=20), "a0", 2),
    Case("what is promised is gone", (gpu(0, 40, node="a", promised_bytes=NEED),), "a0", 2),
    Case("all of it is", (gpu(0, 20, node="a", promised_bytes=NEED),), ""),
    Case("one of which nothing is known takes none beside others", cards(a0=None, a1=20), "a1", 2),
    Case("where nobody tells of any, the fewest", cards(a0=None, a1=None), "a1a0a1", 3, there=on("a0")),
    Case("but none that is barred", (gpu(0, None, node="a", barred="is cordoned"), *cards(a1=None)), "a1a1", 2),
    Case("none is asked for", cards(a0=1), "ab", 2, need=0),
    Case("none is known at all", (), "ab", 2),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_choose_spots(case: Case) -> None:
    places = Places.of(tuple(case.nodes), case.there, case.gpus)

    found = choose_spots(places, POOL, case.count, case.need)
    assert "".join(f"{spot.node}{spot.gpu.removeprefix('GPU-')}" for spot in found) == case.want
    assert places.gpus == case.gpus, "to ask changes nothing"


def test_what_starts_for_one_pool_is_promised_to_it_for_the_next() -> None:
    places = Places.of((A,), [], cards(a0=40, a1=30))
    places = taken(places, OTHER, choose_spots(places, OTHER, 2, NEED), NEED)

    assert [gpu.promised_bytes // GIB for gpu in places.gpus] == [18, 18]
    assert [spot.gpu for spot in choose_spots(places, POOL, 9, NEED)] == ["GPU-0"]


HOLDS = [
    pytest.param(gpu(0, 17.9), 0, id="too small"),
    pytest.param(gpu(0, 54), 3, id="three"),
    pytest.param(gpu(0, 54, promised_bytes=1), 2, id="a byte of the third is promised"),
    pytest.param(gpu(0, 10, promised_bytes=NEED), 0, id="never less than none"),
    pytest.param(gpu(0, 54, barred="is cordoned"), 0, id="barred"),
]


@pytest.mark.parametrize(("one", "want"), HOLDS)
def test_holds(one: Gpu, want: int) -> None:
    assert holds(one, NEED) == want


def test_why_not() -> None:
    found = (
        gpu(0, 12.34, node="a"),
        gpu(1, 20, node="a", promised_bytes=NEED),
        gpu(2, None, node="b"),
        gpu(3, 80, node="b", barred="is cordoned: it is hot"),
        gpu(4, 20, node="b"),
    )

    assert no_room(NEED, found) == (
        "cannot scale: no GPU with 18 GiB free (GPU-0 of a has 12.34 GiB; GPU-1 of a has 20 GiB, of which 18 GiB are "
        "promised; the free memory of GPU-2 of b is not known; GPU-3 of b is cordoned: it is hot)"
    )
    assert no_room(NEED) == "cannot scale: no GPU with 18 GiB free"
    many = no_room(NEED, [gpu(number, 1) for number in range(10)])
    assert many.endswith("GPU-7 of local has 1 GiB; and 2 more)")


@pytest.mark.parametrize(
    ("uuid", "want"), [("GPU-1a2b3c4d-5e6f-7081", "GPU-1a2b3c4d"), ("MIG-1a2b3c4d-5e", "MIG-1a2b"), ("a", "a")]
)
def test_short_names(uuid: str, want: str) -> None:
    assert short(uuid) == want


def snapshot(*gpus: Gpu, nodes: tuple[Node, ...] = (A, B)) -> Snapshot:
    return Snapshot(START, 1, (), {}, {}, gpus=gpus, nodes=nodes)


def judged(*known: ReplicaMemory) -> list[tuple[Replica, ReplicaMemory]]:
    return [(replica(item.replica, item.state), item) for item in known]


READ_AT = START - timedelta(seconds=1)
PROMISES = [
    # replicas, GiB that are promised on GPU-0
    pytest.param(on("a0", state=S.STARTING, ready_at=None), 18, id="one that starts"),
    pytest.param(on("a0", "a0", state=S.STARTING, ready_at=None), 36, id="two"),
    pytest.param(on("a1", state=S.STARTING, ready_at=None), 0, id="on another"),
    pytest.param(on("a0", state=S.STARTING, ready_at=None, pool=OTHER), 4, id="each what its own pool needs"),
    pytest.param(on("a0", state=S.STARTING, ready_at=None, pool=PoolName("gone")), 0, id="of a pool that is gone"),
    pytest.param(on("a0", ready_at=READ_AT), 0, id="one that was ready when it was read"),
    pytest.param(on("a0", ready_at=READ_AT + timedelta(seconds=0.1)), 18, id="one that was not"),
    pytest.param(on("a0", state=S.UNREADY, ready_at=START), 0, id="one that failed has what it has"),
]


@pytest.mark.parametrize(("there", "gib"), PROMISES)
def test_promised_memory(there: list[ReplicaMemory], gib: int) -> None:
    found = stock(snapshot(*cards(a0=40, a1=40)), (POLICY, OTHERS), GpuHealth(), judged(*there))

    assert {one.uuid: one.promised_bytes // GIB for one in found}["GPU-0"] == gib


def test_the_stock_knows_what_is_barred_silent_and_not_ours() -> None:
    health = GpuHealth(
        {"GPU-0": GpuMemory("GPU-0", A.name), "GPU-7": GpuMemory("GPU-7", A.name)}, barred={"GPU-0": "is cordoned: old"}
    )
    stale = replace(gpu(3, 40, node="a"), free_bytes=reading(40 * GIB, 3.5))
    seen = snapshot(
        *cards(a0=40, b1=40, c2=40), stale, gpu(4, 40, node="d"), nodes=(A, node("b", 5), node("d", cordoned=True))
    )

    found = {one.uuid: (one.barred, one.free_bytes.value / GIB) for one in stock(seen, (POLICY,), health, [])}
    assert found == {
        "GPU-0": ("is cordoned: old", 40),
        "GPU-1": ("takes none: the engine of b gives no answer", 40),
        "GPU-3": ("", 0),
        "GPU-4": ("takes none: d is cordoned", 40),
        "GPU-7": ("", 0),
    }
    assert stock(snapshot(), (POLICY,), GpuHealth(), []) == ()


def filled(gpus: tuple[Gpu, ...], nodes: tuple[Node, ...] = (A, B), room: int | None = None) -> Filling:
    places = Places.of(nodes, [], gpus)
    return fill(Need(POLICY, PoolMemory(POOL, 3, 9), [], START, places, room=room))


def test_a_start_names_its_gpu_and_says_so() -> None:
    found = filled(cards(a0=20, b1=40))
    starts = [item for item in found.decisions if isinstance(item, StartReplica)]

    assert [(item.replica, item.node, item.gpu) for item in starts] == [
        ("llama-9", "a", "GPU-0"),
        ("llama-10", "b", "GPU-1"),
        ("llama-11", "b", "GPU-1"),
    ]
    assert starts[0].reasons[0].text == "0 of 3 replicas start or serve; it gets GPU-0 of a"
    assert found.held == ()


def test_what_finds_no_place_says_why() -> None:
    found = filled(cards(a0=20, b1=10), room=1)

    assert len(found.decisions) == 1
    assert [reason.code for reason in found.held] == [R.NO_GPU_FITS]
    assert found.held[0].text == "cannot scale: no GPU with 18 GiB free (GPU-1 of b has 10 GiB)"
    closed = filled(cards(a0=20), (node("a", cordoned=True),), room=0)
    assert [reason.code for reason in closed.held] == [R.NO_NODE]


def test_one_on_a_gpu_that_takes_no_more_goes_first() -> None:
    barred = (gpu(0, 10, node="a", barred="is cordoned: hot"), *cards(a1=10))
    first, second = on("a0", "a1")
    candidates = [
        (replica(known.replica, S.READY, probe(True, in_flight=held)), known)
        for known, held in ((first, 5), (second, 0))
    ]

    assert choose_victim(candidates, gpus=barred) == (first, "its GPU takes no more")
    assert choose_victim(candidates)[0] == second
    newer = [(seen, replace(known, spec_hash="v2" if known is first else "v1")) for seen, known in candidates]
    assert choose_victim(newer, "v2", barred)[1] == "its spec is not the wanted one"


def test_two_pools_in_one_tick_do_not_get_the_same_memory() -> None:
    scaling = replace(POLICY.scaling, floor=1, ceiling=1)
    policies = (replace(POLICY, scaling=scaling), replace(POLICY, pool=OTHER, model="other", scaling=scaling))

    made = plan(snapshot(*cards(a0=20)), policies)
    assert [(item.pool, item.gpu) for item in made.decisions if isinstance(item, StartReplica)] == [(POOL, "GPU-0")]
    told = {reason.code: reason.text for reason in made.standing[OTHER]}
    assert told[R.NO_GPU_FITS] == (
        "cannot scale: no GPU with 18 GiB free (GPU-0 of a has 20 GiB, of which 18 GiB are promised)"
    )


def test_a_pool_without_gpus_does_not_see_any() -> None:
    scaling = only(Sig.IN_FLIGHT, floor=2, ceiling=2)
    made = plan(snapshot(*cards(a0=1)), (PoolPolicy(POOL, "llama", scaling),))

    assert [(item.node, item.gpu) for item in made.decisions if isinstance(item, StartReplica)] == [
        ("a", ""),
        ("b", ""),
    ]
