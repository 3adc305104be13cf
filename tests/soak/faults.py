"""The faults of a soak: what each does, and what must be tended until it is over."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import psutil

from controller.adapters.docker_faults import DockerFaults, FaultRefused
from controller.stack.drill import injury
from controller.stack.drill.injuries import Oom, Wedge
from controller.stack.drill.injuries_parts import program
from controller.stack.supervisor import Supervisor
from controller.stack.trouble import Trouble
from tests.e2e.stack import Stack
from tests.soak.stack import POOL
from tests.waiting import wait_for

REFUSED = (Trouble, FaultRefused, psutil.Error, sqlite3.Error, OSError, AssertionError)  # what a fault may raise
_STOPPED_S, _LOCKED_S, _BACK_S = 5.0, 3.0, 30.0


@dataclass
class Ground:
    """The stack that is hurt. `hurt` are the replicas that are not to be counted on any more."""

    stack: Stack
    drill: injury.Ground
    replicas: DockerFaults
    hurt: set[str] = field(default_factory=set)
    wedges: dict[str, Wedge] = field(default_factory=dict)

    @property
    def supervisor(self) -> Supervisor:
        """Of the stack."""
        return self.drill.supervisor

    def tend(self) -> list[str]:
        """Let go of the wedged ones that are gone; their names. Called often, by the thread that does the faults."""
        if not self.wedges:
            return []
        try:
            running = self.replicas.running(POOL)
        except FaultRefused:  # the engine is busy: the next time
            return []
        gone = [name for name in self.wedges if name not in running]
        for name in gone:
            self.wedges.pop(name).undo()
        return gone

    def release(self) -> None:
        """Let go of everything that is still held."""
        with ExitStack() as held:
            for wedge in self.wedges.values():
                held.callback(wedge.undo)
        self.wedges.clear()


@dataclass(frozen=True)
class Kind:
    """One sort of fault. `hits`: it takes a replica. `lasts`: that one does not come back by itself."""

    do: Callable[[Ground, str], None]
    hits: bool = False
    lasts: bool = False


def _kill(ground: Ground, victim: str) -> None:
    ground.replicas.kill(victim)


def _freeze(ground: Ground, victim: str) -> None:
    ground.replicas.freeze(victim)


def _stop_a_while(ground: Ground, victim: str) -> None:
    with _stopped([psutil.Process(pid) for pid in ground.replicas.pids(victim)]):
        threading.Event().wait(_STOPPED_S)


def _wedge(ground: Ground, victim: str) -> None:
    wedge = Wedge(ground.drill)
    wedge.prepare(victim)
    wedge.inflict(victim)
    ground.wedges[victim] = wedge


def _kill_engine(ground: Ground, victim: str) -> None:
    pids = ground.replicas.pids(victim)
    children = [child for pid in pids if (child := psutil.Process(pid)).ppid() in pids]
    if not children:
        raise Trouble(f"{victim} has no engine that runs")
    max(children, key=lambda child: child.memory_info().rss).kill()


def _oom(ground: Ground, victim: str) -> None:
    oom = Oom(ground.drill)
    try:
        oom.inflict(victim)
    finally:
        oom.undo()


def _restart(ground: Ground, victim: str) -> None:
    said = ground.stack.stoker("restart", victim)
    if said.returncode != 0:
        raise Trouble(f"stoker restart {victim} failed: {said.stderr.strip()}")


def _kill_nginx(ground: Ground, victim: str) -> None:
    """Returns when the next one serves, so that it is known which requests fell into the time between."""
    master = ground.stack.nginx()
    master.kill()
    wait_for(lambda: ground.stack.nginx_pid() != master.pid and _listens(ground.stack), _BACK_S, "nginx came back")


def _spoil(ground: Ground, victim: str) -> None:
    (ground.drill.layout.gateway / "nginx.conf").write_text("this is no configuration {\n")


def _lock(ground: Ground, victim: str) -> None:
    with contextlib.closing(sqlite3.connect(ground.drill.layout.database, timeout=5, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        threading.Event().wait(_LOCKED_S)
        database.execute("ROLLBACK")


def _hide_metrics(ground: Ground, victim: str) -> None:
    with _stopped([program(ground.supervisor, "prometheus")]):
        threading.Event().wait(_STOPPED_S)


def _killer(name: str) -> Callable[[Ground, str], None]:
    def kill(ground: Ground, victim: str) -> None:
        program(ground.supervisor, name).kill()

    return kill


@contextmanager
def _stopped(processes: list[psutil.Process]) -> Iterator[None]:
    """They stand still within the block; a number that is another's by then is left alone."""
    try:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


def _listens(stack: Stack) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", stack.port("gateway"))) == 0


KINDS: Mapping[str, Kind] = {
    "kill": Kind(_kill, hits=True, lasts=True),
    "freeze": Kind(_freeze, hits=True, lasts=True),
    "stop-5s": Kind(_stop_a_while, hits=True),
    "wedge": Kind(_wedge, hits=True, lasts=True),
    "kill-engine": Kind(_kill_engine, hits=True, lasts=True),
    "oom": Kind(_oom, hits=True, lasts=True),
    "restart": Kind(_restart, hits=True, lasts=True),
    "kill-controller": Kind(_killer("controller")),
    "kill-nginx": Kind(_kill_nginx),
    "kill-prometheus": Kind(_killer("prometheus")),
    "kill-exporter": Kind(_killer("edge")),
    "spoil-nginx-conf": Kind(_spoil),
    "lock-database-3s": Kind(_lock),
    "stop-prometheus-5s": Kind(_hide_metrics),
}
