"""The faults that hit another part of the installation than a replica, or the controller besides one."""

from __future__ import annotations

import resource
import signal
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import psutil

from controller.adapters.docker_image import ping
from controller.stack.drill.engines import Engines
from controller.stack.drill.injuries import here
from controller.stack.drill.injury import Ground, Injury, NotHere
from controller.stack.drill.owed import Step, process_goes_on
from controller.stack.drill.promise import FULL_DISK_S, HIDDEN_S
from controller.stack.engine import own_host
from controller.stack.supervisor import Supervisor
from controller.stack.trouble import Trouble

_PING_S = 1.0
_PEER = struct.Struct("3i")  # struct ucred: process, user, group


class HideMetrics(Injury):
    """Prometheus stands still for a while."""

    hits = 0
    temporary = True

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._stopped: psutil.Process | None = None
        self._until_s = 0.0

    def inflict(self, victim: str) -> None:
        self._stopped = program(self.ground.supervisor, "prometheus")
        self.owe(*still("Prometheus goes on", [self._stopped]))
        self._until_s = time.monotonic() + HIDDEN_S
        self._stopped.send_signal(signal.SIGSTOP)

    def ended(self) -> bool:
        return time.monotonic() >= self._until_s

    def undo(self) -> None:
        if self._stopped is not None and self._stopped.is_running():  # and its number is not another's by now
            self._stopped.send_signal(signal.SIGCONT)


class EngineDown(Injury):
    """The Docker engine of our own is killed; the supervisor brings it back."""

    hits = 0
    temporary = True
    _killed = False

    def require(self) -> None:
        if not self.ground.containers:
            raise NotHere("replicas are local processes and need no Docker engine")
        if not self.ground.own_engine:
            raise NotHere("the Docker engine is not this installation's own, and serves others, too")

    def inflict(self, victim: str) -> None:
        dockerd = program(self.ground.supervisor, "dockerd")
        self._killed = True
        dockerd.send_signal(signal.SIGKILL)
        dockerd.wait(_PING_S * 5)

    def ended(self) -> bool:
        return ping(own_host(self.ground.layout), _PING_S)

    def undo(self) -> None:
        if self._killed and not self.ended():
            self.ground.supervisor.start_programs(["dockerd"])


class DiskFull(Injury):
    """The controller can write no file for a while, and a replica dies meanwhile."""

    temporary = True

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._limited: psutil.Process | None = None
        self._before = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        self._until_s = 0.0

    def inflict(self, victim: str) -> None:
        controller = program(self.ground.supervisor, "controller")
        self._before = _file_size(controller.pid, None)
        writes = "the controller may write again"
        self.owe(*(replace(step, limits=self._before) for step in still(writes, [controller])))
        self._limited = controller
        # Only the soft limit: to raise the hard one again would take more rights than to lower it.
        _file_size(controller.pid, (0, self._before[1]))
        self._until_s = time.monotonic() + FULL_DISK_S
        self.ground.replicas.kill(victim)

    def ended(self) -> bool:
        return time.monotonic() >= self._until_s

    def undo(self) -> None:
        if self._limited is not None and self._limited.is_running():
            _file_size(self._limited.pid, self._before)


class LostNode(Injury):
    """The engine of one node and the pool's replicas on it stand still, as those of a machine that was switched off."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._with: tuple[str, ...] = ()
        self._parts: list[psutil.Process] = []  # of the node, its engine first
        self._stopped: list[psutil.Process] = []

    def require(self) -> None:
        if self.ground.nodes < 2:
            raise NotHere("there is one node; it needs a second one to take over")
        nodes = self._nodes()
        for host in nodes:
            dockerd_at(host)
        self.hits = max(map(len, nodes.values()), default=1)

    def prepare(self, victim: str) -> None:
        host, names = next(
            ((host, names) for host, names in self._nodes().items() if victim in names), ("", frozenset())
        )
        if not host:
            raise Trouble(f"{victim} is on no engine that answers; `stoker status` says why")
        self._with = tuple(sorted(names - {victim}))
        self._parts = [dockerd_at(host), *(part for name in sorted(names) for part in self._processes(name))]

    def inflict(self, victim: str) -> None:
        self.owe(*still(f"the node of {victim} goes on", self._parts))
        for part in self._parts:
            self._stopped.append(part)
            with suppress(psutil.NoSuchProcess):  # it ended by itself, and is as still as can be
                part.suspend()

    def more_victims(self) -> tuple[str, ...]:
        return self._with

    def undo(self) -> None:
        while self._stopped:
            with suppress(psutil.NoSuchProcess):
                self._stopped.pop().resume()

    def _nodes(self) -> dict[str, frozenset[str]]:
        replicas = self.ground.replicas
        if not isinstance(replicas, Engines):
            raise NotHere("replicas are local processes, and those are on one node")
        return replicas.by_host()

    def _processes(self, replica: str) -> list[psutil.Process]:
        found = [part for pid in self.ground.replicas.pids(replica) if (part := here(pid, replica)) is not None]
        if not found:
            raise NotHere(f"the processes of {replica} cannot be seen from here; run the drill on the engine's machine")
        return found


def dockerd_at(host: str) -> psutil.Process:
    """The engine that listens there, a process of this machine.

    Raises:
        NotHere: it is none, or is not known as one.
    """
    path = host.removeprefix("unix://")
    if path == host:
        raise NotHere(
            f"the engine at {host} is another machine's as far as this one knows; to lose a node on purpose its engine "
            "must be named by a socket, docker: unix:///..."
        )
    try:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(_PING_S)
            asked.connect(path)
            pid, _, _ = _PEER.unpack(asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        process = psutil.Process(pid or -1)  # 0: one that this machine has no number for
        name = process.name()
    except (OSError, ValueError, psutil.NoSuchProcess) as error:
        raise NotHere(f"the engine at {host} cannot be found among this machine's processes") from error
    if name != "dockerd":
        raise NotHere(f"{name} listens at {host} for the engine, so that nobody knows which process is the engine")
    return process


def program(supervisor: Supervisor, name: str) -> psutil.Process:
    """A program of this installation's supervisor. Raises `Trouble` where it does not run."""
    pid = next((one.pid for one in supervisor.states() if one.name == name and one.state == "RUNNING"), 0)
    try:
        return psutil.Process(pid or -1)
    except (psutil.NoSuchProcess, ValueError) as error:
        raise Trouble(f"{name} does not run, so there is nothing to drill; `stoker status` says why") from error


def still(what: str, processes: Sequence[psutil.Process]) -> Iterator[Step]:
    """What is owed once they stand still. Those that are gone by now stay so."""
    for process in processes:
        with suppress(OSError):
            yield process_goes_on(what, process.pid)


def _file_size(pid: int, limits: tuple[int, int] | None) -> tuple[int, int]:
    """Read or set how large a file that process may write; what it was."""
    try:
        if limits is None:
            return resource.prlimit(pid, resource.RLIMIT_FSIZE)
        return resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    except PermissionError as error:
        raise NotHere("the controller's limits cannot be changed; run the drill as the user that runs it") from error
    except ProcessLookupError:  # it ended, and its successor has the usual limits
        return (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
