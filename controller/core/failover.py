"""The way out for replicas that exited, failed or drain: leave nginx first, then go."""

from __future__ import annotations

from datetime import datetime, timedelta

from controller.core.decision import Decision, Reason, ReasonCode, RemoveReplica, TerminateReplica
from controller.core.model import LauncherPhase, Replica, ReplicaMemory, ReplicaState
from controller.core.policy import HealthPolicy

ASK_AGAIN = timedelta(seconds=5)  # a launcher that got SIGTERM says at once that it drains
KILL_AFTER = timedelta(seconds=10)  # over the drain time-out, for the launcher to notice its own deadline first


def decide_failover(replica: Replica, memory: ReplicaMemory, policy: HealthPolicy, now: datetime) -> Decision | None:
    """The next step out for one replica, or None. Nothing happens while nginx may still send it requests."""
    if replica.routed or memory.state in (ReplicaState.STARTING, ReplicaState.READY):
        return None
    pool, name = memory.pool, memory.replica
    if memory.state is ReplicaState.DRAINING:
        return _drain_on(replica, memory, policy, now)
    if memory.state is ReplicaState.EXITED and memory.terminated_at is not None:
        return RemoveReplica(pool, name, (Reason(ReasonCode.DRAINED, f"it was asked to stop and did: {memory.why}"),))
    code = ReasonCode(memory.code) if memory.code else ReasonCode.ADOPTED
    return RemoveReplica(pool, name, (Reason(code, memory.why),))


def _drain_on(replica: Replica, memory: ReplicaMemory, policy: HealthPolicy, now: datetime) -> Decision | None:
    if memory.terminated_at is None:
        reason = Reason(ReasonCode.LEFT_GATEWAY, "nginx sends it nothing more")
        return TerminateReplica(memory.pool, memory.replica, (reason,))
    waited, allowed = now - memory.terminated_at, policy.drain_timeout + KILL_AFTER
    if waited <= allowed:
        unheard = replica.probe is not None and replica.probe.phase is LauncherPhase.READY
        if not unheard or not ASK_AGAIN < waited <= 2 * ASK_AGAIN:
            return None
        # A controller that died between writing the decision down and sending the signal.
        reason = Reason(ReasonCode.LEFT_GATEWAY, "it was asked to stop and has not heard of it")
        return TerminateReplica(memory.pool, memory.replica, (reason,))
    text = f"still running {waited.total_seconds():.0f} s after SIGTERM, {allowed.total_seconds():.0f} s are allowed"
    numbers = {"waited_s": waited.total_seconds(), "allowed_s": allowed.total_seconds()}
    return RemoveReplica(memory.pool, memory.replica, (Reason(ReasonCode.DRAIN_DEADLINE, text, numbers),))


def backoff(failures: int, policy: HealthPolicy) -> timedelta:
    """How long to wait after this many failed starts in a row: base * 2^(n-1), at most the cap."""
    if failures < 1:
        return timedelta(0)
    # The exponent is bounded before it is used: 2 ** 10000 would be a number of 3000 digits.
    doublings: int = 2 ** min(failures - 1, 30)
    return min(policy.backoff_base * doublings, policy.backoff_cap)
