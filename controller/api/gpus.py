"""GPUs as the API tells of them: as the last tick saw them, and what their exporters measured in the last seconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, Field

from controller.api.deps import Seen, Sources
from controller.core.gpus import cordons
from controller.core.model import Cordon, GpuReport, Known
from controller.core.stock import stock_left
from controller.core.timeline import Axis
from controller.core.xids import of_code

_EVERY_S = 10
_COLUMN, _INDEX = "column", "gpu"
_GAUGES: Mapping[str, str] = {
    "temperature_c": "max by (UUID, gpu) (DCGM_FI_DEV_GPU_TEMP)",
    "power_w": "max by (UUID, gpu) (DCGM_FI_DEV_POWER_USAGE)",
    "power_limit_w": "max by (UUID, gpu) (DCGM_FI_DEV_POWER_MGMT_LIMIT)",
    "utilization": "max by (UUID, gpu) (DCGM_FI_DEV_GPU_UTIL) / 100",
}
_QUESTION = " or ".join(f'label_replace({text}, "{_COLUMN}", "{name}", "", "")' for name, text in _GAUGES.items())


class CordonOut(BaseModel):
    """Why nothing new starts on a GPU."""

    at: datetime
    reason: str = Field(description="GpuLost, GpuFault, GpuHot, or Ordered by a person.")
    why: str
    advice: str = Field(description="What a person is to do about it.")


class XidOut(BaseModel):
    """An error that the GPU's driver told of."""

    code: int
    count: int = Field(description="How often, since its exporter counts.")
    meaning: str
    verdict: str = Field(description="What follows: ignore, watch, cordon or dead.")
    advice: str = Field(description="What a person is to do about it.")


class GpuOut(BaseModel):
    """A GPU as the last tick saw it. None is what is not known now."""

    uuid: str
    node: str
    index: int | None = Field(description="As nvidia-smi counts them.")
    model: str | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    memory_free_bytes: int | None
    memory_promised_bytes: int = Field(description="Of what is free: replicas that start on it will take that.")
    temperature_c: float | None
    power_w: float | None
    power_limit_w: float | None
    utilization: float | None = Field(description="0 to 1.")
    xids: list[XidOut]
    replicas: list[str] = Field(description="Those that were given it.")
    cordon: CordonOut | None


@dataclass(frozen=True, slots=True)
class Gauges:
    """What the exporters measured, by UUID and name; and since when nobody says. Empty where nobody does."""

    by_gpu: Mapping[str, Mapping[str, float]]
    stale_since: datetime | None = None


NO_GAUGES = Gauges({})


def gauges_of(sources: Sources) -> Gauges:
    """Of the last seconds. Blocks for at most 7 s where Prometheus is slow; one question for all who look."""
    now = int(sources.now().timestamp())
    told = sources.history.ask(_QUESTION, Axis(now - now % _EVERY_S, _EVERY_S, 1))
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for series in told.series:
        mine = found[series.labels.get("UUID", "")]
        mine[series.labels.get(_COLUMN, "")] = series.points[max(series.points)]
        if (index := series.labels.get(_INDEX, "")).isdecimal():
            mine[_INDEX] = float(index)
    return Gauges(found, told.stale_since)


def gpus_of(seen: Seen | None, gauges: Gauges = NO_GAUGES) -> list[GpuOut]:
    """Every GPU that is told of or remembered, by node and index."""
    found = [] if seen is None else list(_every(seen, gauges))
    return sorted(found, key=lambda row: (row.node, -1 if row.index is None else row.index, row.uuid))


def _every(seen: Seen, gauges: Gauges) -> Iterator[GpuOut]:
    snapshot, memory = seen.snapshot, seen.plan.memory
    free = {gpu.uuid: int(gpu.free_bytes.value) for gpu in snapshot.gpus if gpu.free_bytes.known is not Known.UNKNOWN}
    promised = {gpu.uuid: gpu.promised_bytes for gpu in stock_left(snapshot, seen.policies, seen.plan)}
    cordoned = cordons(memory.gpus, snapshot.orders)
    on: dict[str, list[str]] = defaultdict(list)
    for known in memory.replicas.values():
        on[known.gpu].append(known.replica)
    every = {uuid: item.node for uuid, item in memory.gpus.items()} | {gpu.uuid: gpu.node for gpu in snapshot.gpus}
    for uuid, node in every.items():
        report, told = snapshot.reports.get(uuid, GpuReport(node, uuid)), gauges.by_gpu.get(uuid, {})
        yield GpuOut(
            uuid=uuid,
            node=node,
            index=_whole(told.get(_INDEX)),
            model=report.model or None,
            memory_used_bytes=_whole(report.used_bytes),
            memory_total_bytes=_whole(report.total_bytes),
            memory_free_bytes=free.get(uuid),
            memory_promised_bytes=promised.get(uuid, 0),
            **{name: told.get(name) for name in _GAUGES},
            xids=_xids(seen, uuid, report),
            replicas=sorted(on.get(uuid, ())),
            cordon=_cordon(cordoned.get(uuid)),
        )


def _xids(seen: Seen, uuid: str, report: GpuReport) -> list[XidOut]:
    """Of an exporter that is silent: those that were told of before."""
    known = seen.plan.memory.gpus.get(uuid)
    counts = dict(report.xids) or dict(known.xids if known else ())
    found = ((code, count, of_code(code)) for code, count in sorted(counts.items()))
    return [
        XidOut(code=code, count=count, meaning=xid.meaning, verdict=xid.verdict.value, advice=xid.advice)
        for code, count, xid in found
    ]


def _cordon(cordon: Cordon | None) -> CordonOut | None:
    if cordon is None:
        return None
    return CordonOut(at=cordon.at, reason=cordon.code, why=cordon.why, advice=cordon.advice)


def _whole(count: float | None) -> int | None:
    return None if count is None else int(count)
