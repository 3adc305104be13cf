"""What a pool remembers of its starts: those that failed in a row, and how long the others took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from controller.core import starts
from controller.core.decision import StateChange
from controller.core.judging import Mine
from controller.core.model import ColdStart, PoolMemory, ReplicaMemory
from controller.core.model import ReplicaState as S
from controller.core.policy import HealthPolicy
from controller.core.reason import Reason, ReasonCode
from tests.fakes.clock import START
from tests.unit.core.build import POOL, memory, replica
from tests.unit.core.play import policy_of

POLICY = policy_of(3, spec="v2", health=HealthPolicy(quarantine_after=5))
WHY = Reason(ReasonCode.CONTAINER_EXITED, "it exited")
Change = tuple[S | None, S]


def ago(seconds: float) -> datetime:
    return START - timedelta(seconds=seconds)


def changed(changes: Sequence[Change], **known: object) -> Mine:
    """Replicas that went from one state to another in this tick."""
    judged, told = [], []
    for number, (was, now) in enumerate(changes, 1):
        first = START if was is S.STARTING and now is S.READY else None
        values = {"spec_hash": "v2", "ready_at": first} | known
        after = memory(f"llama-{number}", now, START, **values)
        judged.append((replica(f"llama-{number}", was), after))
        told.append(StateChange(after.replica, POOL, was, now, WHY))
    return Mine(judged, told)


@dataclass(frozen=True)
class Case:
    """`failed` starts are remembered, `want` after this tick."""

    name: str
    changes: Sequence[Change]
    want: int
    failed: int = 0
    known: dict[str, object] = field(default_factory=dict)
    pool: dict[str, object] = field(default_factory=dict)


DIES, HANGS, COMES = (S.STARTING, S.STOPPED), (S.STARTING, S.UNREADY), (S.STARTING, S.READY)
FELL, HUNG = (S.READY, S.STOPPED), (S.SUSPECT, S.UNREADY)
ROLLS: dict[str, object] = {"good_spec": "v1", "tried_spec": "v2"}
YOUNG: dict[str, object] = {"ready_at": ago(9)}

CASES = [
    Case("one exits", [DIES], 1),
    Case("its deadline is over", [HANGS], 1),
    Case("found dead", [(None, S.STOPPED)], 1),
    Case("two at once", [DIES, DIES], 2),
    Case("in a row", [DIES], 4, 3),
    Case("one is ready", [COMES], 0, 4),
    Case("one is ready, and another one fails", [COMES, DIES], 1, 4),
    Case("an old one is ready again", [(S.UNREADY, S.READY)], 4, 4, {"ready_at": ago(60)}),
    Case("an old one was suspect for a moment", [(S.SUSPECT, S.READY)], 4, 4, {"ready_at": ago(60)}),
    Case("one that was too late gets ready after all", [(S.UNREADY, S.READY)], 0, 4, {"ready_at": START}),
    Case("one that had served", [FELL], 2, 2),
    Case("a hung one is killed", [(S.UNREADY, S.STOPPED)], 2, 2),
    Case("it was asked to stop", [DIES], 2, 2, {"terminated_at": START}),
    Case("a drained one", [(S.DRAINING, S.STOPPED)], 2, 2, {"terminated_at": START}),
    Case("kept by a person", [(S.STARTING, S.QUARANTINED)], 2, 2),
    Case("nothing happened", [], 2, 2),
    # while a new spec is rolled out
    Case("a new one dies in its bake", [FELL], 1, 0, YOUNG, ROLLS),
    Case("a new one hangs in its bake", [HUNG], 1, 0, YOUNG, ROLLS),
    Case("it had baked", [FELL], 0, 0, {"ready_at": ago(10)}, ROLLS),
    Case("one that is ready is no proof yet", [COMES], 1, 1, {}, ROLLS),
    Case("an old one dies", [FELL], 0, 0, YOUNG | {"spec_hash": "v1"}, ROLLS),
    Case("an old one that still started", [DIES], 0, 0, {"spec_hash": "v1"}, ROLLS),
    Case("one that is left of a refused spec", [DIES], 0, 0, {}, {"good_spec": "v1", "tried_spec": "v1"}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_failed_starts(case: Case) -> None:
    at = ago(60) if case.failed else None
    pool = PoolMemory(POOL, 3, start_failures=case.failed, last_start_failure_at=at, **case.pool)  # type: ignore[arg-type]

    after = starts.remember(POLICY, pool, changed(case.changes, **case.known), START)

    assert after.start_failures == case.want
    last = None if after.start_failures == 0 and case.failed else START if case.want not in (0, case.failed) else at
    assert after.last_start_failure_at == last


def test_the_fifth_in_a_row_is_a_crash_loop_since_then() -> None:
    four = PoolMemory(POOL, 3, start_failures=4)

    fifth = starts.remember(POLICY, four, changed([DIES]), START)
    sixth = starts.remember(POLICY, fifth, changed([DIES]), START + timedelta(minutes=5))

    assert (fifth.start_failures, fifth.quarantined_since) == (5, START)
    assert (sixth.start_failures, sixth.quarantined_since) == (6, START)
    assert starts.remember(POLICY, sixth, changed([COMES]), START).quarantined_since is None


def test_starts_that_the_runtime_refused_lead_to_it_as_well() -> None:
    """They are counted between two ticks."""
    five = PoolMemory(POOL, 3, start_failures=5)

    assert starts.remember(POLICY, five, Mine([], []), START).quarantined_since == START


def learned(pool: PoolMemory, took_s: float, **known: object) -> PoolMemory:
    one: dict[str, object] = {"ready_at": START, "cold_start": ColdStart(took_s)} | known
    return starts.remember(POLICY, pool, changed([COMES], **one), START)


def test_cold_starts_are_learned() -> None:
    first = learned(PoolMemory(POOL, 3), 10)
    second = learned(first, 20)

    assert first.cold_start_s == 10
    assert second.cold_start_s == pytest.approx(13)
    assert [start.total_s for start in second.cold_starts] == [10, 20]


@pytest.mark.parametrize("known", [{"ready_at": ago(60)}, {"cold_start": None}])
def test_what_is_no_cold_start_teaches_nothing(known: dict[str, object]) -> None:
    pool = PoolMemory(POOL, 3, cold_start_s=10.0)

    assert learned(pool, 20, **known) == pool


def of(name: str, state: S) -> tuple[object, ReplicaMemory]:
    seen = replica(name, state)
    assert seen.memory is not None
    return seen, seen.memory


def test_a_pool_that_is_not_known_has_the_size_that_is_found() -> None:
    states = [S.STARTING, S.READY, S.SUSPECT, S.UNREADY, S.DRAINING, S.STOPPED, S.QUARANTINED]
    mine = Mine([of(f"llama-{number}", state) for number, state in enumerate(states, 1)], [])  # type: ignore[misc]

    assert starts.adopt(POOL, mine) == PoolMemory(POOL, 3, 8)


def test_numbering_goes_on_from_the_highest() -> None:
    odd = replace(of("llama-x", S.READY)[1], pool=POOL)
    mine = Mine([of("llama-7", S.STOPPED), (replica("llama-x"), odd)], [])  # type: ignore[list-item]

    assert starts.adopt(POOL, mine).next_ordinal == 8
    assert starts.adopt(POOL, Mine([], [])) == PoolMemory(POOL, 0, 1)


@pytest.mark.parametrize(
    ("ready_s", "failed_s", "left"),
    [
        pytest.param(11, 20, 0, id="it has served for its bake, since the last one failed"),
        pytest.param(9, 20, 1, id="it still has to show what it is worth"),
        pytest.param(30, 20, 1, id="it was ready before the last one failed"),
    ],
)
def test_one_of_the_new_spec_that_has_baked_ends_the_row_of_those_that_failed(
    ready_s: float, failed_s: float, left: int
) -> None:
    serving = memory("llama-1", S.READY, spec_hash="v2", ready_at=ago(ready_s))
    before = PoolMemory(
        POOL, 3, 9, start_failures=1, last_start_failure_at=ago(failed_s), good_spec="v1", tried_spec="v2"
    )

    after = starts.remember(POLICY, before, Mine([(replica("llama-1"), serving)], []), START)
    assert after.start_failures == left
