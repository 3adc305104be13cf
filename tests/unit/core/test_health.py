"""fold_health: every way from one state to another, and every way to stay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from controller.core.decision import Reason, ReasonCode
from controller.core.health import Evidence, fold_health
from controller.core.model import (
    Busy,
    ColdStart,
    ContainerState,
    LauncherPhase,
    NodeName,
    ProbeHistory,
    Replica,
    ReplicaState,
)
from controller.core.policy import HealthPolicy
from tests.fakes.clock import START
from tests.unit.core.build import probe, replica

POLICY = HealthPolicy(failures=3, cold_start_deadline=timedelta(seconds=300))
R, S = ReasonCode, ReplicaState
EXITED = ContainerState.EXITED


@dataclass(frozen=True)
class Case:
    name: str
    replica: Replica
    want: ReplicaState
    why: ReasonCode | None
    age_s: float = 10
    given: Evidence = Evidence()


NOTHING, KEPT, SILENT = Evidence(), Evidence(kept="to look at"), Evidence(silent=True)
ERRORS = Evidence(suspicion=Reason(R.ERRORS_STAND_OUT, "it fails more than its peers"))
SLOW = Evidence(suspicion=Reason(R.SPEED_STANDS_OUT, "it is slower than its peers"))
NOWHERE = {"engine": None}
FAILED, PASSED = R.PROBES_FAILED, R.PROBE_PASSED


def out_for(seconds: float, result: ProbeHistory | None = None) -> Replica:
    """One that left nginx for its errors so long before second 99."""
    since = START + timedelta(seconds=99 - seconds)
    return replica("llama-1", S.SUSPECT, result or probe(True), since=since, code="ErrorsStandOut")


def at_work(token_s: float = 10, at_s: float = 40) -> ProbeHistory:
    """Probed at that second it has a request, and made its newest token at `token_s`."""
    at, token = START + timedelta(seconds=at_s), START + timedelta(seconds=token_s)
    return probe(True, at=at, in_flight=1, last_token_at=token)


CASES = [
    Case("first sight", replica("llama-1", None), S.STARTING, ReasonCode.CONTAINER_STARTED),
    Case("first sight, ready already", replica("llama-1", None, probe(True)), S.READY, ReasonCode.PROBE_PASSED),
    Case("first sight, dead already", replica("llama-1", None, runs=EXITED), S.STOPPED, ReasonCode.CONTAINER_EXITED),
    Case(
        "created and never started",
        replica("llama-1", None, runs=ContainerState.CREATED),
        S.STOPPED,
        ReasonCode.NEVER_STARTED,
    ),
    Case("no probe yet keeps starting", replica("llama-1", S.STARTING), S.STARTING, None),
    Case("no probe yet keeps ready", replica("llama-1", S.READY), S.READY, None),
    Case("one pass makes ready", replica("llama-1", S.STARTING, probe(True)), S.READY, ReasonCode.PROBE_PASSED),
    Case("one failure", replica("llama-1", S.READY, probe(False, 1)), S.SUSPECT, ReasonCode.PROBE_FAILED),
    Case("two failures", replica("llama-1", S.SUSPECT, probe(False, 2)), S.SUSPECT, None),
    Case("three failures of a suspect", replica("llama-1", S.SUSPECT, probe(False, 3)), S.UNREADY, R.PROBES_FAILED),
    Case("a suspect that passes", replica("llama-1", S.SUSPECT, probe(True)), S.READY, ReasonCode.PROBE_PASSED),
    Case("a suspect of which nothing is heard", replica("llama-1", S.SUSPECT), S.SUSPECT, None),
    Case("three failures", replica("llama-1", S.READY, probe(False, 3)), S.UNREADY, ReasonCode.PROBES_FAILED),
    Case("recovers", replica("llama-1", S.UNREADY, probe(True)), S.READY, ReasonCode.PROBE_PASSED),
    Case("stays unready", replica("llama-1", S.UNREADY, probe(False, 9)), S.UNREADY, None),
    Case(
        "its node's clock is behind",
        replica("llama-1", S.STARTING, probe(False, 99), box={"created_at": START - timedelta(minutes=6)}),
        S.STARTING,
        None,
        age_s=20,
    ),
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
    Case("killed", replica("llama-1", S.READY, probe(True), runs=EXITED), S.STOPPED, ReasonCode.CONTAINER_EXITED),
    Case(
        "killed for memory",
        replica("llama-1", S.READY, runs=EXITED, box={"out_of_memory": True}),
        S.STOPPED,
        ReasonCode.OUT_OF_MEMORY,
    ),
    Case("a suspect is killed", replica("llama-1", S.SUSPECT, runs=EXITED), S.STOPPED, ReasonCode.CONTAINER_EXITED),
    Case("an unready one is killed", replica("llama-1", S.UNREADY, runs=EXITED), S.STOPPED, R.CONTAINER_EXITED),
    Case("what stopped stays so", replica("llama-1", S.STOPPED, probe(True)), S.STOPPED, None),
    Case(
        "its engine was killed for memory, and its launcher says so",
        replica("llama-1", S.READY, probe(False, 1, phase=LauncherPhase.FAILED), box={"out_of_memory": True}),
        S.UNREADY,
        ReasonCode.OUT_OF_MEMORY,
    ),
    Case("no address any more", replica("llama-1", S.READY, box=NOWHERE), S.UNREADY, ReasonCode.ADDRESS_LOST),
    Case("a suspect has no address any more", replica("llama-1", S.SUSPECT, box=NOWHERE), S.UNREADY, R.ADDRESS_LOST),
    Case("no address while it starts", replica("llama-1", S.STARTING, box=NOWHERE), S.STARTING, None),
    Case("no address, and its node is silent", replica("llama-1", S.READY, box=NOWHERE), S.READY, None, given=SILENT),
    Case("probes fail on a silent node", replica("llama-1", S.READY, probe(False, 3)), S.UNREADY, FAILED, given=SILENT),
    # what it has more of than its peers
    Case("errors stand out", replica("llama-1", S.READY, probe(True)), S.SUSPECT, R.ERRORS_STAND_OUT, given=ERRORS),
    Case("it is slow", replica("llama-1", S.READY, probe(True)), S.SUSPECT, R.SPEED_STANDS_OUT, given=SLOW),
    Case("they still do", out_for(29), S.SUSPECT, None, given=ERRORS, age_s=99),
    Case("no more, but it was out for 29 s only", out_for(29), S.SUSPECT, None, age_s=99),
    Case("no more, and it was out for 30 s", out_for(30), S.READY, ReasonCode.PROBE_PASSED, age_s=99),
    Case("still, after a minute", out_for(60), S.SUSPECT, None, given=ERRORS, age_s=99),
    Case("out, and its probes fail too", out_for(3, probe(False, 3)), S.UNREADY, R.PROBES_FAILED, age_s=99),
    Case("out, and a probe fails", out_for(60, probe(False, 1)), S.SUSPECT, None, age_s=99),
    Case(
        "suspect for a probe, and now for its errors",
        replica("llama-1", S.SUSPECT, probe(True), code="ProbeFailed"),
        S.SUSPECT,
        ReasonCode.ERRORS_STAND_OUT,
        given=ERRORS,
    ),
    Case("one that starts has no peers", replica("llama-1", S.STARTING, probe(True)), S.READY, PASSED, given=ERRORS),
    Case("nor has one that is out", replica("llama-1", S.UNREADY, probe(True)), S.READY, PASSED, given=ERRORS),
    # a person wants it kept
    *[
        Case(f"{state} is kept", replica("llama-1", state, probe(True)), S.QUARANTINED, R.QUARANTINED, given=KEPT)
        for state in (S.STARTING, S.READY, S.SUSPECT, S.UNREADY, S.DRAINING)
    ],
    Case("kept already", replica("llama-1", S.QUARANTINED, probe(False, 9)), S.QUARANTINED, None, given=KEPT),
    Case("kept, and it exits", replica("llama-1", S.QUARANTINED, runs=EXITED), S.QUARANTINED, None, given=KEPT),
    Case("what stopped before cannot be kept", replica("llama-1", S.STOPPED, runs=EXITED), S.STOPPED, None, given=KEPT),
    Case("released, and it passes", replica("llama-1", S.QUARANTINED, probe(True)), S.READY, ReasonCode.PROBE_PASSED),
    Case("released, and it fails", replica("llama-1", S.QUARANTINED, probe(False)), S.UNREADY, R.PROBES_FAILED),
    Case("released, and it is gone", replica("llama-1", S.QUARANTINED, runs=EXITED), S.STOPPED, R.CONTAINER_EXITED),
    Case("released, and nothing is heard of it", replica("llama-1", S.QUARANTINED), S.QUARANTINED, None),
    # work without a token
    Case(
        "stalled, though it passes", replica("llama-1", S.READY, at_work(), busy=Busy(START)), S.UNREADY, R.STALLED, 40
    ),
    Case("nearly", replica("llama-1", S.READY, at_work(10, 39.9), busy=Busy(START)), S.READY, None, 39.9),
    Case("it moves again", replica("llama-1", S.UNREADY, at_work(35), busy=Busy(START)), S.READY, PASSED, 40),
    Case("a suspect stalls", replica("llama-1", S.SUSPECT, at_work(), busy=Busy(START)), S.UNREADY, R.STALLED, 40),
    Case("one that drains may", replica("llama-1", S.DRAINING, at_work(), busy=Busy(START)), S.DRAINING, None, 40),
    Case("drained out", replica("llama-1", S.DRAINING, runs=EXITED), S.STOPPED, ReasonCode.CONTAINER_EXITED),
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
    memory, reason = fold_health(case.replica, POLICY, START + timedelta(seconds=case.age_s), case.given)

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


def test_two_passes_bring_it_back_where_two_are_asked_for() -> None:
    slow = HealthPolicy(passes=2)

    for state in (S.SUSPECT, S.UNREADY, S.STARTING, S.QUARANTINED):
        once, _ = fold_health(replica("llama-1", state, probe(True, 1)), slow, START)
        twice, _ = fold_health(replica("llama-1", state, probe(True, 2)), slow, START)
        assert (once.state, twice.state) == (state, S.READY)


def test_a_suspect_says_how_many_of_how_many() -> None:
    _, reason = fold_health(replica("llama-1", S.READY, probe(False, 1)), POLICY, START)

    assert reason is not None
    assert reason.text == "1 probes in a row failed, of 3 that count: no answer"
    assert reason.numbers == {"failed_in_a_row": 1.0, "threshold": 3.0}


def test_what_took_it_out_of_nginx_is_remembered_as_of_then() -> None:
    """Its half minute begins when it leaves, not with the failed probe before."""
    early = replica("llama-1", S.SUSPECT, probe(True), code="ProbeFailed")
    now = START + timedelta(seconds=20)
    memory, _ = fold_health(early, POLICY, now, ERRORS)

    assert (memory.since, memory.code) == (now, "ErrorsStandOut")
    again, reason = fold_health(replace(early, memory=memory), POLICY, now + timedelta(seconds=1), ERRORS)
    assert (again, reason) == (memory, None)


def test_the_cold_start_is_that_of_the_launcher() -> None:
    now = START + timedelta(seconds=7)
    told = probe(True, at=now, began_at=START + timedelta(seconds=1), stages=(("fetch", 1.5), ("load", 2.0)))

    memory, _ = fold_health(replica("llama-1", S.STARTING, told), POLICY, now)

    assert memory.cold_start == ColdStart(total_s=7.0, create_s=1.0, fetch_s=1.5, load_s=2.0)


def test_one_that_was_kept_while_it_started_teaches_nothing_of_starts() -> None:
    now = START + timedelta(hours=3)
    memory, _ = fold_health(replica("llama-1", S.QUARANTINED, probe(True), ready_at=None), POLICY, now)

    assert (memory.state, memory.ready_at, memory.cold_start) == (S.READY, now, None)


def test_one_that_is_back_fails_anew_the_next_time() -> None:
    back, _ = fold_health(replica("llama-1", S.UNREADY, probe(True), paid=True), POLICY, START)
    gone, _ = fold_health(replica("llama-1", S.UNREADY, runs=EXITED, paid=True), POLICY, START)

    assert (back.paid, gone.paid) == (False, True)


def test_the_memory_is_of_the_container_that_is_there() -> None:
    """Of two with one name the older one stayed, and it is somewhere else."""
    seen = replica("llama-1", S.READY)
    moved = replace(seen, container=replace(seen.container, node=NodeName("b"), spec_hash="new"))

    memory, reason = fold_health(moved, POLICY, START)

    assert (memory.node, memory.spec_hash, memory.state, reason) == ("b", "new", S.READY, None)


def test_the_sentences_of_the_end() -> None:
    def why(seen: Replica, given: Evidence = NOTHING, age_s: float = 40) -> str:
        _, reason = fold_health(seen, POLICY, START + timedelta(seconds=age_s), given)
        assert reason is not None
        return reason.text

    killed = replica("llama-1", S.READY, runs=EXITED, box={"out_of_memory": True})
    assert why(killed) == "the kernel killed in it for memory, and the container exited: Exited (137)"
    assert why(replica("llama-1", S.READY), KEPT) == "kept as it is: to look at"
    assert why(replica("llama-1", S.QUARANTINED, probe(False))) == "released, and its probes fail: no answer"
    assert why(out_for(30.4), age_s=99) == "it was out for 30 s: another chance"
    stuck = replica("llama-1", S.READY, at_work(), busy=Busy(START), holds=1)
    assert why(stuck) == "it has 1 requests and made no token for 30 s, 30 s are allowed"
