"""One step of a rollout: what is wanted, what is remembered, whose turn it is, and when the new spec is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from controller.core import rollout
from controller.core.model import PoolMemory, PoolReadings, ReplicaMemory, Signal
from controller.core.model import ReplicaState as S
from controller.core.policy import PoolPolicy, RolloutPolicy
from controller.core.reason import ReasonCode as R
from tests.fakes.clock import START
from tests.unit.core.build import POOL, memory, readings
from tests.unit.core.play import policy_of

BAKE = RolloutPolicy(bake=timedelta(seconds=10), failed_starts=2)
POLICY = policy_of(3, spec="v2", rollout=BAKE)


def ago(seconds: float) -> datetime:
    return START - timedelta(seconds=seconds)


def known(good: str = "v1", desired: int = 3, **more: object) -> PoolMemory:
    values = {"good_spec": good, "tried_spec": "v2"} | more
    return PoolMemory(POOL, desired, **values)  # type: ignore[arg-type]


def made(
    specs: str, ready_s: float = 60, states: Sequence[S] = (), retiring: Sequence[int] = ()
) -> list[ReplicaMemory]:
    """Replicas of the specs v1, v2, ... for "12..." in the order of their ages, ready for so long."""
    found = []
    for number, spec in enumerate(specs, 1):
        state = states[number - 1] if states else S.READY
        more = {"retiring_since": START} if number in retiring else {}
        created = ago(1000 - number)
        one = memory(f"llama-{number}", state, created_at=created, ready_at=ago(ready_s), spec_hash=f"v{spec}", **more)
        found.append(one)
    return found


def decided(
    pool: PoolMemory, mine: list[ReplicaMemory], errors: Sequence[float | None] = (), policy: PoolPolicy = POLICY
) -> rollout.Rollout:
    seen = readings(None, {Signal.ERRORS: errors}) if errors else PoolReadings()
    return rollout.decide_rollout(policy, pool, mine, seen, START)


@dataclass(frozen=True)
class Case:
    """`want` is the spec of new replicas, `turn` the number of the replica to replace."""

    name: str
    specs: str
    want: str = "v2"
    turn: int | None = None
    good: str = "v1"
    left: str = "v1"
    refused: str = ""
    pool: dict[str, object] = field(default_factory=dict)
    ready_s: float = 60
    states: Sequence[S] = ()
    retiring: Sequence[int] = ()
    errors: Sequence[float | None] = ()
    now_refused: str = ""


REFUSED: dict[str, object] = {"refused_spec": "v2", "why_refused": "it was bad", "tried_spec": "v1"}
CASES = [
    Case("all are as wanted", "222", good="v2", left="v2"),
    Case("the oldest first", "111", turn=1),
    Case("then the next", "211", turn=2),
    Case("what starts is not asked", "111", turn=2, states=(S.STARTING, S.READY, S.READY), pool={"desired": 2}),
    Case("a suspect is", "111", turn=1, states=(S.SUSPECT, S.READY, S.READY)),
    Case("a new one that bakes", "211", ready_s=9.9),
    Case("a new one that has baked", "211", turn=2, ready_s=10),
    Case("one more than desired goes anyway", "2111"),
    Case("one less is as good a time", "11", turn=1),
    Case("the last one has been replaced", "222", left="v2"),
    Case("not while one is still to go", "222", retiring=[1]),
    Case("not before there are enough", "22"),
    Case("not while an old one serves", "2221"),
    Case("to zero", "", pool={"desired": 0}),
    Case("a new pool has no way back", "222", good="", left="v2"),
    Case("the database was lost: what serves is good", "11", turn=1, good="", left="v1"),
    Case("most of what serves is", "1122", turn=1, good="", left="v1", pool={"desired": 4}),
    Case("nothing serves", "", good="", left=""),
    # the way back
    Case("two starts failed", "111", "v1", pool={"start_failures": 2}, now_refused="v2"),
    Case("one did", "111", turn=1, pool={"start_failures": 1}),
    Case("there is no way back", "", good="", left="", pool={"start_failures": 9}),
    Case("nor from the good one", "22", good="v2", left="v2", pool={"start_failures": 9}),
    Case("its errors stand out", "211", "v1", 1, errors=(0.05, 0.02, 0.02), now_refused="v2"),
    Case("they are twice the others'", "211", turn=2, errors=(0.04, 0.02, 0.02)),
    Case("a few are no reason", "211", turn=2, errors=(0.01, 0, 0)),
    Case("a few more are", "211", "v1", 1, errors=(0.011, 0, 0), now_refused="v2"),
    Case("nobody knows of its errors", "211", turn=2, errors=(None, 0, 0)),
    Case("nobody knows of the others'", "211", turn=2, errors=(0.9, None, None)),
    Case("there are no others", "222", left="v2", errors=(0.9, 0.9, 0.9)),
    Case("it was refused", "111", "v1", pool=REFUSED, now_refused="v2"),
    Case("it was, and one is left", "121", "v1", 2, pool=REFUSED, now_refused="v2"),
    Case("nothing has to bake on the way back", "121", "v1", 2, pool=REFUSED, ready_s=1, now_refused="v2"),
    Case("it is not refused twice", "121", "v1", 2, pool=REFUSED, errors=(0, 0.9, 0), now_refused="v2"),
    Case("another one had been", "111", turn=1, pool=REFUSED | {"refused_spec": "v0"}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_decide_rollout(case: Case) -> None:
    mine = made(case.specs, case.ready_s, case.states, case.retiring)

    found = decided(known(case.good, **({"desired": 3} | case.pool)), mine, case.errors)  # type: ignore[arg-type]

    assert found.spec == case.want
    assert (found.wish[0].replica if found.wish else None) == (f"llama-{case.turn}" if case.turn else None)
    assert (found.memory.good_spec, found.memory.refused_spec) == (case.left, case.now_refused)
    assert found.memory.tried_spec == case.want
    assert [reason.code for reason in found.told] == ([R.ROLLED_BACK] if case.now_refused else [])


def test_a_pool_without_a_spec_is_left_alone() -> None:
    pool = PoolMemory(POOL, 3)

    assert decided(pool, made("111"), policy=policy_of(3)) == rollout.Rollout("", pool)


def test_another_spec_forgets_the_failures_of_the_one_before() -> None:
    failed = {"start_failures": 5, "last_start_failure_at": START, "quarantined_since": START}

    forgotten = decided(known(tried_spec="v1", **failed), made("111")).memory
    kept = decided(known("v2", tried_spec="v2", **failed), made("22")).memory
    new = decided(known("v2", tried_spec="", **failed), made("22")).memory

    assert (forgotten.start_failures, forgotten.last_start_failure_at, forgotten.quarantined_since) == (0, None, None)
    assert (kept.start_failures, kept.quarantined_since) == (5, START)
    assert (new.start_failures, new.tried_spec) == (5, "v2"), "nothing says that they were of another one"


def test_the_way_back_begins_without_the_failures_that_led_to_it() -> None:
    back = decided(known(start_failures=2, last_start_failure_at=START), made("111")).memory

    assert (back.refused_spec, back.tried_spec, back.start_failures) == ("v2", "v1", 0)


def test_a_rollout_that_is_done_leaves_no_failed_start_behind() -> None:
    done = decided(known(start_failures=1, last_start_failure_at=START), made("222")).memory

    assert (done.good_spec, done.start_failures, done.last_start_failure_at) == ("v2", 0, None)


def test_the_sentences() -> None:
    rolling = decided(known(), made("211"))
    failed = decided(known(start_failures=2), made("111"))
    errors = decided(known(), made("211"), (0.3, 0.02, 0.04))

    assert rolling.wish is not None
    assert rolling.wish[1].code is R.SPEC_CHANGED
    assert rolling.wish[1].text == "it is made of spec v1, v2 is wanted; 1 of 3 are replaced"
    assert rolling.wish[1].numbers == {"done": 1, "serving": 3}
    assert failed.told[0].text == "spec v2 was rolled back to v1: 2 replicas of it in a row failed"
    assert errors.told[0].text == ("spec v2 was rolled back to v1: 30 % of its requests failed, 3 % of the old spec's")


BAKING = [
    pytest.param("v1", "", "2", 9.9, True, id="it bakes"),
    pytest.param("v1", "", "2", 10, False, id="it has baked"),
    pytest.param("v1", "", "1", 1, False, id="an old one"),
    pytest.param("v2", "", "2", 1, False, id="nothing is rolled out"),
    pytest.param("", "", "2", 1, False, id="there is no way back"),
    pytest.param("v1", "v2", "2", 1, False, id="it was refused"),
]


@pytest.mark.parametrize(("good", "refused", "spec", "ready_s", "want"), BAKING)
def test_baking(good: str, refused: str, spec: str, ready_s: float, want: bool) -> None:
    (one,) = made(spec, ready_s)

    assert rollout.baking(POLICY, known(good, refused_spec=refused), one, START) is want


def test_one_that_was_never_ready_does_not_bake() -> None:
    one = memory("llama-1", S.STARTING, spec_hash="v2")

    assert not rollout.baking(POLICY, known(), one, START)


def test_the_wanted_spec() -> None:
    assert rollout.wanted_spec(POLICY, known()) == "v2"
    assert rollout.wanted_spec(POLICY, known(refused_spec="v2")) == "v1"
    assert rollout.wanted_spec(POLICY, known("", refused_spec="v2")) == "v2", "there is nothing to go back to"
    assert rollout.wanted_spec(POLICY, known(refused_spec="v0")) == "v2"
