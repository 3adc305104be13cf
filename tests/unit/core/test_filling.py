"""Bring the number of replicas to the desired one: what starts, what drains, and what holds that back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from controller.core.capacity import GIB
from controller.core.decision import DrainReplica, ReasonCode, StartReplica
from controller.core.filling import Filling, Need, fill
from controller.core.model import NodeName, PoolMemory, Replica, ReplicaId, ReplicaMemory, ReplicaState
from controller.core.placement import Places
from controller.core.policy import PoolPolicy
from tests.fakes.clock import START
from tests.unit.core.build import POOL, memory, node, only, probe, replica

R, S = ReasonCode, ReplicaState
POLICY = PoolPolicy(POOL, "llama", only(floor=3, ceiling=3, gpu_memory_bytes=18 * GIB))
READY, STARTS, HUNG, DRAINS, GONE = S.READY, S.STARTING, S.UNREADY, S.DRAINING, S.STOPPED
UNSURE, KEPT = S.SUSPECT, S.QUARANTINED


def judged(
    states: Sequence[S], retiring: Sequence[int] = (), busy: Sequence[int] = (), nodes: str = "", specs: str = ""
) -> list[tuple[Replica, ReplicaMemory]]:
    """`retiring` and `busy` are numbers of replicas; `nodes` and `specs` have a letter and a digit for each."""
    found = []
    for number, state in enumerate(states, 1):
        name = f"llama-{number}"
        more: dict[str, object] = {"retiring_since": START} if number in retiring else {}
        more |= {"node": nodes[number - 1]} if nodes else {}
        more |= {"spec_hash": f"v{specs[number - 1]}"} if specs else {}
        in_flight = 3 if number in busy else 0
        found.append((replica(name, state, probe(True, in_flight=in_flight)), memory(name, state, **more)))
    return found


@dataclass(frozen=True)
class Case:
    """`want`: the names of those that start (+) or drain (-)."""

    name: str
    states: Sequence[S]
    want: list[str]
    desired: int = 3
    held: tuple[R, ...] = ()
    surge: int | None = None
    room: int | None = None
    failures: int = 0
    failed_s: float = 0.0
    retiring: Sequence[int] = ()
    busy: Sequence[int] = field(default_factory=tuple)
    nodes: str = ""
    specs: str = ""
    spec: str = ""
    kept: Sequence[int] = ()
    loop: bool = False

    def fill(self) -> Filling:
        last = START - timedelta(seconds=self.failed_s) if self.failures else None
        known = PoolMemory(POOL, self.desired, 9, start_failures=self.failures, last_start_failure_at=last)
        known = known.but(quarantined_since=START if self.loop else None)
        seen = judged(self.states, self.retiring, self.busy, self.nodes, self.specs)
        places = Places.of(FLEET if self.nodes else ALONE, [item for _, item in seen])
        kept = frozenset(ReplicaId(f"llama-{number}") for number in self.kept)
        need = Need(POLICY, known, seen, START, places, self.surge, self.room, self.spec, kept, frozenset({LOST}))
        return fill(need)


# `s` gives no answer, `l` has given none for so long that it is lost.
LOST = NodeName("l")
ALONE = (node("local"),)
FLEET = (node("a"), node("b"), node("s", 5), node("l", 60))


CASES = [
    Case("as many as are desired", [READY] * 3, []),
    Case("one is missing", [READY, READY], ["+llama-9"]),
    Case("two are missing", [READY], ["+llama-9", "+llama-10"]),
    Case("one that starts counts", [READY, READY, STARTS], []),
    Case("one that failed does not", [READY, READY, HUNG], ["+llama-9"]),
    Case("one that exited does not", [READY, READY, GONE], ["+llama-9"]),
    Case("one that drains does not", [READY, READY, DRAINS], ["+llama-9"]),
    Case("one that is recycled does not", [READY, READY, READY], ["+llama-9"], retiring=[1]),
    Case("at most so many start at once", [], ["+llama-9", "+llama-10"], 3, (R.SURGE_LIMITED,), surge=2),
    Case("one that starts is one of those", [STARTS], ["+llama-9"], 3, (R.SURGE_LIMITED,), surge=2),
    Case("as many start as may", [STARTS, STARTS], [], 3, (R.SURGE_LIMITED,), surge=2),
    Case("more start than may", [STARTS, STARTS, STARTS], [], 4, (R.SURGE_LIMITED,), surge=2),
    Case("just as many as may", [READY], ["+llama-9", "+llama-10"], 3, surge=2),
    Case("there is room for one", [READY], ["+llama-9"], 3, (R.NO_GPU_FITS,), room=1),
    Case("there is room for all", [READY], ["+llama-9", "+llama-10"], 3, room=2),
    Case("there is no room", [READY, READY], [], 3, (R.NO_GPU_FITS,), room=0),
    Case("room for less than may start", [], ["+llama-9"], 3, (R.NO_GPU_FITS,), surge=2, room=1),
    Case("room for as many as may start", [], ["+llama-9", "+llama-10"], 3, (R.SURGE_LIMITED,), surge=2, room=2),
    Case("a start failed just now", [READY, READY], [], 3, (R.BACKOFF,), failures=1, failed_s=9.9),
    Case("it failed long enough ago", [READY, READY], ["+llama-9"], 3, failures=1, failed_s=10),
    Case("the second one waits for longer", [READY, READY], [], 3, (R.BACKOFF,), failures=2, failed_s=19.9),
    Case("and not for ever", [READY, READY], ["+llama-9"], 3, failures=2, failed_s=20),
    Case("one is too many: the one with nothing to do", [READY] * 4, ["-llama-3"], busy=[1, 2, 4]),
    Case("two are too many: one at a time", [READY] * 5, ["-llama-1"]),
    Case("too many, and one drains already", [READY] * 4 + [DRAINS], []),
    Case("too many: one that starts goes first", [READY, READY, READY, STARTS], ["-llama-4"], busy=[4]),
    Case("no serving one goes while it is needed", [READY, READY, READY, HUNG], []),
    Case("of those that start one goes, though few serve", [READY, STARTS, STARTS], ["-llama-2"], 2),
    Case("to zero", [READY], ["-llama-1"], 0),
    Case("none is wanted, none is there", [], [], 0),
    Case("the recycled one goes when the others are enough", [READY] * 4, ["-llama-2"], retiring=[2]),
    Case("it goes before one that is too many", [READY] * 5, ["-llama-2"], retiring=[2]),
    Case("it waits for the one that starts", [READY, READY, READY, STARTS], [], retiring=[2]),
    Case("it waits for the one that drains", [READY] * 4 + [DRAINS], [], retiring=[2]),
    Case("a suspect counts", [READY, READY, UNSURE], []),
    Case("one that a person keeps does not", [READY, READY, KEPT], ["+llama-9"]),
    # what is not healed any more
    Case("one that is kept counts", [READY, READY, HUNG], [], kept=[3]),
    Case("one of two is kept", [READY, HUNG, HUNG], ["+llama-9"], kept=[2]),
    Case("none goes for one that is kept", [READY, READY, READY, HUNG], [], kept=[4]),
    Case("nor does one that starts", [READY, READY, STARTS, HUNG], [], kept=[4]),
    Case("one goes where there are too many without it", [READY] * 4 + [HUNG], ["-llama-1"], kept=[5]),
    # several nodes
    Case("spread", [READY], ["+llama-9@b", "+llama-10@a"], nodes="a"),
    Case("what is lost does not count", [READY] * 3, ["+llama-9@a"], nodes="abl"),
    Case("what is silent does", [READY] * 3, [], nodes="abs"),
    Case("nor is the lost one too many", [READY] * 4, [], nodes="ablb"),
    Case("too many: not one that is out of reach", [READY] * 4, ["-llama-3"], nodes="sabb", busy=[4]),
    Case("all that could go are out of reach", [READY] * 4, [], 3, nodes="ssss"),
    Case("one that drains on a lost node", [READY] * 4 + [DRAINS], ["-llama-1"], nodes="aabbl"),
    Case("one that drains on a silent node", [READY] * 4 + [DRAINS], [], nodes="aabbs"),
    # specs
    Case("an outdated one goes first", [READY] * 4, ["-llama-2"], specs="2122", spec="v2", busy=[2]),
    Case(
        "none that serves for one that starts",
        [READY, READY, READY, STARTS],
        ["-llama-4"],
        specs="1112",
        spec="v2",
    ),
    Case("unless enough serve", [READY] * 4 + [STARTS], ["-llama-1"], specs="11222", spec="v2"),
    # starts that fail again and again
    Case("a crash loop waits for long", [READY], [], 3, (R.CRASH_LOOP,), failures=5, failed_s=299, loop=True),
    Case(
        "then one is tried",
        [READY],
        ["+llama-9"],
        3,
        (R.CRASH_LOOP, R.SURGE_LIMITED),
        failures=5,
        failed_s=300,
        loop=True,
    ),
    Case("one at a time", [READY, STARTS], [], 3, (R.CRASH_LOOP,), failures=5, failed_s=300, loop=True),
    Case("a pool that is whole says nothing of it", [READY] * 3, [], 3, failures=5, loop=True),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fill(case: Case) -> None:
    found = case.fill()
    starts = [item for item in found.decisions if isinstance(item, StartReplica)]
    named = [f"+{item.replica}" + (f"@{item.node}" if case.nodes else "") for item in starts]
    drains = [item.replica for item in found.decisions if isinstance(item, DrainReplica)]

    assert named + [f"-{name}" for name in drains] == case.want
    assert all(item.spec_hash == case.spec for item in starts)
    assert tuple(reason.code for reason in found.held) == case.held
    assert found.memory.next_ordinal == 9 + len(starts)
    assert all(item.pool == POOL for item in found.decisions)
    codes = {R.BELOW_DESIRED} if starts else {R.ABOVE_DESIRED, R.SUCCESSOR_READY}
    assert all(item.reasons[0].code in codes for item in found.decisions)


def reason_of(name: str):  # type: ignore[no-untyped-def]
    (case,) = [case for case in CASES if case.name == name]
    found = case.fill()
    return (found.held or found.decisions[-1].reasons)[0]


def test_the_reasons_name_the_numbers() -> None:
    told = {
        "one is missing": ("2 of 3 replicas start or serve", {"have": 2, "desired": 3}),
        "at most so many start at once": ("2 may start at once, 2 do", {"surge": 2}),
        "one that starts is one of those": ("2 may start at once, 2 do", {"surge": 2}),
        "as many start as may": ("2 may start at once, 2 do", {"surge": 2}),
        "there is room for one": ("cannot scale: no GPU with 18 GiB free", {"needed_bytes": 18 * GIB}),
        "a start failed just now": (
            "held for 10 s after 1 failed starts in a row",
            {"start_failures": 1, "backoff_s": 10},
        ),
        "the second one waits for longer": (
            "held for 20 s after 2 failed starts in a row",
            {"start_failures": 2, "backoff_s": 20},
        ),
        "one is too many: the one with nothing to do": (
            "4 replicas, 3 are desired; llama-3 goes because it has 0 in flight",
            {"have": 4, "desired": 3},
        ),
    }

    assert {name: (reason_of(name).text, reason_of(name).numbers) for name in told} == told


def test_nothing_else_of_the_memory_changes() -> None:
    known = PoolMemory(POOL, 3, 9, start_failures=2, last_start_failure_at=START - timedelta(hours=1), cold_start_s=4.0)

    def after(seen: list[tuple[Replica, ReplicaMemory]]) -> PoolMemory:
        return fill(Need(POLICY, known, seen, START, Places.of(ALONE, [item for _, item in seen]))).memory

    assert after([]) == replace(known, next_ordinal=12)
    assert after(judged([READY] * 3)) is known


def test_nowhere_to_start() -> None:
    known = PoolMemory(POOL, 3, 9)
    places = Places.of((node("a", cordoned=True), node("b", 7)), [])

    found = fill(Need(POLICY, known, judged([READY]), START, places))

    assert (found.decisions, found.memory) == ((), known)
    assert [reason.code for reason in found.held] == [R.NO_NODE]
    assert found.held[0].text == "no node can take a replica: a is cordoned; the engine of b gives no answer"


BAKES = [
    # (spec, ready for so many seconds) of the others, does the old one go
    pytest.param([("v2", 10), ("v1", 90), ("v1", 90)], True, id="the new one has baked"),
    pytest.param([("v2", 9.9), ("v1", 90), ("v1", 90)], False, id="it bakes"),
    pytest.param([("v2", 90), ("v2", 9.9), ("v1", 90)], False, id="one of them does"),
    pytest.param([("v3", 1), ("v1", 90), ("v1", 90)], True, id="one of neither spec does not matter"),
    pytest.param([("v2", 90), ("v2", 90)], False, id="too few"),
]


@pytest.mark.parametrize(("others", "goes"), BAKES)
def test_an_old_spec_goes_once_the_new_one_has_baked(others: list[tuple[str, float]], goes: bool) -> None:
    seen = judged([READY] * (len(others) + 1), retiring=[1], specs="1" * (len(others) + 1))
    for number, (spec, ready_s) in enumerate(others, 1):
        ready_at = START - timedelta(seconds=ready_s)
        seen[number] = (seen[number][0], replace(seen[number][1], spec_hash=spec, ready_at=ready_at))
    places = Places.of(ALONE, [item for _, item in seen])

    found = fill(Need(POLICY, PoolMemory(POOL, 3, 9), seen, START, places, spec="v2"))

    drains = [item.replica for item in found.decisions if isinstance(item, DrainReplica)]
    assert drains == (["llama-1"] if goes else [])
