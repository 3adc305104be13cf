"""GPUs as the API tells of them. Pure."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from controller.api.deps import Seen
from controller.core.gpus import cordons
from controller.core.model import Cordon, GpuReport, Known, NodeName


class CordonOut(BaseModel):
    """Why nothing new starts on a GPU."""

    at: datetime
    reason: str = Field(description="GpuLost, GpuFault, GpuHot, or Ordered by a person.")
    why: str
    advice: str = Field(description="What a person is to do about it.")


class GpuOut(BaseModel):
    """A GPU as the last tick saw it. None is what is not known now."""

    uuid: str
    node: str
    model: str | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    memory_free_bytes: int | None
    replicas: list[str] = Field(description="Those that were given it.")
    cordon: CordonOut | None


def gpus_of(seen: Seen | None) -> list[GpuOut]:
    """Every GPU that is told of or remembered, by node and UUID."""
    if seen is None:
        return []
    snapshot, memory = seen.snapshot, seen.plan.memory
    free = {gpu.uuid: int(gpu.free_bytes.value) for gpu in snapshot.gpus if gpu.free_bytes.known is not Known.UNKNOWN}
    cordoned = cordons(memory.gpus, snapshot.orders)
    found = {uuid: known.node for uuid, known in memory.gpus.items()} | {gpu.uuid: gpu.node for gpu in snapshot.gpus}
    return sorted(
        (_gpu(seen, (node, uuid), free.get(uuid), cordoned.get(uuid)) for uuid, node in found.items()),
        key=lambda row: (row.node, row.uuid),
    )


def _gpu(seen: Seen, place: tuple[NodeName, str], free: int | None, cordon: Cordon | None) -> GpuOut:
    node, uuid = place
    report = seen.snapshot.reports.get(uuid, GpuReport(node, uuid))
    known = seen.plan.memory.replicas.values()
    return GpuOut(
        uuid=uuid,
        node=node,
        model=report.model or None,
        memory_used_bytes=_bytes(report.used_bytes),
        memory_total_bytes=_bytes(report.total_bytes),
        memory_free_bytes=free,
        replicas=sorted(item.replica for item in known if item.gpu == uuid),
        cordon=cordon and CordonOut(at=cordon.at, reason=cordon.code, why=cordon.why, advice=cordon.advice),
    )


def _bytes(count: float | None) -> int | None:
    return None if count is None else int(count)
