"""The way out for replicas that stopped, failed or drain: leave nginx first, then go."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from controller.core.decision import Decision, Reason, ReasonCode, RemoveReplica, TerminateReplica
from controller.core.model import LauncherPhase, Replica, ReplicaMemory, ReplicaState
from controller.core.policy import HealthPolicy

ASK_AGAIN = timedelta(seconds=5)  # a launcher that got SIGTERM says at once that it drains
KILL_AFTER = timedelta(seconds=10)  # over the drain time-out, for the launcher to notice its own deadline first
_OUT = (ReplicaState.UNREADY, ReplicaState.DRAINING, ReplicaState.STOPPED)


def decide_failover(replica: Replica, memory: ReplicaMemory, policy: HealthPolicy, now: datetime) -> Decision | None:
    """The next step out for one replica, or None. Nothing happens while nginx may still send it requests.

    Each removal has its receipt in the numbers of its reason.
    """
    if replica.routed or memory.state not in _OUT:
        return None
    pool, name, node = memory.pool, memory.replica, memory.node
    if memory.state is ReplicaState.DRAINING:
        return _drain_on(replica, memory, policy, now)
    if memory.state is ReplicaState.STOPPED and memory.terminated_at is not None:
        text = f"it was asked to stop and did: {memory.why}"
        return RemoveReplica(pool, name, (Reason(ReasonCode.DRAINED, text, receipt(replica, memory, now)),), node)
    code = ReasonCode(memory.code) if memory.code else ReasonCode.ADOPTED
    numbers = {} if memory.holds is None else {"in_flight": float(memory.holds)}
    return RemoveReplica(pool, name, (Reason(code, memory.why, numbers),), node)


def has_failed(memory: ReplicaMemory) -> bool:
    """Whether its way out is for a failure, and not because somebody wanted it to go."""
    return memory.state is ReplicaState.UNREADY or (
        memory.state is ReplicaState.STOPPED and memory.terminated_at is None
    )


def overdue(memory: ReplicaMemory, policy: HealthPolicy, now: datetime) -> bool:
    """Whether it drains and should long be gone: a process that the kernel holds may never go."""
    asked = memory.terminated_at if memory.state is ReplicaState.DRAINING else None
    return asked is not None and now - asked > policy.drain_timeout + KILL_AFTER


def receipt(replica: Replica, memory: ReplicaMemory, now: datetime) -> Mapping[str, float]:
    """What a drain took: `in_flight` requests when it left nginx, the seconds since, and how many were `cut`.

    A launcher that exits with 0 has finished them all. Of another one those that it was last seen with were cut.
    """
    numbers = {"took_s": round((now - memory.since).total_seconds(), 3)}
    if memory.state is ReplicaState.STOPPED and memory.terminated_at is not None:
        numbers = {"took_s": round((memory.since - memory.terminated_at).total_seconds(), 3)}
    if memory.held is not None:
        numbers["in_flight"] = float(memory.held)
    left = memory.holds if memory.holds is not None else memory.held
    if replica.container.exit_code == 0:
        left = 0
    return numbers if left is None else {**numbers, "cut": float(left)}


def _drain_on(replica: Replica, memory: ReplicaMemory, policy: HealthPolicy, now: datetime) -> Decision | None:
    if memory.terminated_at is None:
        reason = Reason(ReasonCode.LEFT_GATEWAY, "nginx sends it nothing more")
        return TerminateReplica(memory.pool, memory.replica, (reason,), memory.node)
    waited, allowed = now - memory.terminated_at, policy.drain_timeout + KILL_AFTER
    if not overdue(memory, policy, now):
        unheard = replica.probe is not None and replica.probe.phase is LauncherPhase.READY
        if not unheard or not ASK_AGAIN < waited <= 2 * ASK_AGAIN:
            return None
        # A controller that died between writing the decision down and sending the signal.
        reason = Reason(ReasonCode.LEFT_GATEWAY, "it was asked to stop and has not heard of it")
        return TerminateReplica(memory.pool, memory.replica, (reason,), memory.node)
    text = f"still running {waited.total_seconds():.0f} s after SIGTERM, {allowed.total_seconds():.0f} s are allowed"
    times = {"waited_s": waited.total_seconds(), "allowed_s": allowed.total_seconds()}
    numbers = {**times, **receipt(replica, memory, now)}
    return RemoveReplica(memory.pool, memory.replica, (Reason(ReasonCode.DRAIN_DEADLINE, text, numbers),), memory.node)


def backoff(failures: int, policy: HealthPolicy) -> timedelta:
    """How long to wait after this many failed starts in a row: base * 2^(n-1), at most the cap."""
    if failures < 1:
        return timedelta(0)
    # The exponent is bounded before it is used: 2 ** 10000 would be a number of 3000 digits.
    doublings: int = 2 ** min(failures - 1, 30)
    return min(policy.backoff_base * doublings, policy.backoff_cap)
