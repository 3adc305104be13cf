"""fold_health: every way from one state to another, and every way to stay."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest

from controller.core.decision import ReasonCode
from controller.core.health import fold_health
from controller.core.model import ContainerState, LauncherPhase, Replica, ReplicaState
from controller.core.policy import HealthPolicy
from tests.fakes.clock import START
from tests.unit.core.build import probe, replica

POLICY = HealthPolicy(failures=3, cold_start_deadline=timedelta(seconds=300))
S = ReplicaState
EXITED = ContainerState.EXITED


@dataclass(frozen=True)
class Case:
    name: str
    replica: Replica
    want: ReplicaState
    why: ReasonCode | None
    age_s: float = 10


CASES = [
    Case("first sight", replica("llama-1", None), S.STARTING, ReasonCode.CONTAINER_STARTED),
    Case("first sight, ready already", replica("llama-1", None, probe(True)), S.READY, ReasonCode.PROBE_PASSED),
    Case("first sight, dead already", replica("llama-1", None, runs=EXITED), S.EXITED, ReasonCode.CONTAINER_EXITED),
    Case(
        "created and never started",
        replica("llama-1", None, runs=ContainerState.CREATED),
        S.EXITED,
        ReasonCode.NEVER_STARTED,
    ),
    Case("no probe yet keeps starting", replica("llama-1", S.STARTING), S.STARTING, None),
    Case("no probe yet keeps ready", replica("llama-1", S.READY), S.READY, None),
    Case("one pass makes ready", replica("llama-1", S.STARTING, probe(True)), S.READY, ReasonCode.PROBE_PASSED),
    Case("one failure", replica("llama-1", S.READY, probe(False, 1)), S.READY, None),
    Case("two failures", replica("llama-1", S.READY, probe(False, 2)), S.READY, None),
    Case("three failures", replica("llama-1", S.READY, probe(False, 3)), S.UNREADY, ReasonCode.PROBES_FAILED),
    Case("recovers", replica("llama-1", S.UNREADY, probe(True)), S.READY, ReasonCode.PROBE_PASSED),
    Case("stays unready", replica("llama-1", S.UNREADY, probe(False, 9)), S.UNREADY, None),
    Case("failing while it starts", replica("llama-1", S.STARTING, probe(False, 99)), S.STARTING, None, age_s=300),
    Case(
        "cold-start deadline",
        replica("llama-1", S.STARTING, probe(False, 99)),
        S.UNREADY,
        ReasonCode.COLD_START_DEADLINE,
        age_s=300.1,
    ),
    Case(
        "never told where it listens",
        replica("llama-1", S.STARTING),
        S.UNREADY,
        ReasonCode.COLD_START_DEADLINE,
        age_s=300.1,
    ),
    Case(
        "adopted old one gets its three probes first",
        replica("llama-1", None, probe(False, 1)),
        S.STARTING,
        ReasonCode.CONTAINER_STARTED,
        age_s=9000,
    ),
    Case("killed", replica("llama-1", S.READY, probe(True), runs=EXITED), S.EXITED, ReasonCode.CONTAINER_EXITED),
    Case("drained out", replica("llama-1", S.DRAINING, runs=EXITED), S.EXITED, ReasonCode.CONTAINER_EXITED),
    Case("draining stays so, though ready", replica("llama-1", S.DRAINING, probe(True)), S.DRAINING, None),
    Case("draining stays so, though failing", replica("llama-1", S.DRAINING, probe(False, 9)), S.DRAINING, None),
    Case(
        "launcher failed at once",
        replica("llama-1", S.STARTING, probe(False, 1, phase=LauncherPhase.FAILED)),
        S.UNREADY,
        ReasonCode.LAUNCHER_FAILED,
    ),
    Case(
        "somebody else stopped it",
        replica("llama-1", S.READY, probe(False, 1, phase=LauncherPhase.DRAINING)),
        S.DRAINING,
        ReasonCode.LAUNCHER_DRAINING,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fold_health(case: Case) -> None:
    memory, reason = fold_health(case.replica, POLICY, START + timedelta(seconds=case.age_s))

    assert (memory.state, reason.code if reason else None) == (case.want, case.why)


def test_cold_start_is_measured_to_the_first_pass_and_kept() -> None:
    now = START + timedelta(seconds=7)
    first, _ = fold_health(replica("llama-1", S.STARTING, probe(True, at=now)), POLICY, now)
    assert first.ready_at == now

    later = now + timedelta(seconds=60)
    again, _ = fold_health(replica("llama-1", S.UNREADY, probe(True, at=later), ready_at=now), POLICY, later)
    assert (again.state, again.ready_at) == (S.READY, now)


def test_the_reason_names_the_numbers() -> None:
    _, reason = fold_health(replica("llama-1", S.READY, probe(False, 4, detail="no answer within 1 s")), POLICY, START)

    assert reason is not None
    assert reason.text == "4 probes in a row failed, 3 are allowed to: no answer within 1 s"
    assert reason.numbers == {"failed_in_a_row": 4.0, "threshold": 3.0}
