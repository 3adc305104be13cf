"""CPU, memory and load of the machine, under node_exporter's names. The texts are the kernel's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from exporters.gpu.text import Family, labels

_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_KIB = 1024


def families(proc: Path) -> list[Family]:
    """What can be read; the rest is left out."""
    return [*cpu(_text(proc / "stat")), *memory(_text(proc / "meminfo")), *load(_text(proc / "loadavg"))]


def cpu(stat: str) -> Iterator[Family]:
    """Seconds of each CPU in each mode."""
    ticks = os.sysconf("SC_CLK_TCK")
    family = Family("node_cpu_seconds_total", "counter", "Seconds the CPUs spent in each mode.")
    for line in stat.splitlines():
        if line.startswith("cpu") and not line.startswith("cpu "):  # that one is the sum
            name, *counts = line.split()
            for mode, count in zip(_MODES, counts, strict=False):
                family.add(labels({"cpu": name[3:], "mode": mode}), int(count) / ticks)
    if family.samples:
        yield family


def memory(meminfo: str) -> Iterator[Family]:
    """Bytes."""
    known = {line.partition(":")[0]: line.partition(":")[2].split() for line in meminfo.splitlines()}
    for key, told in (("MemTotal", "Memory of this machine."), ("MemAvailable", "Memory that programs could have.")):
        if known.get(key):
            family = Family(f"node_memory_{key}_bytes", "gauge", told)
            family.add("", int(known[key][0]) * _KIB)
            yield family


def load(loadavg: str) -> Iterator[Family]:
    """Programs that run or want to, a mean over one minute."""
    if loadavg:
        family = Family("node_load1", "gauge", "1m load average.")
        family.add("", float(loadavg.split()[0]))
        yield family


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
