"""The faults that hit another part of the installation than a replica, or the controller besides one."""

from __future__ import annotations

import resource
import signal
import time

import psutil

from controller.adapters.docker_image import ping
from controller.stack.drill.injury import Ground, Injury, NotHere
from controller.stack.drill.promise import FULL_DISK_S, HIDDEN_S
from controller.stack.engine import own_host
from controller.stack.supervisor import Supervisor
from controller.stack.trouble import Trouble

_PING_S = 1.0


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
    """The engine of another node and its replicas stand still."""

    def require(self) -> None:
        if self.ground.nodes < 2:
            raise NotHere("there is one node; it needs a second one to take over")
        raise NotHere("this version cannot take a node away")


def program(supervisor: Supervisor, name: str) -> psutil.Process:
    """A program of this installation's supervisor. Raises `Trouble` where it does not run."""
    pid = next((one.pid for one in supervisor.states() if one.name == name and one.state == "RUNNING"), 0)
    try:
        return psutil.Process(pid or -1)
    except (psutil.NoSuchProcess, ValueError) as error:
        raise Trouble(f"{name} does not run, so there is nothing to drill; `stoker status` says why") from error


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
