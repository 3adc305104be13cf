"""Hurts replicas that are local processes, and undoes it."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import psutil

from controller.stack.drill.injury import NotHere
from controller.stack.trouble import Trouble

_FOLDER_VARIABLE = "STOKER_REPLICA_DIR"  # in the environment of each replica: its own folder
_PERIOD_S = 0.1


class ProcessReplicas:
    """The replicas below the installation's folder of them. Each leads a process group of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._slowed: dict[str, _DutyCycle] = {}

    def running(self, pool: str) -> frozenset[str]:
        """See `Replicas.running`."""
        folders = self._folder.iterdir() if self._folder.is_dir() else ()
        return frozenset(one.name for one in folders if _pool(one) == pool and _leader(one) is not None)

    def kill(self, replica: str) -> None:
        """See `Replicas.kill`. The engine, its child, ends with it."""
        self._signal(replica, os.kill, signal.SIGKILL)

    def freeze(self, replica: str) -> None:
        """See `Replicas.freeze`."""
        self._signal(replica, os.killpg, signal.SIGSTOP)

    def thaw(self, replica: str) -> None:
        """See `Replicas.thaw`."""
        if _leader(self._folder / replica) is not None:
            self._signal(replica, os.killpg, signal.SIGCONT)

    def slow(self, replica: str, share: float) -> None:
        """See `Replicas.slow`: it runs for a share of each tenth of a second, and stands still for the rest."""
        cycle = _DutyCycle(lambda number: self._signal(replica, os.killpg, number), share)
        self._slowed[replica] = cycle  # first, so that there is no moment in which nobody would stop it
        cycle.start()

    def unslow(self, replica: str) -> None:
        """See `Replicas.unslow`."""
        if (cycle := self._slowed.pop(replica, None)) is not None:
            cycle.stop()
        self.thaw(replica)

    def pids(self, replica: str) -> tuple[int, ...]:
        """See `Replicas.pids`."""
        leader = self._require(replica)
        return (leader.pid, *(child.pid for child in leader.children(recursive=True)))

    def starve(self, replica: str) -> None:
        """A local process has no memory limit of its own."""
        raise NotHere("a local process has no memory limit of its own; it needs replicas in containers")

    def unstarve(self, replica: str) -> None:
        """Nothing was done."""

    def restore(self, replica: str) -> bool:
        """See `Replicas.restore`. The last thing that whoever slowed it did may have been to stop it."""
        leader = _leader(self._folder / replica)
        stood = leader is not None and leader.status() == psutil.STATUS_STOPPED
        self.thaw(replica)
        return stood

    def close(self) -> None:
        """See `Replicas.close`."""
        for replica in list(self._slowed):
            self.unslow(replica)

    def _signal(self, replica: str, send: Callable[[int, int], None], number: signal.Signals) -> None:
        try:
            send(self._require(replica).pid, number)
        except ProcessLookupError as error:
            raise _gone(replica) from error
        except PermissionError as error:
            raise Trouble(f"{replica} is another user's process; run the drill as that user, or as root") from error

    def _require(self, replica: str) -> psutil.Process:
        found = _leader(self._folder / replica)
        if found is None:
            raise _gone(replica)
        return found


class _DutyCycle:
    """A thread that lets a group of processes run for a share of each period only."""

    def __init__(self, send: Callable[[signal.Signals], None], share: float) -> None:
        self._send, self._share = send, share
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drill-slow", daemon=True)

    def start(self) -> None:
        """Begin with it."""
        self._thread.start()

    def stop(self) -> None:
        """End it. The last thing it did may have been to stop them."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._send(signal.SIGSTOP)
                self._stop.wait(_PERIOD_S * (1 - self._share))
                self._send(signal.SIGCONT)
                self._stop.wait(_PERIOD_S * self._share)
        except Trouble:  # it is gone
            return


def _gone(replica: str) -> Trouble:
    return Trouble(f"{replica} does not run any more; run the drill again")


def _leader(folder: Path) -> psutil.Process | None:
    """The living first process of a replica. Its environment tells it from another that got its number later."""
    pid = _record(folder).get("pid")
    try:
        process = psutil.Process(pid) if isinstance(pid, int) else None
        if process is None or process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process if process.environ().get(_FOLDER_VARIABLE) == str(folder) else None
    except psutil.Error:
        return None


def _pool(folder: Path) -> object:
    return _record(folder).get("pool")


def _record(folder: Path) -> dict[str, object]:
    try:
        found = json.loads((folder / "replica.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
