"""Which replica is recycled, what holds that back, and how its successor takes over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from controller.core.capacity import GIB
from controller.core.decision import Decision, Plan, Reason, ReasonCode, RecycleReplica, ScalePool
from controller.core.model import Gpu, PoolMemory, PoolReadings, Replica, ReplicaMemory, ReplicaState, Signal, Snapshot
from controller.core.planner import plan
from controller.core.policy import ErrorsPolicy, MemoryOf, MemoryPolicy, PoolPolicy, ScalingPolicy
from controller.core.recycle import decide_recycle, succeed
from controller.core.scaling import decide_scale
from tests.fakes.clock import START, FakeClock
from tests.unit.core.build import LONG_AGO, POOL, gpu, memory, only, probe, readings, replica, view

R, S = ReasonCode, ReplicaState
M, E, F = Signal.MEMORY, Signal.ERRORS, Signal.IN_FLIGHT
POLICY = only(F, M, E)
MINUTE = START - timedelta(seconds=60)
HALF = START - timedelta(seconds=30)
Values = Sequence[float | None]


def ago(seconds: float) -> datetime:
    return START - timedelta(seconds=seconds)


@dataclass(frozen=True)
class Case:
    name: str
    want: str | None = None
    why: tuple[R, ...] = ()
    memory: Values = ()
    errors: Values = ()
    since: dict[str, datetime] = field(default_factory=dict)
    desired: int = 3
    ready: int = 3
    starting: int = 0
    draining: int = 0
    last: datetime | None = None
    retiring: bool = False
    policy: ScalingPolicy = POLICY
    gpus: tuple[Gpu, ...] = ()


FULL = {"memory": (0.95, 0.5, 0.5), "since": {"memory/llama-1": MINUTE}}
ONE, TWO = {"memory/llama-1": MINUTE}, {"memory/llama-1": MINUTE, "memory/llama-2": MINUTE}
FAILS = {"errors/llama-2": HALF}
ALL_FAIL = {f"errors/llama-{number}": HALF for number in (1, 2, 3)}
ON_GPU = replace(POLICY, gpu_memory_bytes=18 * GIB)

CASES = [
    Case("nothing is wrong", memory=(0.5, 0.5, 0.5), errors=(0, 0, 0)),
    Case("memory above 90 % for a minute", "llama-1", (R.MEMORY_HIGH,), (0.912345, 0.5, 0.5), since=ONE),
    Case("for a second less", None, (), (0.91, 0.5, 0.5), since={"memory/llama-1": ago(59.9)}),
    Case("below again", None, (), (0.9, 0.5, 0.5), since=ONE),
    Case("unknown now", None, (), (None, 0.5, 0.5), since=ONE),
    Case("the fullest of two", "llama-2", (R.MEMORY_HIGH,), (0.92, 0.97, 0.5), since=TWO),
    Case("not the fullest, but for long enough", "llama-1", (R.MEMORY_HIGH,), (0.92, 0.99, 0.5), since=ONE),
    Case("memory is off", None, (), (0.99,) * 3, since=ONE, policy=only(F, E)),
    Case("errors of one", "llama-2", (R.ERRORS_STAND_OUT,), errors=(0.0, 0.011, 0.0), since=FAILS),
    Case("errors of one, not for long", None, (), errors=(0, 0.5, 0), since={"errors/llama-2": ago(29.9)}),
    Case("errors of one, its peers have half", None, (R.ERRORS_EVERYWHERE,), errors=(0.04, 0.08, 0.04), since=FAILS),
    Case(
        "its peers have a little less", "llama-2", (R.ERRORS_STAND_OUT,), errors=(0.04, 0.080012, 0.03903), since=FAILS
    ),
    Case("errors of all", None, (R.ERRORS_EVERYWHERE,), errors=(0.3, 0.3, 0.3), since=ALL_FAIL),
    Case("the worst of all stands out", "llama-3", (R.ERRORS_STAND_OUT,), errors=(0.02, 0.02, 0.9), since=ALL_FAIL),
    Case("its peers say nothing", None, (R.ERRORS_EVERYWHERE,), errors=(None, 0.5, None), since=FAILS),
    Case("it is alone", None, (R.ERRORS_EVERYWHERE,), (), (0.5,), {"errors/llama-1": HALF}, desired=1, ready=1),
    Case("errors are off", None, (), errors=(0, 0.5, 0), since=FAILS, policy=only(F, M)),
    Case(
        "full memory comes before errors",
        "llama-1",
        (R.MEMORY_HIGH,),
        (0.95, 0.5, 0.5),
        (0, 0.5, 0),
        ONE | FAILS,
    ),
    # what holds it back
    Case("another is being recycled", **FULL, retiring=True),
    Case("errors of all are told even then", None, (R.ERRORS_EVERYWHERE,), (), (0.3,) * 3, ALL_FAIL, retiring=True),
    Case("one was, less than five minutes ago", None, (R.MEMORY_HIGH, R.RECYCLE_HELD), **FULL, last=ago(298.765432)),
    Case("one was, five minutes ago", "llama-1", (R.MEMORY_HIGH,), **FULL, last=ago(300)),
    Case("one starts", None, (R.MEMORY_HIGH, R.RECYCLE_HELD), **FULL, desired=4, starting=1),
    Case("one is missing", None, (R.MEMORY_HIGH, R.RECYCLE_HELD), **FULL, desired=4),
    Case("one drains", None, (R.MEMORY_HIGH, R.RECYCLE_HELD), **FULL, draining=1),
    Case("no GPU has room", None, (R.MEMORY_HIGH, R.NO_GPU_FITS), **FULL, policy=ON_GPU, gpus=(gpu(0, 17),)),
    Case("a GPU has room", "llama-1", (R.MEMORY_HIGH,), **FULL, policy=ON_GPU, gpus=(gpu(0, 18),)),
    Case("nobody knows of a GPU", "llama-1", (R.MEMORY_HIGH,), **FULL, policy=ON_GPU),
]


def decided(
    case: Case, wish: tuple[ReplicaMemory, Reason] | None = None, *others: ReplicaMemory
) -> tuple[RecycleReplica | None, tuple[Reason, ...]]:
    seen = view(
        case.desired,
        readings({F: 12}, {M: case.memory, E: case.errors}),
        ready=case.ready,
        starting=case.starting,
        draining=case.draining,
        gpus=case.gpus,
        over_since=case.since,
        last_recycle_at=case.last,
    )
    _, context = decide_scale(seen, case.policy, START)
    mine = [memory("llama-9", S.READY, retiring_since=START)] if case.retiring else [memory("llama-1", S.READY)]
    return decide_recycle(context, [*mine, *others], wish)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_decide_recycle(case: Case) -> None:
    decision, told = decided(case)

    assert (decision.replica if decision else None) == case.want
    reasons = (*(decision.reasons if decision else ()), *told)
    assert tuple(reason.code for reason in reasons) == case.why
    assert decision is None or decision.pool == POOL


def test_the_reasons_name_the_numbers() -> None:
    by_name = {case.name: case for case in CASES}
    memory_high, _ = decided(by_name["memory above 90 % for a minute"])
    stands_out, _ = decided(by_name["its peers have a little less"])
    _, everywhere = decided(by_name["errors of all"])
    _, held = decided(by_name["one was, less than five minutes ago"])
    _, moving = decided(by_name["one starts"])
    _, draining = decided(by_name["one drains"])
    _, full = decided(by_name["no GPU has room"])

    assert memory_high is not None
    assert memory_high.reasons[0].text == "91.2 % of the container's memory is in use, above 90 % for 60 s"
    assert memory_high.reasons[0].numbers == {"memory": 0.9123, "threshold": 0.9}
    assert stands_out is not None
    assert stands_out.reasons[0].text == "8 % of its answers are errors, 3.95 % of its peers'"
    assert stands_out.reasons[0].numbers == {"errors": 0.08, "peers": 0.0395, "threshold": 0.01}
    assert everywhere[0].text == (
        "30 % of the answers of llama-3 are errors, and 30 % of its peers': more replicas would not help"
    )
    assert everywhere[0].numbers == {"errors": 0.3, "peers": 0.3, "threshold": 0.01}
    assert (held[1].text, held[1].numbers) == ("llama-1 is not recycled yet: one was 299 s ago", {"left_s": 1.235})
    assert moving[1].text == "llama-1 is not recycled while others start or drain"
    assert moving[1].numbers == {"moving": 1}
    assert draining[1].numbers == {"moving": 1}
    assert full[1].text == (
        "llama-1 is not recycled: cannot scale: no GPU with 18 GiB free (GPU-0 of local has 17 GiB)"
    )


def test_the_thresholds_are_those_of_the_policy() -> None:
    of_gpu = replace(POLICY, memory=MemoryPolicy(0.5, timedelta(seconds=5), MemoryOf.GPU))
    decision, _ = decided(Case("", memory=(0.6, 0, 0), since={"memory/llama-1": ago(5)}, policy=of_gpu))
    assert decision is not None
    assert decision.reasons[0].text == "60 % of the gpu's memory is in use, above 50 % for 5 s"

    strict = replace(POLICY, errors=ErrorsPolicy(0.2, timedelta(seconds=5)))
    assert decided(Case("", errors=(0, 0.19, 0), since={"errors/llama-2": ago(5)}, policy=strict)) == (None, ())
    often = replace(POLICY, recycle_interval=timedelta(seconds=10))
    assert decided(Case("", **FULL, last=ago(10), policy=often))[0] is not None


WISH = (memory("llama-2", S.READY), Reason(R.ORDERED, "it was ordered"))
WISHES = [
    # a wish comes first, and waits for no interval; but only while the pool is whole
    pytest.param(Case("", **FULL), "llama-2", (), id="before what is full"),
    pytest.param(Case("", last=ago(1)), "llama-2", (), id="just after another one"),
    pytest.param(Case("", desired=4), None, (R.ORDERED,), id="one is missing"),
    pytest.param(Case("", desired=4, starting=1), None, (R.ORDERED,), id="one starts"),
    pytest.param(Case("", draining=1), None, (R.ORDERED,), id="one drains"),
    pytest.param(Case("", retiring=True), None, (R.ORDERED,), id="another one is being replaced"),
    pytest.param(Case("", policy=ON_GPU, gpus=(gpu(0, 17),)), None, (R.ORDERED, R.NO_GPU_FITS), id="no room"),
    pytest.param(Case("", policy=ON_GPU, gpus=(gpu(0, 18),)), "llama-2", (), id="there is room"),
]


@pytest.mark.parametrize(("case", "want", "why"), WISHES)
def test_a_wish(case: Case, want: str | None, why: tuple[R, ...]) -> None:
    decision, told = decided(case, WISH)

    assert (decision.replica if decision else None) == want
    assert decision is None or decision.reasons == (WISH[1],)
    assert tuple(reason.code for reason in told) == why


SLOW = memory("llama-3", S.SUSPECT, code="SpeedStandsOut", why="it is slow")


@pytest.mark.parametrize(
    ("case", "known", "want", "why"),
    [
        pytest.param(Case(""), SLOW, "llama-3", (), id="at once"),
        pytest.param(Case("", **FULL), SLOW, "llama-3", (), id="before what is full"),
        pytest.param(Case("", last=ago(299)), SLOW, None, (R.SPEED_STANDS_OUT, R.RECYCLE_HELD), id="one was"),
        pytest.param(
            Case("", starting=1, desired=4), SLOW, None, (R.SPEED_STANDS_OUT, R.RECYCLE_HELD), id="one starts"
        ),
        pytest.param(Case(""), replace(SLOW, code="ProbeFailed"), None, (), id="suspect for something else"),
        pytest.param(Case(""), replace(SLOW, state=S.READY), None, (), id="it has another chance"),
        pytest.param(Case(""), replace(SLOW, retiring_since=START), None, (), id="it goes already"),
    ],
)
def test_one_that_is_slow(case: Case, known: ReplicaMemory, want: str | None, why: tuple[R, ...]) -> None:
    decision, told = decided(case, None, known)

    assert (decision.replica if decision else None) == want
    assert tuple(reason.code for reason in told) == why


SUCCEED = [
    # (state, retiring) of each, desired, who drains
    pytest.param([(S.READY, True), (S.READY, False), (S.READY, False)], 2, "llama-1", id="the others are enough"),
    pytest.param([(S.READY, True), (S.READY, False), (S.READY, False)], 3, None, id="one too few"),
    pytest.param([(S.READY, True), (S.READY, False), (S.STARTING, False)], 2, None, id="its successor still starts"),
    pytest.param([(S.READY, True), (S.DRAINING, False), (S.READY, False)], 1, None, id="one drains already"),
    pytest.param([(S.READY, False), (S.READY, False)], 1, None, id="none is recycled"),
    pytest.param([(S.UNREADY, True), (S.READY, False)], 1, None, id="it has failed meanwhile"),
    pytest.param([(S.READY, True)], 0, "llama-1", id="none is wanted"),
    pytest.param([(S.SUSPECT, True), (S.READY, False)], 1, "llama-1", id="a suspect goes, too"),
    pytest.param([(S.READY, True), (S.SUSPECT, False)], 1, "llama-1", id="a suspect is one of those that serve"),
    pytest.param([(S.READY, True), (S.QUARANTINED, False)], 1, None, id="what is kept serves nobody"),
]


@pytest.mark.parametrize(("states", "desired", "want"), SUCCEED)
def test_succeed(states: list[tuple[ReplicaState, bool]], desired: int, want: str | None) -> None:
    mine: list[ReplicaMemory] = [
        memory(f"llama-{number}", state, **({"retiring_since": START} if retiring else {}))
        for number, (state, retiring) in enumerate(states, 1)
    ]
    decision = succeed(mine, desired, "", START)

    assert (decision.replica if decision else None) == want
    if decision is not None:
        others = sum(1 for state, retiring in states if state in (S.READY, S.SUSPECT) and not retiring)
        (reason,) = decision.reasons
        assert decision.pool == POOL
        assert reason.code is R.SUCCESSOR_READY
        assert reason.text == f"{others} others serve, {desired} are desired"
        assert reason.numbers == {"others": others, "desired": desired}


# --- over several ticks


def told(decisions: Sequence[Decision]) -> list[str]:
    return [f"{item.kind} {item.replica}" for item in decisions if not isinstance(item, ScalePool)]


def ticked(made: Plan | None, seen: Sequence[Replica], readings_: PoolReadings, now: datetime) -> Plan:
    known = made.memory.pools[POOL] if made else PoolMemory(POOL, 3, next_ordinal=4, history_since=LONG_AGO)
    return plan(Snapshot(now, 1, tuple(seen), {POOL: known}, {POOL: readings_}), (PoolPolicy(POOL, "llama", POLICY),))


def test_new_first_and_one_at_a_time() -> None:
    clock, made = FakeClock(), None
    serving = {f"llama-{number}": replica(f"llama-{number}", S.READY, probe(True, 5)) for number in (1, 2, 3)}
    seen = list(serving.values())
    full = {M: (0.95, 0.94, 0.5)}

    def tick(advance_s: float) -> list[str]:
        nonlocal made
        now = clock.advance(advance_s)
        made = ticked(made, seen, readings({F: 12}, full, now=now), now)
        by_name = made.memory.replicas
        seen[:] = [replace(item, memory=by_name[item.container.replica]) for item in seen]
        return told(made.decisions)

    assert tick(0) == []
    assert tick(59) == []
    assert tick(1) == ["recycle_replica llama-1", "start_replica llama-4"]
    assert sorted(made.gateway.replicas()) == ["llama-1", "llama-2", "llama-3"], "it serves on"
    seen.append(replica("llama-4", None, probe(False, 1)))
    assert tick(2) == []
    seen[-1] = replica("llama-4", S.STARTING, probe(True), routed=False)
    assert tick(2) == ["drain_replica llama-1"]
    assert sorted(made.gateway.replicas()) == ["llama-2", "llama-3", "llama-4"]
    seen = [item for item in seen if item.container.replica != "llama-1"]
    full = {M: (None, 0.94, 0.5)}
    assert tick(10) == [], "the next one waits for five minutes"
    assert [reason.code for reason in made.standing[POOL]][-2:] == [R.MEMORY_HIGH, R.RECYCLE_HELD]
    assert tick(286) == ["recycle_replica llama-2", "start_replica llama-5"]
