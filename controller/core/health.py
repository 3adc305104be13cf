"""Fold the container, its newest probe, what else speaks for or against it and what is remembered into its state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from controller.core import anatomy, progress
from controller.core.model import (
    SERVING,
    UNKNOWN,
    ContainerState,
    LauncherPhase,
    Reading,
    Replica,
    ReplicaMemory,
    ReplicaState,
)
from controller.core.policy import HealthPolicy
from controller.core.reason import Reason, ReasonCode

# What makes a replica suspect while its probes pass. It has left nginx then, so that no further evidence comes.
PASSIVE = (ReasonCode.ERRORS_STAND_OUT.value, ReasonCode.SPEED_STANDS_OUT.value)
EJECTED_S = 30.0  # then it is given another chance, as by Envoy's outlier detection


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a replica beside its container and its probe.

    `tokens`: those that it makes in a second. `suspicion`: it has more trouble than its peers. `kept`: a person wants
    it kept as it is, and why. `silent`: its node's engine gives no answer, so that no address says nothing. `lost`: its
    GPU is gone, and it with that.
    """

    tokens: Reading = UNKNOWN
    suspicion: Reason | None = None
    kept: str | None = None
    silent: bool = False
    lost: Reason | None = None


_NOTHING = Evidence()
_Step = tuple[ReplicaState, Reason]


def fold_health(
    replica: Replica, policy: HealthPolicy, now: datetime, evidence: Evidence = _NOTHING
) -> tuple[ReplicaMemory, Reason | None]:
    """The replica's memory of this tick, and why its state changed (None: it did not).

    A replica without a probe result keeps its state: not knowing takes nothing out of nginx.
    """
    before = progress.follow(replica, _known(replica, now))
    step = _next_state(replica, before, policy, now, evidence)
    if step is None or (step[0] is before.state and not _leaves(step[1], before)):
        if replica.memory is None:
            return before, Reason(ReasonCode.CONTAINER_STARTED, before.why)
        return before, None
    state, reason = step
    paid = before.paid and state not in SERVING  # one that recovered is paid for anew
    after = replace(before, state=state, since=now, why=reason.text, code=reason.code.value, paid=paid)
    if state is ReplicaState.READY and before.ready_at is None:
        # One that was kept as it is did not take all that time to start.
        started = before.state is not ReplicaState.QUARANTINED
        after = replace(after, ready_at=now, cold_start=anatomy.of_start(replica, now) if started else None)
    return after, reason


def _leaves(reason: Reason, before: ReplicaMemory) -> bool:
    """Whether one that was suspect for its probes, and stayed in nginx, is now so for what takes it out."""
    return reason.code in PASSIVE and before.code not in PASSIVE


def _known(replica: Replica, now: datetime) -> ReplicaMemory:
    """What is remembered, of the container that is there: the younger of two of one name has gone."""
    known, container = replica.memory, replica.container
    if known is None:
        return _adopt(replica, now)
    same = known.node == container.node and known.spec_hash == container.spec_hash
    if same and known.gpu == container.gpu:
        return known
    return replace(known, node=container.node, spec_hash=container.spec_hash, gpu=container.gpu)


def _adopt(replica: Replica, now: datetime) -> ReplicaMemory:
    container = replica.container
    return ReplicaMemory(
        container.replica,
        container.pool,
        ReplicaState.STARTING,
        now,
        container.created_at,
        why="the container was found running",
        node=container.node,
        spec_hash=container.spec_hash,
        gpu=container.gpu,
        seen_at=now,
    )


def _next_state(
    replica: Replica, before: ReplicaMemory, policy: HealthPolicy, now: datetime, evidence: Evidence
) -> _Step | None:
    """The state that it is to have, with the reason that it would change for; None keeps it."""
    if before.state is ReplicaState.STOPPED:
        return None
    if evidence.kept is not None:
        return ReplicaState.QUARANTINED, Reason(ReasonCode.QUARANTINED, f"kept as it is: {evidence.kept}")
    if replica.container.state is not ContainerState.RUNNING:
        return ReplicaState.STOPPED, _exit_reason(replica)
    if before.state is ReplicaState.DRAINING:
        return None
    if evidence.lost is not None:
        return ReplicaState.UNREADY, evidence.lost
    step = _from_phase(replica) or progress.stalled(replica, before, policy)
    if step is not None:
        return step
    if replica.probe is not None and replica.probe.ok:
        return _passed(replica, before, policy, now, evidence)
    return _failed(replica, before, policy, now, evidence)


def _exit_reason(replica: Replica) -> Reason:
    container = replica.container
    if container.state is ContainerState.CREATED:
        return Reason(ReasonCode.NEVER_STARTED, "the container was created and never started")
    code = container.exit_code
    numbers = {} if code is None else {"exit_code": float(code)}
    text = f"the container exited: {container.detail or code}"
    if container.out_of_memory:
        return Reason(ReasonCode.OUT_OF_MEMORY, f"the kernel killed in it for memory, and {text}", numbers)
    return Reason(ReasonCode.CONTAINER_EXITED, text, numbers)


def _from_phase(replica: Replica) -> _Step | None:
    """What the launcher says of itself beats counting: it is failed or draining from its first word on."""
    probe = replica.probe
    if probe is None or probe.phase is None:
        return None
    if probe.phase is LauncherPhase.FAILED:
        code = ReasonCode.OUT_OF_MEMORY if replica.container.out_of_memory else ReasonCode.LAUNCHER_FAILED
        return ReplicaState.UNREADY, Reason(code, f"the launcher failed: {probe.detail}")
    if probe.phase is LauncherPhase.DRAINING:
        text = "the launcher is draining, though nobody here asked it to"
        return ReplicaState.DRAINING, Reason(ReasonCode.LAUNCHER_DRAINING, text)
    return None


def _passed(
    replica: Replica, before: ReplicaMemory, policy: HealthPolicy, now: datetime, evidence: Evidence
) -> _Step | None:
    probe = replica.probe
    assert probe is not None  # the caller has looked
    if evidence.suspicion is not None and before.state in SERVING:
        return ReplicaState.SUSPECT, evidence.suspicion
    if before.state is ReplicaState.SUSPECT and before.code in PASSIVE:
        out_s = (now - before.since).total_seconds()
        if out_s < EJECTED_S:
            return None
        return ReplicaState.READY, Reason(ReasonCode.PROBE_PASSED, f"it was out for {out_s:.0f} s: another chance")
    if before.state is not ReplicaState.READY and probe.in_a_row < policy.passes:
        return None
    if before.ready_at is None:
        seconds = (probe.at - before.created_at).total_seconds()
        text = f"a probe passed {seconds:.1f} s after the start"
        return ReplicaState.READY, Reason(ReasonCode.PROBE_PASSED, text, {"cold_start_s": round(seconds, 3)})
    return ReplicaState.READY, Reason(ReasonCode.PROBE_PASSED, "a probe passed again")


def _failed(
    replica: Replica, before: ReplicaMemory, policy: HealthPolicy, now: datetime, evidence: Evidence
) -> _Step | None:
    probe = replica.probe
    if before.state is ReplicaState.STARTING:
        return _late(replica, before, policy, now)
    if probe is None:
        if evidence.silent or replica.container.engine is not None or before.state not in SERVING:
            return None
        return ReplicaState.UNREADY, Reason(ReasonCode.ADDRESS_LOST, "it runs, and has no address any more")
    if before.state is ReplicaState.QUARANTINED:
        return ReplicaState.UNREADY, Reason(ReasonCode.PROBES_FAILED, f"released, and its probes fail: {probe.detail}")
    if before.state not in SERVING:
        return None
    counted = progress.counted(probe, policy, evidence.tokens)
    numbers = {"failed_in_a_row": float(counted), "threshold": float(policy.failures)}
    if counted >= policy.failures:
        text = f"{counted} probes in a row failed, {policy.failures} are allowed to: {probe.detail}"
        return ReplicaState.UNREADY, Reason(ReasonCode.PROBES_FAILED, text, numbers)
    busy = "; it makes tokens, so it is busy and not dead" if probe.in_a_row >= policy.failures else ""
    text = f"{probe.in_a_row} probes in a row failed, of {policy.failures} that count: {probe.detail}{busy}"
    return ReplicaState.SUSPECT, Reason(ReasonCode.PROBE_FAILED, text, numbers)


def _late(replica: Replica, before: ReplicaMemory, policy: HealthPolicy, now: datetime) -> _Step | None:
    """Nothing, until the deadline of its start is over. An old one that is new to us gets its probes first.

    It began when it was first seen: its node's clock may be minutes behind.
    """
    probe = replica.probe
    if probe is not None and probe.in_a_row < policy.failures:
        return None
    age, deadline = (now - before.since).total_seconds(), policy.cold_start_deadline.total_seconds()
    if age <= deadline:
        return None
    said = probe.detail if probe is not None else "it never told its address"
    text = f"not ready {age:.0f} s after its start, the deadline is {deadline:.0f} s: {said}"
    numbers = {"age_s": round(age, 3), "deadline_s": deadline}
    return ReplicaState.UNREADY, Reason(ReasonCode.COLD_START_DEADLINE, text, numbers)
