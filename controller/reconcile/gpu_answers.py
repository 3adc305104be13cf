"""Prometheus's answer -> the GPUs: their free memory, and what else their exporters say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from controller.core.model import UNKNOWN, Gpu, GpuReport, Node, NodeName, Reading
from controller.ports import Sample
from controller.reconcile.queries import GPU_FREE, GPU_FREE_AT, GPU_TOLD_AT, XID_EVENTS, XID_LAST

_MIB = 1024**2
_BYTES = {"DCGM_FI_DEV_FB_USED": "used_bytes", "DCGM_FI_DEV_FB_TOTAL": "total_bytes"}
_DOUBLE_BIT = "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"
_FLAGS = {
    "DCGM_FI_DEV_ROW_REMAP_FAILURE": "remap_failed",
    "DCGM_FI_DEV_ROW_REMAP_PENDING": "remap_pending",
    "stoker_gpu_lost": "lost",
    "stoker_gpu_thermal_throttled": "throttled",
}
_Labels = Mapping[str, str]
_Series = Mapping[str, Sequence[Sample]]


def gpus(series: _Series) -> tuple[Gpu, ...]:
    """Each GPU once: where two exporters tell of one, or it is parted, the least free memory counts."""

    def place(labels: _Labels) -> tuple[str | None, ...]:
        return labels.get("node"), labels.get("Hostname"), labels.get("UUID")

    measured = {place(sample.labels): sample.value for sample in series.get(GPU_FREE_AT, ())}
    found: dict[str, Gpu] = {}
    for sample in sorted(series.get(GPU_FREE, ()), key=lambda sample: -sample.value):
        at = measured.get(place(sample.labels))
        free = UNKNOWN if at is None else Reading.of(sample.value * _MIB, _time(at, sample))
        uuid = sample.labels.get("UUID", "")
        found[uuid] = Gpu(_node(sample.labels), uuid, free)
    return tuple(found[uuid] for uuid in sorted(found))


def reports(series: _Series) -> dict[str, GpuReport]:
    """What is told of each GPU, by UUID. Where two exporters tell of one, what is worse counts."""
    found: dict[str, GpuReport] = {}
    for sample in (*series.get(GPU_FREE_AT, ()), *series.get(GPU_TOLD_AT, ())):
        uuid, at = sample.labels.get("UUID", ""), _time(sample.value, sample)
        known = found.get(uuid) or GpuReport(_node(sample.labels), uuid)
        found[uuid] = replace(known, at=at if known.at is None else max(known.at, at))
    for name, sample in _told(series):
        uuid = sample.labels.get("UUID", "")
        if uuid in found:
            model = found[uuid].model or sample.labels.get("modelName", "")
            found[uuid] = replace(found[uuid], model=model, **_said(found[uuid], name, sample))
    return found


def at_home(node: NodeName, nodes: Sequence[Node]) -> NodeName:
    """The node's name here. An exporter that is not ours knows its own host's name only: of one node it is that one."""
    known = [here.name for here in nodes]
    return known[0] if len(known) == 1 and node not in known else node


def _told(series: _Series) -> Iterator[tuple[str, Sample]]:
    for name in (*_BYTES, _DOUBLE_BIT, *_FLAGS, XID_EVENTS, XID_LAST):
        yield from ((name, sample) for sample in series.get(name, ()))


def _said(known: GpuReport, name: str, sample: Sample) -> dict[str, Any]:
    """What a sample changes of the report."""
    if name in _BYTES:
        return {_BYTES[name]: sample.value * _MIB}
    if name == _DOUBLE_BIT:
        return {"double_bit": max(known.double_bit or 0, int(sample.value))}
    if name in _FLAGS:
        return {_FLAGS[name]: bool(getattr(known, _FLAGS[name])) or sample.value > 0}
    code = int(sample.value) if name == XID_LAST else _code(sample.labels.get("xid", ""))
    count = 1 if name == XID_LAST else int(sample.value)
    return {"xids": {**known.xids, code: max(known.xids.get(code, 0), count)}} if code > 0 and count > 0 else {}


def _code(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _node(labels: _Labels) -> NodeName:
    return NodeName(labels.get("node") or labels.get("Hostname", ""))


def _time(seconds: float, sample: Sample) -> datetime:
    return datetime.fromtimestamp(seconds, tz=sample.at.tzinfo)
