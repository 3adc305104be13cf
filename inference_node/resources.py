"""What a replica uses of its machine, and how much it may use."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from inference_node.cgroups import (
    V1_MEMORY,
    V2_MEMORY,
    Folder,
    locate,
    parse_cpu_max,
    parse_limit,
    parse_quota,
    parse_working_set,
)
from inference_node.procfs import Process, parse_children, parse_meminfo, parse_stat

SEARCH_INTERVAL_S = 5.0  # an engine has hundreds of threads, and each may have children
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Usage:
    """None is unknown, never zero. Memory in bytes."""

    cpu_seconds: float | None = None  # of the launcher and everything it started; only grows
    cpu_cores: float | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    host_memory_used_ratio: float | None = None


class Resources:
    """Reads /proc and the cgroup of a process tree. Safe for several threads.

    Memory is the container's where `root` is process 1: then the container has nothing else in it. Elsewhere the cgroup
    is shared with strangers, and what counts is the tree's own resident memory.
    """

    def __init__(self, threads: int, root: int | None = None, proc: Path = Path("/proc")) -> None:
        self._threads, self._root, self._proc = threads, root or os.getpid(), proc
        self._lock = threading.Lock()
        self._born: dict[int, int] = {}  # the tree as it was last searched
        self._searched_at = 0.0
        self._most_cpu_s = 0.0
        where = (_text(proc / "self/cgroup") or "", _text(proc / "self/mountinfo") or "")
        self._cpu, self._memory = locate("cpu", *where), locate("memory", *where)

    def read(self) -> Usage:
        """What is used now. Takes some 0.15 ms, and 1.5 ms more when the tree is searched again."""
        host = _parsed(parse_meminfo, self._proc / "meminfo")
        with self._lock:
            tree = self._tree()
            if tree:
                ticks = sum(process.cpu_ticks for process in tree)
                # A process that ends while its parent's time has been read already is missing once.
                self._most_cpu_s = max(self._most_cpu_s, ticks * _TICK_S)
            cpu_s = self._most_cpu_s
        memory, limit = self._container_memory() if self._root == 1 else (None, None)
        if memory is None and tree:
            memory = sum(process.resident_pages for process in tree) * _PAGE_BYTES
        return Usage(
            cpu_seconds=cpu_s if tree else None,
            cpu_cores=self._cores(),
            memory_bytes=memory,
            memory_limit_bytes=_least(limit, host.total if host else None),
            host_memory_used_ratio=host.used_ratio if host else None,
        )

    def _tree(self) -> list[Process]:
        """Empty where /proc does not tell."""
        now = time.monotonic()
        found = {pid: self._process(pid) for pid in self._born}
        same = all(process and process.born == self._born[pid] for pid, process in found.items())
        if not same or not found or now - self._searched_at >= SEARCH_INTERVAL_S:
            self._searched_at = now
            found = self._search()
        return [process for process in found.values() if process]

    def _search(self) -> dict[int, Process | None]:
        """Parents first: a child that ends meanwhile is missing, and never counted twice."""
        found: dict[int, Process | None] = {}
        pids = [self._root]
        for pid in pids:
            found[pid] = self._process(pid)
            pids.extend(self._children(pid))
        if found[self._root] is None:
            return {}
        self._born = {pid: process.born for pid, process in found.items() if process}
        return found

    def _children(self, pid: int) -> list[int]:
        folder = f"{self._proc}/{pid}/task"
        try:
            tasks = os.listdir(folder)
        except OSError:
            return []
        known = (_parsed(parse_children, f"{folder}/{task}/children") for task in tasks)
        return [child for children in known for child in children or ()]

    def _process(self, pid: int) -> Process | None:
        return _parsed(parse_stat, self._proc / str(pid) / "stat")

    def _container_memory(self) -> tuple[int | None, int | None]:
        """Working set and limit."""
        if self._memory is None:
            return None, None
        files, folder = V2_MEMORY if self._memory.unified else V1_MEMORY, self._memory.path
        stat = _text(folder / files.stat)
        used = _parsed(lambda usage: parse_working_set(usage, stat or "", files.inactive), folder / files.usage)
        return used, _parsed(parse_limit, folder / files.limit)

    def _cores(self) -> float:
        """What the threads, the affinity and the quota leave."""
        return min(float(self._threads), float(len(os.sched_getaffinity(0))), _quota(self._cpu) or float("inf"))


def _quota(folder: Folder | None) -> float | None:
    if folder is None:
        return None
    if folder.unified:
        return _parsed(parse_cpu_max, folder.path / "cpu.max")
    period = _text(folder.path / "cpu.cfs_period_us") or ""
    return _parsed(lambda quota: parse_quota(quota, period), folder.path / "cpu.cfs_quota_us")


def _text(file: Path | str) -> str | None:
    """Without a buffer in between it takes a third of the time."""
    try:
        with open(file, "rb", buffering=0) as kernel:
            return kernel.read().decode("utf-8", errors="replace")
    except OSError:
        return None


def _parsed(parse: Callable[[str], T], file: Path | str) -> T | None:
    """What the file says; None where it is not there, or says something else."""
    text = _text(file)
    try:
        return None if text is None else parse(text)
    except ValueError:
        return None


def _least(*values: int | None) -> int | None:
    known = [value for value in values if value is not None]
    return min(known) if known else None
