"""What GPUs said at one time. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Faults, by NVML's names for them, that are more than a value that is missing.
LOST = "gpu_is_lost"
UNKNOWN = "unknown"
OVER = frozenset(("uninitialized", "driver_not_loaded", "lib_rm_version_mismatch"))  # NVML has to begin anew
DEADLINE = "deadline"  # ours: a call has not come back

Values = Mapping[str, float]  # by the DCGM exporter's name without `DCGM_FI_DEV_`


@dataclass(frozen=True, slots=True)
class Identity:
    """Which GPU. One that would not tell has no `uuid`."""

    index: int
    uuid: str = ""
    device: str = ""  # nvidia0
    name: str = ""
    pci_bus_id: str = ""
    driver: str = ""


@dataclass(frozen=True, slots=True)
class Process:
    """A process with memory on the GPU."""

    pid: int
    memory_bytes: int | None  # None: the driver does not say
    instance: int | None = None  # of MIG


@dataclass(frozen=True, slots=True)
class Instance:
    """A GPU instance of MIG."""

    id: int
    profile: str  # 1g.10gb
    values: Values


@dataclass(frozen=True, slots=True)
class Reading:
    """What a GPU answered. `faults`: each call that failed, but for those that it does not support."""

    values: Values = field(default_factory=dict)
    instances: tuple[Instance, ...] = ()
    processes: tuple[Process, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def lost(self) -> bool:
        """It has fallen off the bus, or is otherwise out of reach."""
        return LOST in self.faults

    @property
    def over(self) -> str:
        """Why NVML has to begin anew; empty: it has not."""
        return next((fault for fault in self.faults if fault in OVER), "")


@dataclass(frozen=True, slots=True)
class Look:
    """One GPU in one collection. `reading` is None where it did not answer in time."""

    identity: Identity
    reading: Reading | None


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose process it is. All empty: nobody's that we know."""

    container: str = ""
    pool: str = ""
    replica: str = ""


@dataclass(frozen=True, slots=True)
class Owned:
    """A process by name, and whose it is."""

    name: str = ""
    owner: Owner = Owner()
