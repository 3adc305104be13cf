"""The faults that hit one replica."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, suppress

import psutil

from controller.adapters.docker_faults import FaultRefused
from controller.stack.drill.injury import Ground, Injury, NotHere
from controller.stack.ptrace import CannotFreeze, busiest_thread, frozen_thread
from controller.stack.trouble import Trouble

_SLOW_SHARE = 0.05  # of one core
_WALL = 0x40000000  # __WALL of wait(2): threads, too
_LOOK_S = 0.03


class Kill(Injury):
    """Its main process is killed."""

    def inflict(self, victim: str) -> None:
        self.ground.replicas.kill(victim)


class Freeze(Injury):
    """All of it stands still: connections are accepted by the kernel, and nothing answers."""

    _victim: str | None = None

    def inflict(self, victim: str) -> None:
        self._victim = victim
        self.owe_replica(victim)
        self.ground.replicas.freeze(victim)

    def undo(self) -> None:
        if self._victim is not None:
            self.ground.replicas.thaw(self._victim)


class Slow(Injury):
    """It computes with a tenth of a core: it answers, but hardly."""

    _victim: str | None = None

    def inflict(self, victim: str) -> None:
        self._victim = victim
        self.owe_replica(victim)
        self.ground.replicas.slow(victim, _SLOW_SHARE)

    def undo(self) -> None:
        if self._victim is not None:
            self.ground.replicas.unslow(self._victim)


class Oom(Injury):
    """The kernel kills its engine for memory."""

    takes_time = True
    _victim: str | None = None

    def require(self) -> None:
        if not self.ground.containers:
            raise NotHere("a local process has no memory limit of its own; it needs replicas in containers")

    def inflict(self, victim: str) -> None:
        self._victim = victim
        self.owe_replica(victim)
        self.ground.replicas.starve(victim)

    def undo(self) -> None:
        if self._victim is not None:
            self.ground.replicas.unstarve(self._victim)


class Wedge(Injury):
    """The thread that computes stands still, and no other: health still answers, and no token comes."""

    # Nothing is owed: the kernel lets a thread go on whose tracer dies.

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._held = ExitStack()
        self._thread = (0, 0)  # process and thread

    def prepare(self, victim: str) -> None:
        seen = [process for pid in self.ground.replicas.pids(victim) if (process := here(pid, victim)) is not None]
        if not seen:
            raise NotHere(f"the processes of {victim} cannot be seen from here; run the drill on the engine's machine")
        engine = max(seen, key=lambda process: process.cpu_times().user)
        try:
            self._thread = engine.pid, busiest_thread(engine.pid)
        except CannotFreeze as error:
            raise NotHere(str(error).rstrip(".")) from error

    def inflict(self, victim: str) -> None:
        try:
            self._held.enter_context(frozen_thread(*self._thread))
        except CannotFreeze as error:
            raise NotHere(str(error).rstrip(".")) from error

    def ended(self) -> bool:
        """A thread that is killed while we hold it stays until we ask for it, and its process with it."""
        with suppress(ChildProcessError):
            os.waitpid(self._thread[1], os.WNOHANG | _WALL)
        return True

    def undo(self) -> None:
        self._held.close()


class ExitOnStart(Injury):
    """It is killed, and its successor as soon as it runs."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._stop = threading.Event()
        self._before: frozenset[str] = frozenset()
        self._second: tuple[str, ...] = ()
        self._watcher: threading.Thread | None = None

    def prepare(self, victim: str) -> None:
        self._before = self.ground.replicas.running(self.ground.pool)

    def inflict(self, victim: str) -> None:
        self.ground.replicas.kill(victim)
        self._watcher = threading.Thread(target=self._wait_and_kill, name="drill-exit-on-start", daemon=True)
        self._watcher.start()

    def ended(self) -> bool:
        return bool(self._second)

    def more_victims(self) -> tuple[str, ...]:
        return self._second

    def undo(self) -> None:
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()

    def _wait_and_kill(self) -> None:
        while not self._stop.wait(_LOOK_S):
            with suppress(Trouble, FaultRefused):  # the engine gave no answer, or it is not there yet: look again
                for name in sorted(self.ground.replicas.running(self.ground.pool) - self._before):
                    self.ground.replicas.kill(name)
                    self._second = (name,)
                    return


def here(pid: int, replica: str) -> psutil.Process | None:
    """The process, where it is the replica's: an engine on another machine has other processes with these numbers."""
    try:
        process = psutil.Process(pid)
        return process if process.environ().get("STOKER_REPLICA") == replica else None
    except psutil.Error:
        return None
