"""Bring the number of replicas to the desired one: what starts, what drains, and what holds that back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from controller.core.capacity import GIB
from controller.core.decision import DrainReplica, ReasonCode, StartReplica
from controller.core.filling import Filling, Need, fill
from controller.core.model import PoolMemory, Replica, ReplicaMemory, ReplicaState
from controller.core.policy import PoolPolicy
from tests.fakes.clock import START
from tests.unit.core.build import POOL, memory, only, probe, replica

R, S = ReasonCode, ReplicaState
POLICY = PoolPolicy(POOL, "llama", only(floor=3, ceiling=3, gpu_memory_bytes=18 * GIB))
READY, STARTS, HUNG, DRAINS, GONE = S.READY, S.STARTING, S.UNREADY, S.DRAINING, S.EXITED


def judged(
    states: Sequence[S], retiring: Sequence[int] = (), busy: Sequence[int] = ()
) -> list[tuple[Replica, ReplicaMemory]]:
    """`retiring` and `busy` are numbers of replicas."""
    found = []
    for number, state in enumerate(states, 1):
        name = f"llama-{number}"
        more = {"retiring_since": START} if number in retiring else {}
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

    def fill(self) -> Filling:
        last = START - timedelta(seconds=self.failed_s) if self.failures else None
        known = PoolMemory(POOL, self.desired, 9, start_failures=self.failures, last_start_failure_at=last)
        seen = judged(self.states, self.retiring, self.busy)
        return fill(Need(POLICY, known, seen, START, self.surge, self.room))


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
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fill(case: Case) -> None:
    found = case.fill()
    starts = [item.replica for item in found.decisions if isinstance(item, StartReplica)]
    drains = [item.replica for item in found.decisions if isinstance(item, DrainReplica)]

    assert [f"+{name}" for name in starts] + [f"-{name}" for name in drains] == case.want
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

    assert fill(Need(POLICY, known, [], START)).memory == replace(known, next_ordinal=12)
    assert fill(Need(POLICY, known, judged([READY] * 3), START)).memory is known
