"""Builds the library, and writes what it answers."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

_SOURCES = Path(__file__).parent
_C = ("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread")

# NVML's codes for faults.
NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED, LIBRARY_MISMATCH, LOST, UNKNOWN = 3, 4, 9, 18, 15, 999
EVERYTHING = "*"
PROCESSES = "nvmlDeviceGetComputeRunningProcesses_v3"
POWER = "nvmlDeviceGetPowerUsage"

# What an H100 may say while it works. Power in mW, memory in MiB, energy in mJ, as the driver has them.
BUSY = {
    "name": "NVIDIA H100 80GB HBM3",
    "util": 87,
    "mem_util": 41,
    "total": 81559,
    "used": 61000,
    "reserved": 559,
    "temp": 63,
    "mem_temp": 71,
    "power": 512_345,
    "limit": 700_000,
    "energy": 123_456_789,
    "sm_clock": 1755,
    "mem_clock": 2619,
    "reasons": 4,
    "replay": 2,
    "sbe_vol": 1,
    "dbe_vol": 0,
    "sbe_agg": 5,
    "dbe_agg": 0,
    "remap_corr": 1,
    "remap_unc": 0,
    "remap_pending": 0,
    "remap_failure": 0,
    "enc": 0,
    "dec": 3,
    "nvlink_tx": 1_000,
    "nvlink_rx": 2_000,
}


@functools.cache
def built() -> Path:
    """The folder with libnvidia-ml.so.1 and smi; made once, and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="nvml-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = folder / "libnvidia-ml.so.1"
    flags = ("-shared", "-fPIC", f"-Wl,-soname,{library.name}")
    subprocess.run([*_C, *flags, "-o", library, _SOURCES / "stub.c"], check=True, timeout=120)
    smi = (_SOURCES / "smi.c", library, f"-Wl,-rpath,{folder}")
    subprocess.run([*_C, "-o", folder / "smi", *smi], check=True, timeout=120)
    return folder


@dataclass
class World:
    """The GPUs that there are, and what is wrong with them. Each change is written at once, by rename."""

    path: Path
    slots: list[int] = field(default_factory=list)
    gpus: dict[int, dict[str, str | int]] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)  # by what `put` called them
    events: int = 0

    @staticmethod
    def of(folder: Path, gpus: int) -> World:
        """So many GPUs that work."""
        world = World(folder / "world.txt")
        world.lines["driver"] = "driver 570.86.15"
        for slot in range(gpus):
            world.slots.append(slot)
            bus = f"00000000:{slot + 1:02X}:00.0"
            world.gpus[slot] = {**BUSY, "uuid": f"GPU-{slot:08d}", "minor": slot, "bus": bus}
        world.write()
        return world

    def put(self, name: str, *lines: str) -> None:
        """Lines of the file under a name; none takes them back."""
        self.lines[name] = "\n".join(lines)
        self.write()

    def set(self, slot: int, **values: str | int | None) -> None:
        """Values of a GPU; None: it does not support that."""
        known = self.gpus[slot] | {name: value for name, value in values.items() if value is not None}
        self.gpus[slot] = {name: value for name, value in known.items() if values.get(name, value) is not None}
        self.write()

    def show(self, *slots: int) -> None:
        """These are the GPUs that there are."""
        self.slots = list(slots)
        self.write()

    def xid(self, slot: int, code: int) -> None:
        """An event."""
        self.events += 1
        self.put(f"xid {self.events}", f"xid {self.events} {slot} {code}")

    def write(self) -> None:
        """The file of now."""
        told = [f"slots {' '.join(map(str, self.slots))}"]
        told += [f"gpu {slot} {name} {value}" for slot, values in self.gpus.items() for name, value in values.items()]
        partial = self.path.with_suffix(".partial")
        partial.write_text("\n".join([*told, *self.lines.values(), ""]), encoding="utf-8")
        os.replace(partial, self.path)

    def environment(self) -> dict[str, str]:
        """What a process that is to see these GPUs has in its environment."""
        return {"LD_LIBRARY_PATH": str(built()), "STOKER_NVML_STUB": str(self.path)}
