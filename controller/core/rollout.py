"""A changed spec replaces the old one: one replica at a time, new first, and back again where the new one is worse.

Everything is in the pool's durable memory and in the replicas' labels, so that a new controller goes on at any step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from controller.core.model import SERVING, UNKNOWN, Known, PoolMemory, PoolReadings, ReplicaMemory, Signal
from controller.core.policy import PoolPolicy
from controller.core.reason import Reason, ReasonCode
from controller.core.signals import fresh
from controller.core.suspicion import STANDS_OUT
from controller.core.words import amount

Wish = tuple[ReplicaMemory, Reason]


@dataclass(frozen=True, slots=True)
class Rollout:
    """What new replicas are made of, the memory, the next replica to replace, and what is to be said."""

    spec: str
    memory: PoolMemory
    wish: Wish | None = None
    told: tuple[Reason, ...] = ()


def decide_rollout(
    policy: PoolPolicy, memory: PoolMemory, mine: Sequence[ReplicaMemory], readings: PoolReadings, now: datetime
) -> Rollout:
    """One step of it; nothing where the pool has no spec or all is as wanted."""
    if not policy.spec_hash:
        return Rollout("", memory)
    serving = [known for known in mine if known.state in SERVING]
    memory = _with_good(_of_spec(memory, policy.spec_hash), policy, serving)
    why = _worse(policy, memory, serving, readings, now) if rolling(policy, memory) else None
    if why is not None:
        refused = {"refused_spec": policy.spec_hash, "why_refused": why}
        memory = _of_spec(memory.but(**refused), policy.spec_hash)
    spec = wanted_spec(policy, memory)
    told: tuple[Reason, ...] = ()
    if memory.refused_spec:
        text = f"spec {memory.refused_spec} was rolled back to {spec}: {memory.why_refused}"
        told = (Reason(ReasonCode.ROLLED_BACK, text),)
    return Rollout(spec, memory, _next(policy, memory, serving, spec, now), told)


def wanted_spec(policy: PoolPolicy, memory: PoolMemory) -> str:
    """The spec of new replicas: the configured one, or the last good one where that was refused."""
    return memory.good_spec if memory.refused_spec == policy.spec_hash and memory.good_spec else policy.spec_hash


def rolling(policy: PoolPolicy, memory: PoolMemory) -> bool:
    """Whether a new spec is on its way that there is a way back from."""
    return memory.good_spec not in ("", policy.spec_hash) and memory.refused_spec != policy.spec_hash


def baking(policy: PoolPolicy, memory: PoolMemory, known: ReplicaMemory, now: datetime) -> bool:
    """Whether the replica is one of the new ones that still have to show what they are worth."""
    if not rolling(policy, memory) or known.spec_hash != policy.spec_hash or known.ready_at is None:
        return False
    return now - known.ready_at < policy.rollout.bake


def _of_spec(memory: PoolMemory, configured: str) -> PoolMemory:
    """Without what was remembered of the failures of another spec."""
    if memory.refused_spec and memory.refused_spec != configured:
        memory = memory.but(refused_spec="", why_refused="")
    target = memory.good_spec if memory.refused_spec and memory.good_spec else configured
    if memory.tried_spec == target:
        return memory
    forgotten = {"start_failures": 0, "last_start_failure_at": None, "quarantined_since": None}
    return memory.but(tried_spec=target, **(forgotten if memory.tried_spec else {}))


def _with_good(memory: PoolMemory, policy: PoolPolicy, serving: Sequence[ReplicaMemory]) -> PoolMemory:
    specs = Counter(known.spec_hash for known in serving)
    if not memory.good_spec:
        return memory.but(good_spec=specs.most_common(1)[0][0]) if specs else memory
    whole = len(serving) >= memory.desired > 0 and set(specs) == {policy.spec_hash}
    retiring = any(known.retiring_since is not None for known in serving)
    if not whole or retiring or memory.good_spec == policy.spec_hash:
        return memory
    return memory.but(good_spec=policy.spec_hash, start_failures=0, last_start_failure_at=None)


def _worse(
    policy: PoolPolicy, memory: PoolMemory, serving: Sequence[ReplicaMemory], readings: PoolReadings, now: datetime
) -> str | None:
    """Why the new spec is refused."""
    if memory.start_failures >= policy.rollout.failed_starts:
        return f"{memory.start_failures} replicas of it in a row failed"
    new: list[float] = []
    old: list[float] = []
    for known in serving:
        errors = readings.replicas.get(Signal.ERRORS, {}).get(known.replica, UNKNOWN)
        reading = fresh(errors, now, policy.scaling.max_reading_age)
        if reading.known is not Known.UNKNOWN:
            (new if known.spec_hash == policy.spec_hash else old).append(reading.value)
    if not new or not old:
        return None
    theirs, usual = sum(new) / len(new), sum(old) / len(old)
    if theirs <= max(policy.scaling.errors.threshold, STANDS_OUT * usual):
        return None
    return f"{amount(Signal.ERRORS, theirs)} of its requests failed, {amount(Signal.ERRORS, usual)} of the old spec's"


def _next(
    policy: PoolPolicy, memory: PoolMemory, serving: Sequence[ReplicaMemory], spec: str, now: datetime
) -> Wish | None:
    outdated = [known for known in serving if known.spec_hash != spec]
    if len(serving) > memory.desired:
        return None  # one goes anyway, and those that are outdated go first
    fresh_ones = [known.ready_at for known in serving if known.spec_hash == spec and known.ready_at is not None]
    if not outdated or (fresh_ones and now - max(fresh_ones) < policy.rollout.bake and not memory.refused_spec):
        return None
    oldest = min(outdated, key=lambda known: (known.created_at, known.replica))
    done = len(serving) - len(outdated)
    text = f"it is made of spec {oldest.spec_hash}, {spec} is wanted; {done} of {len(serving)} are replaced"
    return oldest, Reason(ReasonCode.SPEC_CHANGED, text, {"done": float(done), "serving": float(len(serving))})
