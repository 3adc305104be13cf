"""The way out of one replica, and its receipt: what it had, how long it took, and what was cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from controller.core.decision import RemoveReplica, TerminateReplica
from controller.core.failover import decide_failover, has_failed
from controller.core.model import ContainerState, LauncherPhase, ProbeHistory, ReplicaState
from controller.core.policy import HealthPolicy
from controller.core.reason import ReasonCode
from tests.fakes.clock import START
from tests.unit.core.build import probe, replica

R, S = ReasonCode, ReplicaState
POLICY = HealthPolicy(drain_timeout=timedelta(seconds=30))


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@dataclass(frozen=True)
class Case:
    """`want` is what is decided at second `now`: remove, terminate or nothing."""

    name: str
    state: S
    want: str
    why: R | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    now: float = 20
    routed: bool = False
    exits: int | None | str = "no"
    result: ProbeHistory | None = None
    known: dict[str, object] = field(default_factory=dict)

    def decide(self) -> TerminateReplica | RemoveReplica | None:
        stopped = self.exits != "no"
        runs = ContainerState.EXITED if stopped else ContainerState.RUNNING
        box = {"node": "b"} | ({"exit_code": self.exits} if stopped else {})
        seen = replica("llama-1", self.state, self.result, runs=runs, routed=self.routed, box=box, **self.known)
        assert seen.memory is not None
        found = decide_failover(seen, seen.memory, POLICY, at(self.now))
        assert found is None or isinstance(found, RemoveReplica | TerminateReplica)
        return found


GONE = {"since": at(7), "terminated_at": at(2), "held": 4, "why": "the container exited", "code": "ContainerExited"}
STILL = {"terminated_at": START, "since": at(-1), "held": 4}
SURE = LauncherPhase.READY

CASES = [
    *[Case(f"{state} stays", state, "") for state in (S.STARTING, S.READY, S.SUSPECT, S.QUARANTINED)],
    *[Case(f"{state}, but in nginx", state, "", routed=True) for state in (S.UNREADY, S.DRAINING, S.STOPPED)],
    # one that failed goes with the reason for which it failed
    Case("hung", S.UNREADY, "remove", R.PROBES_FAILED, known={"code": "ProbesFailed"}),
    Case("with work", S.UNREADY, "remove", R.STALLED, {"in_flight": 3}, known={"code": "Stalled", "holds": 3}),
    Case("died", S.STOPPED, "remove", R.CONTAINER_EXITED, exits=137, known={"code": "ContainerExited"}),
    Case("killed for memory", S.STOPPED, "remove", R.OUT_OF_MEMORY, exits=137, known={"code": "OutOfMemory"}),
    Case("nobody knows why", S.STOPPED, "remove", R.ADOPTED, exits=1),
    # one that was asked to stop
    Case(
        "all was finished",
        S.STOPPED,
        "remove",
        R.DRAINED,
        {"took_s": 5, "in_flight": 4, "cut": 0},
        9,
        False,
        0,
        known=GONE | {"holds": 2},
    ),
    Case(
        "exited with 3",
        S.STOPPED,
        "remove",
        R.DRAINED,
        {"took_s": 5, "in_flight": 4, "cut": 2},
        9,
        False,
        3,
        known=GONE | {"holds": 2},
    ),
    Case(
        "exit code not known",
        S.STOPPED,
        "remove",
        R.DRAINED,
        {"took_s": 5, "in_flight": 4, "cut": 2},
        9,
        False,
        None,
        known=GONE | {"holds": 2},
    ),
    Case(
        "killed, and never seen since",
        S.STOPPED,
        "remove",
        R.DRAINED,
        {"took_s": 5, "in_flight": 4, "cut": 4},
        9,
        False,
        137,
        known=GONE,
    ),
    Case("it never said", S.STOPPED, "remove", R.DRAINED, {"took_s": 5}, 9, False, 137, known=GONE | {"held": None}),
    Case(
        "it never said, and finished",
        S.STOPPED,
        "remove",
        R.DRAINED,
        {"took_s": 5, "cut": 0},
        9,
        False,
        0,
        known=GONE | {"held": None},
    ),
    # one that drains
    Case("out of nginx", S.DRAINING, "terminate", R.LEFT_GATEWAY),
    Case("asked", S.DRAINING, "", known=STILL, now=40),
    Case("asked, and not heard of it", S.DRAINING, "", result=probe(True, phase=SURE), known=STILL, now=5),
    Case("asked again", S.DRAINING, "terminate", R.LEFT_GATEWAY, result=probe(True, phase=SURE), known=STILL, now=5.1),
    Case("asked for the last time", S.DRAINING, "terminate", R.LEFT_GATEWAY, {}, 10, result=probe(True), known=STILL),
    Case("asked often enough", S.DRAINING, "", result=probe(True), known=STILL, now=10.1),
    Case(
        "not asked again of one that drains",
        S.DRAINING,
        "",
        known=STILL,
        now=7,
        result=probe(False, phase=LauncherPhase.DRAINING),
    ),
    Case(
        "killed at the deadline",
        S.DRAINING,
        "remove",
        R.DRAIN_DEADLINE,
        {"waited_s": 40.5, "allowed_s": 40, "took_s": 41.5, "in_flight": 4, "cut": 1},
        40.5,
        known=STILL | {"holds": 1},
    ),
    Case(
        "killed, and nothing known of it",
        S.DRAINING,
        "remove",
        R.DRAIN_DEADLINE,
        {"waited_s": 41, "allowed_s": 40, "took_s": 42},
        41,
        known=STILL | {"held": None},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_decide_failover(case: Case) -> None:
    found = case.decide()

    kind = "" if found is None else "remove" if isinstance(found, RemoveReplica) else "terminate"
    assert kind == case.want
    if found is not None:
        (reason,) = found.reasons
        assert (reason.code, dict(reason.numbers)) == (case.why, case.numbers)
        assert (found.replica, found.node) == ("llama-1", "b")


def sentence(name: str) -> str:
    (case,) = [case for case in CASES if case.name == name]
    found = case.decide()
    assert found is not None
    return found.reasons[0].text


def test_the_sentences() -> None:
    told = {
        "all was finished": "it was asked to stop and did: the container exited",
        "out of nginx": "nginx sends it nothing more",
        "asked again": "it was asked to stop and has not heard of it",
        "killed, and nothing known of it": "still running 41 s after SIGTERM, 40 s are allowed",
    }

    assert {name: sentence(name) for name in told} == told


def test_what_counts_as_failed() -> None:
    def failed(state: S, **known: object) -> bool:
        memory = replica("llama-1", state, **known).memory
        assert memory is not None
        return has_failed(memory)

    assert failed(S.UNREADY)
    assert failed(S.STOPPED)
    assert not failed(S.STOPPED, terminated_at=START), "somebody wanted it to go"
    assert not any(failed(state) for state in (S.STARTING, S.READY, S.SUSPECT, S.DRAINING, S.QUARANTINED))
