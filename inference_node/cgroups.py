"""Where the kernel keeps this process's account, and what it says there: cgroup v1, v2 and both side by side.

What parses raises `ValueError` for a text that it cannot read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class Folder:
    """A controller's files for this process."""

    path: Path
    unified: bool  # v2


@dataclass(frozen=True, slots=True)
class MemoryFiles:
    """Their names, and the line of `stat` that counts the cache which nobody asked for lately."""

    usage: str
    limit: str
    stat: str = "memory.stat"
    inactive: str = "inactive_file"


V1_MEMORY = MemoryFiles("memory.usage_in_bytes", "memory.limit_in_bytes", inactive="total_inactive_file")
V2_MEMORY = MemoryFiles("memory.current", "memory.max")
KILLS_V1, KILLS_V2 = "memory.oom_control", "memory.events"


def locate(controller: str, cgroups: str, mounts: str) -> Folder | None:
    """The folder of `controller`, from /proc/self/cgroup and /proc/self/mountinfo; None where it is not mounted.

    A controller that v1 has is not in v2.
    """
    names = {name: path for names, path in _memberships(cgroups) for name in names.split(",")}
    for kind, name in (("cgroup", controller), ("cgroup2", "")):
        if name not in names:
            continue
        for root, mounted, options in _mounts(mounts, kind):
            if kind == "cgroup2" or name in options:
                return Folder(_below(mounted, root, names[name]), kind == "cgroup2")
    return None


def _memberships(cgroups: str) -> Iterator[tuple[str, str]]:
    for line in cgroups.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            yield parts[1], parts[2]


def _mounts(mounts: str, kind: str) -> Iterator[tuple[str, str, list[str]]]:
    """Root in the hierarchy, where it is mounted, and its options."""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, types = before.split(), after.split()
        if len(fields) >= 5 and len(types) >= 3 and types[0] == kind:
            yield fields[3], fields[4], types[2].split(",")


def _below(mounted: str, root: str, path: str) -> Path:
    """A container sees its own cgroup as the root of the mount, while the path may still be that of the host."""
    try:
        return Path(mounted) / PurePosixPath(path).relative_to(root)
    except ValueError:
        return Path(mounted)


def parse_working_set(usage: str, stat: str, inactive: str) -> int:
    """Bytes that cannot be given back at once: the usage without the file cache that was not used lately."""
    cache = next((line.split()[1] for line in stat.splitlines() if line.startswith(f"{inactive} ")), None)
    if cache is None:
        raise ValueError(f"stat has no {inactive}")
    return max(int(usage) - int(cache), 0)


def parse_limit(text: str) -> int | None:
    """Bytes; None for no limit. v1 says a number without meaning for that: compare it with the machine's memory."""
    return None if text.strip() == "max" else int(text)


def parse_kills(text: str) -> int:
    """How many processes the kernel killed for memory. A v1 kernel before 4.13 does not tell."""
    count = next((line.split()[1] for line in text.splitlines() if line.startswith("oom_kill ")), None)
    if count is None:
        raise ValueError("no oom_kill is told")
    return int(count)


def parse_cpu_max(text: str) -> float | None:
    """Cores, from the one file of v2."""
    quota, period = text.split()
    return parse_quota(quota, period)


def parse_quota(quota: str, period: str) -> float | None:
    """Cores, from the two files of v1. None for no limit ("max" in v2, -1 in v1)."""
    if quota.strip() in ("max", "-1"):
        return None
    if int(quota) <= 0 or int(period) <= 0:
        raise ValueError("an impossible quota")
    return int(quota) / int(period)
