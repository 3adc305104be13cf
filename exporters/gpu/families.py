"""Readings and what is remembered as metrics. Pure: no NVML, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from exporters.gpu.collect import Known
from exporters.gpu.facts import Identity, Look, Owned, Owner, Process, Values
from exporters.gpu.text import Family, labels

_PREFIX = "DCGM_FI_DEV_"
_GAUGES = {
    "GPU_UTIL": "Share of the last moments in which a kernel ran, in %.",
    "MEM_COPY_UTIL": "Share in which memory was read or written, in %.",
    "FB_TOTAL": "Memory, in MiB.",
    "FB_USED": "Memory in use, in MiB.",
    "FB_FREE": "Memory that is free, in MiB.",
    "FB_RESERVED": "Memory that the driver keeps for itself, in MiB.",
    "GPU_TEMP": "Temperature of the GPU, in C.",
    "MEMORY_TEMP": "Temperature of its memory, in C.",
    "POWER_USAGE": "Power, in W.",
    "POWER_MGMT_LIMIT": "Power that it may take, in W.",
    "SM_CLOCK": "Clock of the SMs, in MHz.",
    "MEM_CLOCK": "Clock of the memory, in MHz.",
    "CLOCK_THROTTLE_REASONS": "Why its clocks are not higher: a bit for each reason.",
    "ROW_REMAP_PENDING": "1: rows of memory are remapped at the next reset.",
    "ROW_REMAP_FAILURE": "1: a row of memory could not be remapped.",
    "XID_ERRORS": "The last XID since the GPU is there; 0: none.",
    "ENC_UTIL": "Utilisation of the encoder, in %.",
    "DEC_UTIL": "Utilisation of the decoder, in %.",
}
_COUNTERS = {
    "TOTAL_ENERGY_CONSUMPTION": "Energy since the driver was loaded, in mJ.",
    "PCIE_REPLAY_COUNTER": "PCIe packets that were sent again.",
    "ECC_SBE_VOL_TOTAL": "Memory errors that were corrected, since the driver was loaded.",
    "ECC_DBE_VOL_TOTAL": "Memory errors that could not be corrected, since the driver was loaded.",
    "ECC_SBE_AGG_TOTAL": "Memory errors that were corrected, in the GPU's life.",
    "ECC_DBE_AGG_TOTAL": "Memory errors that could not be corrected, in the GPU's life.",
    "CORRECTABLE_REMAPPED_ROWS": "Rows remapped for errors that could be corrected.",
    "UNCORRECTABLE_REMAPPED_ROWS": "Rows remapped for errors that could not.",
    "NVLINK_BANDWIDTH_TOTAL": "Data sent and received over all NVLinks, in KiB.",
}
_THERMAL = 0x20 | 0x40  # of the throttle reasons: software and hardware thermal slowdown


@dataclass(frozen=True, slots=True)
class Page:
    """All that one collection found. `up` is None on a machine without NVML, which has no GPUs to miss."""

    node: str  # the label Hostname
    up: bool | None
    looks: Sequence[Look]
    known: Sequence[Known]
    took_s: float


def families(page: Page, owned: Callable[[int], Owned], now: float) -> Iterator[Family]:
    """All of it. `owned` tells whose process that is; `now` is a clock in seconds that is never set."""
    yield _alone("stoker_gpu_scrape_duration_seconds", "How long the GPUs took to answer.", page.took_s)
    if page.up is None:
        return
    yield _alone("stoker_gpu_nvml_up", "Whether NVML is initialised.", int(page.up))
    yield from _readings(page, owned)
    yield from _remembered(page, now)


def _alone(name: str, told: str, value: float) -> Family:
    family = Family(name, "gauge", told)
    family.add("", value)
    return family


def _readings(page: Page, owned: Callable[[int], Owned]) -> Iterator[Family]:
    told = {name: Family(_PREFIX + name, "gauge", text) for name, text in _GAUGES.items()}
    told |= {name: Family(_PREFIX + name, "counter", text) for name, text in _COUNTERS.items()}
    throttled = Family("stoker_gpu_thermal_throttled", "gauge", "Whether it is slowed down for its temperature.")
    memory = Family("stoker_gpu_process_memory_bytes", "gauge", "Memory by container and name of the process.")
    users: dict[str, dict[str, str]] = {}
    for look in page.looks:
        reading, identity = look.reading, look.identity
        if reading is None:
            continue
        processes = [(process, owned(process.pid)) for process in reading.processes]
        user = users[identity.uuid] = _user([one.owner for _, one in processes])
        _tell(told, labels(_labels(page, identity) | user), reading.values)
        for part in reading.instances:
            inside = [one.owner for process, one in processes if process.instance == part.id]
            of_part = {"GPU_I_PROFILE": part.profile, "GPU_I_ID": str(part.id)} | _user(inside)
            _tell(told, labels(_labels(page, identity) | of_part), part.values)
        if "CLOCK_THROTTLE_REASONS" in reading.values:
            is_hot = int(reading.values["CLOCK_THROTTLE_REASONS"]) & _THERMAL != 0
            throttled.add(labels(_labels(page, identity)), int(is_hot))
        _tell_memory(memory, page, identity, processes)
    for known in page.known:
        if known.identity.uuid:
            ours = _labels(page, known.identity) | users.get(known.identity.uuid, {})
            told["XID_ERRORS"].add(labels(ours), known.xid)
    yield from (*told.values(), throttled, memory)


def _tell(told: dict[str, Family], labelled: str, values: Values) -> None:
    for name, value in values.items():
        told[name].add(labelled, value)


def _tell_memory(family: Family, page: Page, identity: Identity, processes: Sequence[tuple[Process, Owned]]) -> None:
    sums: dict[Owned, int] = {}
    for process, owned in processes:
        if process.memory_bytes is not None:
            sums[owned] = sums.get(owned, 0) + process.memory_bytes
    for owned, total in sums.items():
        owner = owned.owner
        whose = {"container": owner.container, "pool": owner.pool, "replica": owner.replica, "process": owned.name}
        where = {"gpu": str(identity.index), "UUID": identity.uuid, "Hostname": page.node}
        family.add(labels(where | whose), total)


def _remembered(page: Page, now: float) -> Iterator[Family]:
    xids = Family("stoker_gpu_xid_events_total", "counter", "XIDs by number.")
    faults = Family("stoker_gpu_errors_total", "counter", "Calls to NVML that failed, by its name for the fault.")
    lost = Family("stoker_gpu_lost", "gauge", "1: the GPU was there and is lost.")
    succeeded = Family("stoker_gpu_last_success_timestamp_seconds", "gauge", "When it last told anything.")
    for known in page.known:
        ours = _labels(page, known.identity)
        labelled = labels(ours)
        lost.add(labelled, int(known.lost))
        if known.succeeded_at is not None:
            succeeded.add(labelled, known.succeeded_at)
        for (code,), count in known.xids.tell(now):
            xids.add(labels(ours | {"xid": code}), count)
        for (fault,), count in known.faults.tell(now):
            faults.add(labels(ours | {"error": fault}), count)
    yield from (xids, faults, lost, succeeded)


def _labels(page: Page, identity: Identity) -> dict[str, str]:
    return {
        "gpu": str(identity.index),
        "UUID": identity.uuid,
        "pci_bus_id": identity.pci_bus_id,
        "device": identity.device,
        "modelName": identity.name,
        "Hostname": page.node,
        "DCGM_FI_DRIVER_VERSION": identity.driver,
    }


def _user(owners: Sequence[Owner]) -> dict[str, str]:
    """The replica that uses it, where it is one; where several do, none of them has it for itself."""
    replicas = {(owner.pool, owner.replica) for owner in owners if owner.replica}
    if len(replicas) != 1:
        return {}
    ((pool, replica),) = replicas
    return {"pool": pool, "replica": replica}
