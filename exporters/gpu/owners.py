"""Whose process it is that uses a GPU: by its cgroup and Docker, or by its environment where it is in no container."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from exporters.gpu.docker import Containers
from exporters.gpu.facts import Owned, Owner

# What the controller gives a replica that is a local process; its children have it, too.
_MARK, _POOL, _REPLICA = b"STOKER_REPLICA_DIR", b"STOKER_POOL", b"STOKER_REPLICA"
_ANCESTORS = 16
# cgroup v1: 4:memory:/docker/ID; v2: 0::/system.slice/docker-ID.scope; Podman, Kubernetes: the id at the same places.
_CONTAINER = re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?=(?:\.scope)?(?:/|$))", re.MULTILINE)
_NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class _Stat:
    name: str
    parent: int
    began: str  # clock ticks since the boot: tells it from an earlier process of that number


class Owners:
    """Asks the kernel about a process once. Not safe for several threads."""

    def __init__(self, proc: Path, containers: Containers) -> None:
        self._proc, self._containers = proc, containers
        self._known: dict[tuple[int, str], tuple[str, Owner]] = {}  # the container's id, or else the owner
        self._used: set[tuple[int, str]] = set()

    def of(self, pid: int) -> Owned:
        """Its name, and whose it is; empty where the kernel does not know it: it has ended, or hides in a namespace."""
        stat = self._stat(pid)
        if stat is None:
            return Owned()
        key = (pid, stat.began)
        if key not in self._known:
            container = container_in(self._text(pid, "cgroup"))
            self._known[key] = (container, Owner() if container else self._local(pid, stat))
        self._used.add(key)
        container, owner = self._known[key]
        return Owned(stat.name, self._containers.owner(container) if container else owner)

    def forget(self) -> None:
        """Drop those that were not asked for since the last time."""
        self._known = {key: known for key, known in self._known.items() if key in self._used}
        self._used = set()
        self._containers.forget()

    def _local(self, pid: int, stat: _Stat) -> Owner:
        """By its own environment or that of who started it, as far as we may read it."""
        for _ in range(_ANCESTORS):
            owner = owner_in(self._bytes(pid, "environ"))
            if owner is not None:
                return owner
            pid = stat.parent
            above = self._stat(pid) if pid > 1 else None
            if above is None:
                break
            stat = above
        return Owner()

    def _stat(self, pid: int) -> _Stat | None:
        return stat_in(self._text(pid, "stat"))

    def _text(self, pid: int, name: str) -> str:
        return self._bytes(pid, name).decode(errors="replace")

    def _bytes(self, pid: int, name: str) -> bytes:
        """Empty where it has ended, or belongs to somebody whose processes we may not see."""
        try:
            return (self._proc / str(pid) / name).read_bytes()
        except OSError:
            return b""


def container_in(cgroup: str) -> str:
    """The id of the container that a process is in, by its /proc/PID/cgroup; empty: it is in none."""
    found = _CONTAINER.findall(cgroup)
    return found[-1] if found else ""


def owner_in(environ: bytes) -> Owner | None:
    """The replica whose environment that is, by its /proc/PID/environ; None: it is none's."""
    known = dict(entry.partition(b"=")[::2] for entry in environ.split(b"\0"))
    pool, replica = known.get(_POOL, b""), known.get(_REPLICA, b"")
    if not known.get(_MARK) or not (_NAME.fullmatch(pool) and _NAME.fullmatch(replica)):
        return None
    return Owner("", pool.decode(), replica.decode())


def stat_in(text: str) -> _Stat | None:
    """What /proc/PID/stat says; None where it is none. The name may have blanks and brackets in it."""
    before, _, after = text.rpartition(")")
    fields = after.split()
    if "(" not in before or len(fields) < 20:
        return None
    return _Stat(before.partition("(")[2], int(fields[1]), fields[19])
