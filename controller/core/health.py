"""Fold the container, its newest probe and what is remembered into the state of a replica."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from controller.core.decision import Reason, ReasonCode
from controller.core.model import ContainerState, LauncherPhase, Replica, ReplicaMemory, ReplicaState
from controller.core.policy import HealthPolicy


def fold_health(replica: Replica, policy: HealthPolicy, now: datetime) -> tuple[ReplicaMemory, Reason | None]:
    """The replica's memory of this tick, and why its state changed (None: it did not).

    A replica without a probe result keeps its state: not knowing takes nothing out of nginx.
    """
    before = replica.memory or _adopt(replica, now)
    step = _next_state(replica, before, policy, now)
    if step is None:
        if replica.memory is None:
            return before, Reason(ReasonCode.CONTAINER_STARTED, before.why)
        return before, None
    state, reason = step
    after = replace(before, state=state, since=now, why=reason.text, code=reason.code)
    if state is ReplicaState.READY and before.ready_at is None:
        after = replace(after, ready_at=now)
    return after, reason


def _adopt(replica: Replica, now: datetime) -> ReplicaMemory:
    container = replica.container
    why = "the container was found running"
    return ReplicaMemory(container.replica, container.pool, ReplicaState.STARTING, now, container.created_at, why=why)


def _next_state(
    replica: Replica, before: ReplicaMemory, policy: HealthPolicy, now: datetime
) -> tuple[ReplicaState, Reason] | None:
    """The state it changes to, or None."""
    if replica.container.state is not ContainerState.RUNNING:
        return None if before.state is ReplicaState.EXITED else (ReplicaState.EXITED, _exit_reason(replica))
    if before.state in (ReplicaState.DRAINING, ReplicaState.EXITED):
        return None
    step = _from_phase(replica)
    if step is None:
        passed = replica.probe is not None and replica.probe.ok
        if passed and before.state is ReplicaState.READY:
            return None
        step = _passed(replica, before) if passed else _failed(replica, before, policy, now)
    return None if step is None or step[0] is before.state else step


def _exit_reason(replica: Replica) -> Reason:
    container = replica.container
    if container.state is ContainerState.CREATED:
        return Reason(ReasonCode.NEVER_STARTED, "the container was created and never started")
    code = container.exit_code
    numbers = {} if code is None else {"exit_code": float(code)}
    return Reason(ReasonCode.CONTAINER_EXITED, f"the container exited: {container.detail or code}", numbers)


def _from_phase(replica: Replica) -> tuple[ReplicaState, Reason] | None:
    """What the launcher says of itself beats counting: it is failed or draining from its first word on."""
    probe = replica.probe
    if probe is None or probe.phase is None:
        return None
    if probe.phase is LauncherPhase.FAILED:
        return ReplicaState.UNREADY, Reason(ReasonCode.LAUNCHER_FAILED, f"the launcher failed: {probe.detail}")
    if probe.phase is LauncherPhase.DRAINING:
        text = "the launcher is draining, though nobody here asked it to"
        return ReplicaState.DRAINING, Reason(ReasonCode.LAUNCHER_DRAINING, text)
    return None


def _passed(replica: Replica, before: ReplicaMemory) -> tuple[ReplicaState, Reason]:
    if before.ready_at is None and replica.probe is not None:
        seconds = (replica.probe.at - before.created_at).total_seconds()
        text = f"a probe passed {seconds:.1f} s after the start"
        return ReplicaState.READY, Reason(ReasonCode.PROBE_PASSED, text, {"cold_start_s": round(seconds, 3)})
    return ReplicaState.READY, Reason(ReasonCode.PROBE_PASSED, "a probe passed again")


def _failed(
    replica: Replica, before: ReplicaMemory, policy: HealthPolicy, now: datetime
) -> tuple[ReplicaState, Reason] | None:
    probe = replica.probe
    if probe is not None and probe.in_a_row < policy.failures:
        return None
    if before.state is ReplicaState.READY and probe is None:
        if replica.container.engine is not None:
            return None
        return ReplicaState.UNREADY, Reason(ReasonCode.ADDRESS_LOST, "it runs, and has no address any more")
    if before.state is ReplicaState.READY and probe is not None:
        text = f"{probe.in_a_row} probes in a row failed, {policy.failures} are allowed to: {probe.detail}"
        numbers = {"failed_in_a_row": float(probe.in_a_row), "threshold": float(policy.failures)}
        return ReplicaState.UNREADY, Reason(ReasonCode.PROBES_FAILED, text, numbers)
    age, deadline = (now - before.created_at).total_seconds(), policy.cold_start_deadline.total_seconds()
    if before.state is ReplicaState.STARTING and age > deadline:
        said = probe.detail if probe is not None else "it never told its address"
        text = f"not ready {age:.0f} s after its start, the deadline is {deadline:.0f} s: {said}"
        numbers = {"age_s": round(age, 3), "deadline_s": deadline}
        return ReplicaState.UNREADY, Reason(ReasonCode.COLD_START_DEADLINE, text, numbers)
    return None
