"""GPU health: what the exporters tell of the GPUs, and what people want of them -> which are cordoned, and why.

What is not told is not known: a missing exporter cordons nothing and releases nothing. A fault cordons once, by what is
new since the last look, until a person releases the GPU; only what its heat did ends by itself. Where most GPUs look
broken at once it is hardly them: then nothing new is cordoned, and nothing is moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from controller.core import orders, xids
from controller.core.capacity import short
from controller.core.decision import GpuChange, Plan
from controller.core.model import (
    SERVING,
    Cordon,
    GpuMemory,
    GpuReport,
    Order,
    ReplicaMemory,
    ReplicaState,
    Snapshot,
)
from controller.core.policy import HealthPolicy, PoolPolicy
from controller.core.reason import Reason, ReasonCode
from controller.core.xids import Verdict, Xid

CORDONED, RELEASED, WATCHED = "gpu_cordoned", "gpu_released", "gpu_watched"
_MOST = 0.5  # of the GPUs: above it they hardly broke by themselves
_BREAK = timedelta(seconds=30)  # a GPU that was cool for less is still the same time hot
_FRESH = timedelta(seconds=3)  # where no pool says how old a reading may be
_UP = (ReplicaState.STARTING, *SERVING)
_WORSE = (ReasonCode.GPU_HOT.value, ReasonCode.GPU_FAULT.value, ReasonCode.GPU_LOST.value)
_FLAGS: Mapping[str, Xid] = {
    "remap_failed": xids.REMAP_FAILED,
    "remap_pending": xids.REMAP_PENDING,
    "lost": xids.LOST,
}


@dataclass(frozen=True, slots=True)
class GpuHealth:
    """What is remembered of the GPUs, what changed, and by UUID what follows.

    `barred`: nothing starts on it, since. `leaving`: its replicas are replaced, new first, since. `dead`: its replicas
    are dead, since. `held` is said where most look broken at once.
    """

    memory: Mapping[str, GpuMemory] = field(default_factory=dict)
    changes: tuple[GpuChange, ...] = ()
    barred: Mapping[str, str] = field(default_factory=dict)
    leaving: Mapping[str, Reason] = field(default_factory=dict)
    dead: Mapping[str, Reason] = field(default_factory=dict)
    held: Reason | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    """One GPU: what is remembered of it if `fault`, which is worse than what it is cordoned for, is acted on; and what
    a person should know of."""

    before: GpuMemory
    memory: GpuMemory
    fault: Cordon | None = None
    watched: tuple[Reason, ...] = ()


_NOTHING = GpuHealth()


def assess(snapshot: Snapshot, policies: Sequence[PoolPolicy]) -> GpuHealth:
    """One look at every GPU; costs nothing where there are none."""
    if not (snapshot.reports or snapshot.gpu_memory):
        return _NOTHING
    released, policy = orders.released_gpus(snapshot.orders), _policy(policies)
    told = {uuid: report for uuid, report in snapshot.reports.items() if _is_fresh(report, snapshot.at, policies)}
    known = {uuid: _freed(item) if uuid in released else item for uuid, item in _kept(snapshot, told)}
    looks = {uuid: _look(report, known.get(uuid), policy, snapshot.at) for uuid, report in told.items()}
    looks = {uuid: replace(one, fault=None) if uuid in released else one for uuid, one in looks.items()}
    held = _panic(looks)
    after = {uuid: _without_heat(item) for uuid, item in known.items() if uuid not in looks}
    after |= {uuid: _taken(one, held is not None) for uuid, one in looks.items()}
    changes = (*_changes(snapshot, after), *_to_watch(looks, held is not None))
    return _follow(GpuHealth(after, changes, held=held), snapshot)


def wish(health: GpuHealth, mine: Sequence[ReplicaMemory]) -> tuple[ReplicaMemory, Reason] | None:
    """The next replica that is to be replaced because of its GPU; the oldest first."""
    if not health.leaving:
        return None
    found = [known for known in mine if known.gpu in health.leaving and known.state in _UP and not known.retiring_since]
    chosen = min(found, key=lambda known: (known.created_at, known.replica), default=None)
    return None if chosen is None else (chosen, health.leaving[chosen.gpu])


def cordons(memory: Mapping[str, GpuMemory], standing: Sequence[Order]) -> dict[str, Cordon]:
    """Every GPU on which nothing starts, by UUID, and why; a fault is told rather than an order."""
    found = {
        order.subject.removeprefix(orders.GPU): Cordon(
            order.at, ReasonCode.ORDERED.value, order.why or "it was ordered"
        )
        for order in standing
        if orders.bars_gpu(order)
    }
    return found | {uuid: known.cordon for uuid, known in memory.items() if known.cordon is not None}


def _follow(health: GpuHealth, snapshot: Snapshot) -> GpuHealth:
    """What the cordons mean for what is to start and for what runs."""
    cordoned = {uuid: item.cordon for uuid, item in health.memory.items() if item.cordon is not None}
    every = cordons(health.memory, snapshot.orders)
    barred = {uuid: f"is cordoned: {cordon.why}" for uuid, cordon in every.items()}
    lost = {uuid for uuid, cordon in cordoned.items() if cordon.code == ReasonCode.GPU_LOST}
    dead = {uuid: Reason(ReasonCode.GPU_LOST, f"its GPU is gone: {cordoned[uuid].why}") for uuid in lost}
    leaving = {
        uuid: Reason(ReasonCode.GPU_CORDONED, f"its GPU {short(uuid)} is cordoned: {cordon.why}")
        for uuid, cordon in cordoned.items()
        if uuid not in lost and health.held is None
    }
    return replace(health, barred=barred, leaving=leaving, dead=dead)


def held(plan: Plan) -> bool:
    """Whether most GPUs look broken, so that what is new about some of them is not acted on."""
    return any(reason.code is ReasonCode.GPU_PANIC for reasons in plan.standing.values() for reason in reasons)


def _kept(snapshot: Snapshot, told: Mapping[str, GpuReport]) -> Iterator[tuple[str, GpuMemory]]:
    """What is remembered, less the GPUs that were taken out: their node tells of others, and no more of them."""
    telling = {report.node for report in told.values()}
    for uuid, item in snapshot.gpu_memory.items():
        if uuid in snapshot.reports or item.cordon is not None or item.node not in telling:
            yield uuid, item


def _policy(policies: Sequence[PoolPolicy]) -> HealthPolicy:
    """A GPU may have replicas of several pools: the most careful one's counts."""
    mine = [policy.health for policy in policies if policy.scaling.gpu_memory_bytes]
    return min(mine, key=lambda policy: policy.thermal_for, default=HealthPolicy())


def _is_fresh(report: GpuReport, now: datetime, policies: Sequence[PoolPolicy]) -> bool:
    oldest = policies[0].scaling.max_reading_age if policies else _FRESH
    return report.at is not None and now - report.at <= oldest


def _look(report: GpuReport, before: GpuMemory | None, policy: HealthPolicy, now: datetime) -> _Look:
    """What is new about a GPU."""
    known = _with_heat(replace(before or GpuMemory(report.uuid, report.node), node=report.node), report, now)
    said = [(f"XID {code}: {found.meaning}", found) for code, found in _risen(report, known)]
    if report.double_bit is not None and report.double_bit > known.double_bit:
        said.append((f"{xids.DOUBLE_BIT.meaning}, {report.double_bit} in all", xids.DOUBLE_BIT))
    flags = {name for name in _FLAGS if _flag(report, known, name)}
    said += [(_FLAGS[name].meaning, _FLAGS[name]) for name in sorted(flags - set(known.flags))]
    faults = [_fault(text, found, now) for text, found in said if found.verdict in (Verdict.CORDON, Verdict.DEAD)]
    faults += _of_heat(known, policy, now)
    watched = tuple(Reason(ReasonCode.GPU_WATCHED, text) for text, found in said if found.verdict is Verdict.WATCH)
    double_bit = known.double_bit if report.double_bit is None else report.double_bit
    after = replace(known, xids=tuple(sorted(report.xids.items())), double_bit=double_bit, flags=tuple(sorted(flags)))
    return _Look(known, _cooled(after, policy, now), _worst(faults, known.cordon), watched)


def _worst(faults: Sequence[Cordon], cordon: Cordon | None) -> Cordon | None:
    """The worst of them, where that is worse than what the GPU is cordoned for already."""
    worst = max(faults, key=lambda fault: _WORSE.index(fault.code), default=None)
    if worst is None or (cordon is not None and _WORSE.index(worst.code) <= _WORSE.index(cordon.code)):
        return None
    return worst


def _risen(report: GpuReport, known: GpuMemory) -> Iterator[tuple[int, Xid]]:
    """The XIDs that came since the last look. One that was counted to less than before is counted anew."""
    before = dict(known.xids)
    for code, count in sorted(report.xids.items()):
        if count > before.get(code, 0):
            yield code, xids.of_code(code)


def _flag(report: GpuReport, known: GpuMemory, name: str) -> bool:
    """Whether it is so; what is not told stays as it was."""
    said: bool | None = getattr(report, name)
    return name in known.flags if said is None else said


def _fault(text: str, found: Xid, now: datetime) -> Cordon:
    code = ReasonCode.GPU_LOST if found.verdict is Verdict.DEAD else ReasonCode.GPU_FAULT
    return Cordon(now, code.value, text, found.advice)


def _with_heat(known: GpuMemory, report: GpuReport, now: datetime) -> GpuMemory:
    """For how long it has been hot, and cool. Not known is neither."""
    if report.throttled is None:
        return _without_heat(known)
    if report.throttled:
        return replace(known, hot_since=known.hot_since or now, cool_since=None)
    cool = known.cool_since or now
    return replace(known, hot_since=None if now - cool >= _BREAK else known.hot_since, cool_since=cool)


def _without_heat(known: GpuMemory) -> GpuMemory:
    """As it is remembered where nobody tells of its heat."""
    if known.hot_since is None and known.cool_since is None:
        return known
    return replace(known, hot_since=None, cool_since=None)


def _of_heat(known: GpuMemory, policy: HealthPolicy, now: datetime) -> list[Cordon]:
    if known.hot_since is None or known.cool_since is not None or now - known.hot_since < policy.thermal_for:
        return []
    text = f"{xids.HOT.meaning}, for {(now - known.hot_since).total_seconds():.0f} s"
    return [Cordon(now, ReasonCode.GPU_HOT.value, text, xids.HOT.advice)]


def _cooled(known: GpuMemory, policy: HealthPolicy, now: datetime) -> GpuMemory:
    """Without the cordon that its heat brought, once it has been cool for as long as it takes to be too hot."""
    if known.cordon is None or known.cordon.code != ReasonCode.GPU_HOT or known.cool_since is None:
        return known
    return replace(known, cordon=None) if now - known.cool_since >= policy.thermal_for else known


def _freed(known: GpuMemory) -> GpuMemory:
    """As a person released it."""
    return replace(known, cordon=None, hot_since=None, cool_since=None)


def _panic(looks: Mapping[str, _Look]) -> Reason | None:
    """Most GPUs look broken, and some of them only just now."""
    new = sorted(uuid for uuid, one in looks.items() if one.fault is not None)
    broken = [uuid for uuid, one in looks.items() if one.fault is not None or one.memory.cordon is not None]
    if not new or len(broken) <= _MOST * len(looks):
        return None
    names = ", ".join(f"{short(uuid)} ({fault.why})" for uuid in new if (fault := looks[uuid].fault) is not None)
    text = (
        f"{len(broken)} of {len(looks)} GPUs look broken at once, so nothing is cordoned or moved for {names}: look at "
        "what they share (driver, power, cooling); `stoker cordon --gpu UUID` takes one out, "
        "`stoker release --gpu UUID` says that it is well"
    )
    return Reason(ReasonCode.GPU_PANIC, text, {"broken": float(len(broken)), "gpus": float(len(looks))})


def _taken(one: _Look, panic: bool) -> GpuMemory:
    """What is remembered of a GPU. A fault that is not acted on now is new once more at the next look."""
    if one.fault is None:
        return one.memory
    return one.before if panic else replace(one.memory, cordon=one.fault)


def _changes(snapshot: Snapshot, after: Mapping[str, GpuMemory]) -> Iterator[GpuChange]:
    """Cordons that are new, and those that ended."""
    for uuid, item in after.items():
        known = snapshot.gpu_memory.get(uuid)
        before = known.cordon if known is not None else None
        if item.cordon is not None and item.cordon != before:
            text = f"{item.cordon.why}: {item.cordon.advice}; then `stoker release --gpu {short(uuid)}`"
            if item.cordon.code == ReasonCode.GPU_HOT:
                text = f"{item.cordon.why}: {item.cordon.advice}"
            yield GpuChange(uuid, item.node, CORDONED, Reason(ReasonCode(item.cordon.code), text))
        elif item.cordon is None and before is not None:
            ordered = uuid in orders.released_gpus(snapshot.orders)
            reason = Reason(ReasonCode.ORDERED, "it was ordered") if ordered else _IT_IS_COOL
            yield GpuChange(uuid, item.node, RELEASED, reason)


_IT_IS_COOL = Reason(ReasonCode.GPU_COOL, "its heat has not slowed it down for long enough")


def _to_watch(looks: Mapping[str, _Look], panic: bool) -> Iterator[GpuChange]:
    for uuid, one in looks.items():
        if not (panic and one.fault is not None):
            yield from (GpuChange(uuid, one.memory.node, WATCHED, reason) for reason in one.watched)
