"""NVML, the driver's own library, by way of nvidia-ml-py. Any of this may hang where a GPU or the driver is broken.

Whoever calls it does so in a thread of its own; while a call runs other threads do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pynvml

from exporters.gpu.facts import LOST, OVER, Identity, Instance, Process, Reading, Values

Handle = Any  # a pointer that is good for as long as NVML is initialised

_MIB = 1024**2
_MIG_ON = 1
_ALL_LINKS = 0xFFFFFFFF
_NO_INSTANCE = 0xFFFFFFFF
_PROFILE = re.compile(r"(?:\d+c\.)?\d+g\.\d+gb\S*")
_NAMES = {
    getattr(pynvml, name): name.removeprefix("NVML_ERROR_").lower()
    for name in dir(pynvml)
    if name.startswith("NVML_ERROR_")
}
_FAILURES = (pynvml.NVMLError, UnicodeDecodeError)
_ABSENT = frozenset(("not_supported", "function_not_found"))  # this GPU, or this driver, does not have it
_FATAL = OVER | {LOST}


class NvmlFault(Exception):
    """A call failed. `name` is NVML's, in lower case."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


def begin() -> None:
    """Load and initialise it. Raises `NvmlFault`; `library_not_found` on a machine without the driver."""
    _call(pynvml.nvmlInitWithFlags, 0)


def end() -> None:
    """Nobody may be in a call. Raises `NvmlFault`."""
    _call(pynvml.nvmlShutdown)


def count() -> int:
    """How many GPUs there are. Raises `NvmlFault`."""
    return int(_call(pynvml.nvmlDeviceGetCount))


def driver() -> str:
    """The driver's version. Raises `NvmlFault`."""
    return str(_call(pynvml.nvmlSystemGetDriverVersion))


def identify(index: int, version: str) -> tuple[Handle, Identity]:
    """The GPU at an index, with that version of the driver. Raises `NvmlFault` where it does not tell its UUID."""
    handle = _call(pynvml.nvmlDeviceGetHandleByIndex, index)
    uuid = str(_call(pynvml.nvmlDeviceGetUUID, handle))
    minor = _or_none(pynvml.nvmlDeviceGetMinorNumber, handle)
    pci = _or_none(pynvml.nvmlDeviceGetPciInfo_v3, handle)
    return handle, Identity(
        index=index,
        uuid=uuid,
        device=f"nvidia{index if minor is None else minor}",
        name=_or_none(pynvml.nvmlDeviceGetName, handle) or "",
        pci_bus_id="" if pci is None else str(pci.busId),
        driver=version,
    )


def read(handle: Handle) -> Reading:
    """Everything that the GPU tells now. Takes about 30 calls; none after one that says that the GPU is lost."""
    asked = _Asked()
    values: dict[str, float] = {}
    for call in _CALLS:
        values.update(asked.ask(call, handle) or {})
    values.update(_of_fields(asked, handle))
    instances = tuple(_instances(asked, handle))
    processes = tuple(_processes(asked, handle))
    if asked.fatal:
        return Reading(faults=tuple(asked.faults))
    if instances:  # what they have is the GPU's: told twice, it would be added up twice
        values = {name: value for name, value in values.items() if not name.startswith("FB_")}
    return Reading(values, instances, processes, tuple(asked.faults))


class XidEvents:
    """The XIDs of one GPU, from now on."""

    def __init__(self, handle: Handle) -> None:
        """Raises `NvmlFault`; `not_supported` by a GPU that tells of none."""
        self._set = _call(pynvml.nvmlEventSetCreate)
        try:
            _call(pynvml.nvmlDeviceRegisterEvents, handle, pynvml.nvmlEventTypeXidCriticalError, self._set)
        except NvmlFault:
            self.close()
            raise

    def wait(self, timeout_ms: int) -> int | None:
        """The next one; None where there was none in that time. Raises `NvmlFault`."""
        try:
            return int(_call(pynvml.nvmlEventSetWait_v2, self._set, timeout_ms).eventData)
        except NvmlFault as fault:
            if fault.name == "timeout":
                return None
            raise

    def close(self) -> None:
        """Raises `NvmlFault`."""
        _call(pynvml.nvmlEventSetFree, self._set)


class _Asked:
    """Calls about one GPU, and what went wrong with them."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.fatal = False

    def ask(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """The answer; None where there is none, or where a fault before it left nothing to ask."""
        if self.fatal:
            return None
        try:
            return call(*arguments)
        except _FAILURES as error:
            self.fail(_name_of(error))
            return None

    def fail(self, name: str) -> None:
        """Note a fault, unless it only says that the GPU or the driver does not have that."""
        if name not in _ABSENT:
            self.faults.append(name)
            self.fatal = self.fatal or name in _FATAL


def _call(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except _FAILURES as error:
        raise NvmlFault(_name_of(error)) from error


def _name_of(error: Exception) -> str:
    code = getattr(error, "value", None)
    return "unreadable" if code is None else _NAMES.get(code, f"code_{code}")


def _or_none(call: Callable[..., Any], *arguments: Any) -> Any:
    """What is good to know and not worth a fault."""
    try:
        return call(*arguments)
    except _FAILURES:
        return None


def _newest(newer: Callable[..., Any], older: Callable[..., Any]) -> Callable[..., Any]:
    """The newer function, and the older one where the driver does not have it."""

    def call(*arguments: Any) -> Any:
        try:
            return newer(*arguments)
        except pynvml.NVMLError as error:
            if error.value != pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
                raise
            return older(*arguments)

    return call


def _one(name: str, call: Callable[..., Any], *arguments: Any, per: int = 1) -> Callable[[Handle], Values]:
    """A call that answers with one number, `per` of which are one of the DCGM exporter's unit."""

    def ask(handle: Handle) -> Values:
        found = call(handle, *arguments)
        return {name: found if per == 1 else found / per}

    return ask


def _utilization(handle: Handle) -> Values:
    found = pynvml.nvmlDeviceGetUtilizationRates(handle)
    return {"GPU_UTIL": found.gpu, "MEM_COPY_UTIL": found.memory}


def _memory(handle: Handle) -> Values:
    found = _memory_info(handle)
    values = {"FB_TOTAL": found.total // _MIB, "FB_USED": found.used // _MIB, "FB_FREE": found.free // _MIB}
    if hasattr(found, "reserved"):  # in older drivers it is part of what is used
        values["FB_RESERVED"] = found.reserved // _MIB
    return values


def _remapped(handle: Handle) -> Values:
    names = ("CORRECTABLE_REMAPPED_ROWS", "UNCORRECTABLE_REMAPPED_ROWS", "ROW_REMAP_PENDING", "ROW_REMAP_FAILURE")
    return dict(zip(names, pynvml.nvmlDeviceGetRemappedRows(handle), strict=True))


def _of_fields(asked: _Asked, handle: Handle) -> Values:
    """Values that have numbers instead of functions. Each can fail by itself."""
    wanted = (
        pynvml.NVML_FI_DEV_MEMORY_TEMP,
        (pynvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, _ALL_LINKS),
        (pynvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX, _ALL_LINKS),
    )
    found = asked.ask(pynvml.nvmlDeviceGetFieldValues, handle, wanted)
    if found is None:
        return {}
    for each in found:
        if each.nvmlReturn != pynvml.NVML_SUCCESS:
            asked.fail(_NAMES.get(each.nvmlReturn, f"code_{each.nvmlReturn}"))
    temperature, sent, received = (each if each.nvmlReturn == pynvml.NVML_SUCCESS else None for each in found)
    values: dict[str, float] = {}
    if temperature is not None:
        values["MEMORY_TEMP"] = temperature.value.uiVal
    if sent is not None and received is not None:
        values["NVLINK_BANDWIDTH_TOTAL"] = sent.value.ullVal + received.value.ullVal
    return values


def _instances(asked: _Asked, handle: Handle) -> Iterator[Instance]:
    """Those of MIG. Several compute instances of one of them are one: they share its memory."""
    mode = asked.ask(pynvml.nvmlDeviceGetMigMode, handle)
    if mode is None or mode[0] != _MIG_ON:
        return
    seen: set[int] = set()
    for index in range(asked.ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        part = _or_none(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)  # not found: nothing has this index
        number = None if part is None else asked.ask(pynvml.nvmlDeviceGetGpuInstanceId, part)
        if number is None or number in seen:
            continue
        seen.add(number)
        profile = _PROFILE.search(asked.ask(pynvml.nvmlDeviceGetName, part) or "")
        yield Instance(number, profile[0] if profile else "", asked.ask(_memory, part) or {})


def _processes(asked: _Asked, handle: Handle) -> Iterator[Process]:
    """Each once, though it may both compute and draw."""
    seen: set[tuple[int, int]] = set()
    for call in (pynvml.nvmlDeviceGetComputeRunningProcesses_v3, pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3):
        for found in asked.ask(call, handle) or ():
            if (found.pid, found.gpuInstanceId) not in seen:
                seen.add((found.pid, found.gpuInstanceId))
                instance = None if found.gpuInstanceId == _NO_INSTANCE else found.gpuInstanceId
                yield Process(found.pid, found.usedGpuMemory, instance)


_memory_info = _newest(
    lambda handle: pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2), pynvml.nvmlDeviceGetMemoryInfo
)
_temperature = _newest(pynvml.nvmlDeviceGetTemperature, pynvml.nvmlDeviceGetTemperatureV)
_reasons = _newest(pynvml.nvmlDeviceGetCurrentClocksEventReasons, pynvml.nvmlDeviceGetCurrentClocksThrottleReasons)
_CALLS: tuple[Callable[[Handle], Values], ...] = (
    _utilization,
    _memory,
    _one("GPU_TEMP", _temperature, pynvml.NVML_TEMPERATURE_GPU),
    _one("POWER_USAGE", pynvml.nvmlDeviceGetPowerUsage, per=1000),
    _one("POWER_MGMT_LIMIT", pynvml.nvmlDeviceGetPowerManagementLimit, per=1000),
    _one("TOTAL_ENERGY_CONSUMPTION", pynvml.nvmlDeviceGetTotalEnergyConsumption),
    _one("SM_CLOCK", pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM),
    _one("MEM_CLOCK", pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_MEM),
    _one("CLOCK_THROTTLE_REASONS", _reasons),
    _one("PCIE_REPLAY_COUNTER", pynvml.nvmlDeviceGetPcieReplayCounter),
    *(
        _one(f"ECC_{bits}_{since}_TOTAL", pynvml.nvmlDeviceGetTotalEccErrors, kind, counter)
        for bits, kind in (
            ("SBE", pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
            ("DBE", pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
        )
        for since, counter in (("VOL", pynvml.NVML_VOLATILE_ECC), ("AGG", pynvml.NVML_AGGREGATE_ECC))
    ),
    _remapped,
    lambda handle: {"ENC_UTIL": pynvml.nvmlDeviceGetEncoderUtilization(handle)[0]},
    lambda handle: {"DEC_UTIL": pynvml.nvmlDeviceGetDecoderUtilization(handle)[0]},
)
