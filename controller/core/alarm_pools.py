"""Alarms of a pool that are no thresholds: too few replicas, no way to grow, slow starts, and what stands over it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.core.alarm import Finding, Key
from controller.core.alarm_table import Words, find, key_of
from controller.core.decision import Plan
from controller.core.limits import scheduled_floor
from controller.core.model import SERVING, PoolName, ReplicaId, ReplicaMemory, ReplicaState
from controller.core.policy import PoolPolicy
from controller.core.reason import ReasonCode
from controller.core.words import counted

FLAPPING_WINDOW = timedelta(minutes=10)
_MOST_FALLS, _MOST_FALLS_OF_POOL = 2, 5  # within that time
# Unless told otherwise a start is given up after 300 s, and one that is given up has no time any more.
_SLOW, _WOKEN_FOR = timedelta(seconds=285), timedelta(seconds=300)
_BEGINNING = (ReplicaState.STARTING, ReplicaState.UNREADY)
_FLAPS = "{count} times within 10 minutes one that served failed or came under suspicion, more than {most}."
_STANDING: Mapping[ReasonCode, tuple[str, str, str]] = {
    ReasonCode.FUSE_BLOWN: (
        "StokerFuseBlown",
        "Too many replicas of {pool} failed, so that none is replaced any more.",
        "What is the matter is in `stoker status` and in `stoker last-words`. When it is mended, "
        "`stoker release {pool}` lets healing go on; else it does so by itself after one window of the budget.",
    ),
    ReasonCode.CRASH_LOOP: (
        "StokerQuarantine",
        "Replicas of {pool} fail to start, again and again.",
        "One is tried every {every_s:.0f} s. `stoker last-words` has what the last ones wrote; `stoker release {pool}` "
        "tries at once.",
    ),
    ReasonCode.PANIC_THRESHOLD: (
        "StokerPanicThreshold",
        "Most replicas of {pool} look bad at once, so that none of them is taken out of nginx.",
        "The host, its network or the controller's own machine is more likely at fault than the replicas.",
    ),
    ReasonCode.ROLLED_BACK: (
        "StokerSpecRefused",
        "The changed spec of {pool} was rolled back.",
        "Why is in the pool's reasons (`stoker why {pool}`). A corrected one goes in with `stoker apply`; "
        "`stoker release {pool}` tries this one again.",
    ),
    ReasonCode.NO_NODE: (
        "StokerNoNode",
        "No node can take a replica of {pool}.",
        "Each is silent or cordoned; the pool's reasons say which (`stoker why {pool}`).",
    ),
}


@dataclass(frozen=True, slots=True)
class PoolSight:
    """A pool in one tick: its replicas, and when each of those fell out of service lately. `blind`: no container engine
    answered, so that nothing was evaluated."""

    policy: PoolPolicy
    plan: Plan
    replicas: Sequence[ReplicaMemory]
    falls: Mapping[ReplicaId, Sequence[datetime]]
    now: datetime
    blind: bool = False

    @property
    def pool(self) -> PoolName:
        """Its name."""
        return self.policy.pool

    @property
    def desired(self) -> int:
        """How many it is to have."""
        known = self.plan.memory.pools.get(self.pool)
        return known.desired if known is not None else 0

    @property
    def reasons(self) -> Collection[ReasonCode]:
        """Of the size that it has."""
        return {reason.code for reason in self.plan.standing.get(self.pool, ())}

    def starting(self) -> list[tuple[ReplicaId, timedelta]]:
        """Those that were never ready, and for how long they have been starting."""
        mine = [known for known in self.replicas if known.ready_at is None and known.state in _BEGINNING]
        return [(known.replica, self.now - known.created_at) for known in mine]


def of_pool(sight: PoolSight) -> Iterator[Finding | Key]:
    """All of them."""
    yield from _counts(sight)
    yield from _growth(sight)
    yield from _starts(sight)
    yield from _flapping(sight)
    yield from _standing(sight)


def _counts(sight: PoolSight) -> Iterator[Finding]:
    """A pool with floor 0 has none by design; one that is woken has the time of a cold start."""
    serving, policy = sum(known.state in SERVING for known in sight.replicas), sight.policy.scaling
    floor, labels = max(policy.floor, scheduled_floor(policy, sight.now)), {"pool": sight.pool}
    serve = f"{counted(serving)} {'serves' if serving == 1 else 'serve'}"
    woken = any(age < _WOKEN_FOR for _, age in sight.starting())
    if not serving and (floor or (sight.desired and not woken)):
        text = f"{serve}, {sight.desired} are wanted: requests wait, and are then refused with 503."
        yield find("StokerPoolDown", labels, Words(f"No replica of {sight.pool} serves.", text))
    if serving < floor:
        summary = f"Pool {sight.pool} has fewer replicas than its floor."
        yield find("StokerPoolBelowFloor", labels, Words(summary, f"{serve}, the floor is {floor}."))


def _growth(sight: PoolSight) -> Iterator[Finding | Key]:
    name, no_room, full = "StokerCannotScale", ReasonCode.NO_GPU_FITS.value, ReasonCode.AT_CEILING.value
    labels = {which: {"pool": sight.pool, "reason": which} for which in (no_room, full)}
    evaluation = sight.plan.evaluations.get(sight.pool)
    if evaluation is None:
        yield from (key_of(name, labels[which], which) for which in (no_room, full))
        return
    wanted = max((vote.wanted for vote in evaluation.votes if vote.wanted is not None), default=0)
    if ReasonCode.NO_GPU_FITS in sight.reasons:
        summary = f"Pool {sight.pool} cannot grow, since no GPU has room for another replica."
        serving = sum(known.state in SERVING for known in sight.replicas)
        words = Words(summary, f"{serving} replicas serve, the signals ask for {wanted}.")
        yield find(name, labels[no_room], words, which=no_room)
    ceiling = sight.policy.scaling.ceiling
    if wanted > ceiling:
        summary = f"Pool {sight.pool} needs more replicas than its ceiling allows."
        words = Words(summary, f"The signals ask for {wanted} replicas, the ceiling is {ceiling}.")
        yield find(name, labels[full], words, which=full)


def _starts(sight: PoolSight) -> Iterator[Finding]:
    known = sight.plan.memory.pools.get(sight.pool)
    usual = known.cold_start_s if known is not None else None
    for replica, age in sight.starting():
        if age > _SLOW:
            summary = f"Replica {replica} of {sight.pool} takes 5 minutes to start."
            more = f"; {usual:.0f} s are usual" if usual is not None else ""
            text = f"It has been starting for {age.total_seconds():.0f} s{more}."
            yield find("StokerColdStartSlow", {"pool": sight.pool, "replica": replica}, Words(summary, text))


def _flapping(sight: PoolSight) -> Iterator[Finding]:
    """One replica; or one after the other, where each one's successor fails, too."""
    name, again = "StokerReplicaFlapping", f"of {sight.pool} fails, again and again."
    counts = {replica: len(times) for replica, times in sight.falls.items()}
    worst = {replica: count for replica, count in counts.items() if count > _MOST_FALLS}
    for replica, count in worst.items():
        words = Words(f"Replica {replica} {again}", _FLAPS.format(count=count, most=_MOST_FALLS))
        yield find(name, {"pool": sight.pool, "replica": replica}, words)
    total = sum(counts.values())
    if not worst and total > _MOST_FALLS_OF_POOL:
        words = Words(f"One replica after the other {again}", _FLAPS.format(count=total, most=_MOST_FALLS_OF_POOL))
        yield find(name, {"pool": sight.pool}, words)


def _standing(sight: PoolSight) -> Iterator[Finding | Key]:
    """What stands over it until it is over. While no engine answers nobody knows."""
    labels, reasons = {"pool": sight.pool}, sight.reasons
    every_s = sight.policy.health.backoff_cap.total_seconds()
    for code, (name, summary, text) in _STANDING.items():
        if code in reasons:
            words = (sentence.format(pool=sight.pool, every_s=every_s) for sentence in (summary, text))
            yield find(name, labels, Words(*words))
        elif sight.blind:
            yield key_of(name, labels)
