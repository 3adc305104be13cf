"""Texts of /proc as numbers. Each function raises `ValueError` for a text that it cannot read."""

from __future__ import annotations

from dataclasses import dataclass

_KIB = 1024


@dataclass(frozen=True, slots=True)
class Process:
    """One moment of a process, with the time of those children that it has waited for. Ticks and pages."""

    cpu_ticks: int
    born: int  # clock ticks since the boot: with the number it names a process for good
    resident_pages: int


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Of the whole machine, in bytes."""

    total: int
    available: int

    @property
    def used_ratio(self) -> float:
        """0..1; what the kernel can give back counts as free."""
        return min(max(1 - self.available / self.total, 0.0), 1.0)


def parse_stat(text: str) -> Process:
    """/proc/PID/stat. The name may hold spaces and brackets, so that counting starts behind it."""
    fields = text.rpartition(")")[2].split()
    if len(fields) < 22:
        raise ValueError("stat is cut off")
    return Process(sum(map(int, fields[11:15])), int(fields[19]), int(fields[21]))


def parse_children(text: str) -> tuple[int, ...]:
    """/proc/PID/task/TID/children."""
    return tuple(map(int, text.split()))


def parse_meminfo(text: str) -> HostMemory:
    """/proc/meminfo."""
    found = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    try:
        total, available = (int(found[name].split()[0]) * _KIB for name in ("MemTotal", "MemAvailable"))
    except (KeyError, IndexError) as error:
        raise ValueError("meminfo does not say") from error
    if total <= 0:
        raise ValueError("meminfo has no memory")
    return HostMemory(total, available)
