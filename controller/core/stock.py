"""The GPUs as placement sees them: with what is promised of their memory, and why nothing starts on some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from controller.core.decision import Plan
from controller.core.gpus import GpuHealth, cordons
from controller.core.judging import Judged
from controller.core.model import SERVING, Gpu, PoolName, ReplicaMemory, ReplicaState, Snapshot
from controller.core.placement import why_not
from controller.core.policy import PoolPolicy
from controller.core.signals import fresh

_FRESH = timedelta(seconds=3)  # where no pool says how old a reading may be


def stock(
    snapshot: Snapshot, policies: Sequence[PoolPolicy], health: GpuHealth, judged: Sequence[Judged]
) -> tuple[Gpu, ...]:
    """Every GPU of the nodes, sorted; also one whose exporter is silent now, its free memory then unknown."""
    if not (snapshot.gpus or health.memory):
        return ()
    nodes = {node.name: why_not(node) for node in snapshot.nodes}
    there = {uuid: Gpu(item.node, uuid) for uuid, item in health.memory.items()}
    oldest = policies[0].scaling.max_reading_age if policies else _FRESH
    there |= {gpu.uuid: replace(gpu, free_bytes=fresh(gpu.free_bytes, snapshot.at, oldest)) for gpu in snapshot.gpus}
    needs = {policy.pool: policy.scaling.gpu_memory_bytes for policy in policies}
    promised = _promised(there, needs, judged)
    return tuple(
        replace(gpu, promised_bytes=promised.get(uuid, 0), barred=health.barred.get(uuid) or _of_node(nodes[gpu.node]))
        for uuid, gpu in sorted(there.items())
        if gpu.node in nodes
    )


def stock_left(snapshot: Snapshot, policies: Sequence[PoolPolicy], plan: Plan) -> tuple[Gpu, ...]:
    """The same as a tick left it, for those who ask why something found no place."""
    every, known = cordons(plan.memory.gpus, snapshot.orders), plan.memory.replicas
    barred = {uuid: f"is cordoned: {cordon.why}" for uuid, cordon in every.items()}
    names = ((replica, replica.container.replica) for replica in snapshot.replicas)
    judged = [(replica, known[name]) for replica, name in names if name in known]
    return stock(snapshot, policies, GpuHealth(plan.memory.gpus, barred=barred), judged)


def _of_node(why: str | None) -> str:
    return f"takes none: {why}" if why else ""


def _promised(gpus: Mapping[str, Gpu], needs: Mapping[PoolName, int], judged: Sequence[Judged]) -> dict[str, int]:
    """What the replicas that were given a GPU will still take of what it had free when it was last read."""
    found: dict[str, int] = {}
    for _, known in judged:
        gpu = gpus.get(known.gpu)
        if gpu is not None and _takes_more(known, gpu):
            found[known.gpu] = found.get(known.gpu, 0) + needs.get(known.pool, 0)
    return found


def _takes_more(known: ReplicaMemory, gpu: Gpu) -> bool:
    """Whether it was not ready yet when the free memory was read."""
    if known.state is ReplicaState.STARTING:
        return True
    if known.state not in SERVING or known.ready_at is None or gpu.free_bytes.at is None:
        return False
    return known.ready_at > gpu.free_bytes.at
