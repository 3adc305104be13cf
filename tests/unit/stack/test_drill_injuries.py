"""Faults are done, and undone, on real processes."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from controller.adapters.docker_faults import FaultRefused
from controller.installation import Layout
from controller.stack.drill.catalogue import INJURIES
from controller.stack.drill.facts import Fault
from controller.stack.drill.injuries import ExitOnStart, Freeze, Slow, Wedge
from controller.stack.drill.injuries_parts import DiskFull, EngineDown, HideMetrics, program
from controller.stack.drill.injury import Ground, NotHere
from controller.stack.drill.processes import ProcessReplicas
from controller.stack.supervisor import ProgramState, Supervisor
from controller.stack.trouble import Trouble
from tests.waiting import wait_for

# A replica as the process runtime starts one: it leads a session, its child computes.
LAUNCHER = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""
COMPUTES = """
import pathlib, threading
def answer():
    while True:
        threading.Event().wait(0.01)
threading.Thread(target=answer, daemon=True).start()
while True:
    pass
"""


class Programs(Supervisor):
    """A supervisor of processes that run already."""

    def __init__(self, layout: Layout, pids: dict[str, int]) -> None:
        super().__init__(layout)
        self._pids = pids

    def states(self) -> tuple[ProgramState, ...]:
        """They all run."""
        return tuple(ProgramState(name, "RUNNING", pid) for name, pid in self._pids.items())


class Fakes:
    """Replicas that are only counted; `new` come up once one was killed."""

    def __init__(self, *names: str, new: tuple[str, ...] = ()) -> None:
        self.names, self.new = set(names), new
        self.killed: list[str] = []
        self.refusals = 1

    def running(self, pool: str) -> frozenset[str]:
        """Those of the one pool."""
        return frozenset(self.names)

    def kill(self, replica: str) -> None:
        """The first time a new one is killed it is not there yet."""
        if replica in self.new and self.refusals:
            self.refusals -= 1
            raise FaultRefused("no container of it runs")
        self.killed.append(replica)
        self.names = self.names - {replica} | set(self.new[len(self.killed) - 1 :][:1])


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[psutil.Process]:
    """small-1 of the pool small, with an engine that computes."""
    folder = tmp_path / "replicas/small-1"
    folder.mkdir(parents=True)
    environment = {**os.environ, "STOKER_REPLICA_DIR": str(folder), "STOKER_REPLICA": "small-1"}
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, COMPUTES], env=environment, start_new_session=True
    ) as started:
        record = {"pid": started.pid, "pool": "small"}
        (folder / "replica.json").write_text(json.dumps(record))
        process = psutil.Process(started.pid)
        wait_for(process.children, 20, "its engine")
        wait_for(lambda: process.children()[0].num_threads() == 2, 20, "the engine's threads")
        yield process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)


def ground(tmp_path: Path, pids: dict[str, int] | None = None, replicas: object = None) -> Ground:
    layout = Layout(tmp_path)
    return Ground(
        layout=layout,
        supervisor=Programs(layout, pids or {}),
        replicas=replicas or ProcessReplicas(layout.replicas),  # type: ignore[arg-type]
        pool="small",
        containers=False,
        own_engine=False,
        nodes=1,
    )


def stopped(process: psutil.Process) -> bool:
    return process.status() == psutil.STATUS_STOPPED


def thread_states(pid: int) -> set[str]:
    """T and t are those that stand still."""
    stats = Path(f"/proc/{pid}/task").glob("*/stat")
    return {stat.read_text().rpartition(")")[2].split()[0] for stat in stats}


def test_every_fault_has_an_injury() -> None:
    assert set(INJURIES) == set(Fault)


def test_frozen_and_thawed(tmp_path: Path, replica: psutil.Process) -> None:
    freeze, engine = Freeze(ground(tmp_path)), replica.children()[0]

    freeze.inflict("small-1")
    wait_for(lambda: stopped(replica) and stopped(engine), 10, "both to stand still")
    freeze.undo()
    freeze.undo()

    wait_for(lambda: not stopped(replica) and not stopped(engine), 10, "both to go on")


def test_slowed_and_let_go(tmp_path: Path, replica: psutil.Process) -> None:
    slow, engine = Slow(ground(tmp_path)), replica.children()[0]

    slow.inflict("small-1")
    wait_for(lambda: stopped(engine), 10, "the engine to stand still")
    wait_for(lambda: not stopped(engine), 10, "the engine to go on")
    slow.undo()

    assert not stopped(engine)
    assert not stopped(replica)


def test_killed(tmp_path: Path, replica: psutil.Process) -> None:
    replicas = ProcessReplicas(tmp_path / "replicas")
    assert replicas.running("small") == {"small-1"}
    assert replicas.running("big") == frozenset()

    replicas.kill("small-1")

    wait_for(lambda: replicas.running("small") == frozenset(), 10, "it to be gone")
    replicas.thaw("small-1")
    replicas.unslow("small-1")
    with pytest.raises(Trouble, match="small-1 does not run any more"):
        replicas.freeze("small-1")


def test_another_process_with_its_number_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "replicas/small-1"
    folder.mkdir(parents=True)
    (folder / "replica.json").write_text(json.dumps({"pid": os.getpid(), "pool": "small"}))

    with pytest.raises(Trouble, match="does not run any more"):
        ProcessReplicas(tmp_path / "replicas").kill("small-1")


def test_the_thread_that_computes_stands_still_and_no_other(tmp_path: Path, replica: psutil.Process) -> None:
    wedge, engine = Wedge(ground(tmp_path)), replica.children()[0]
    wait_for(lambda: engine.cpu_times().user > 0.1, 20, "the engine to compute")

    wedge.prepare("small-1")
    _inflict_or_skip(wedge)
    assert "t" in thread_states(engine.pid)
    assert len(thread_states(engine.pid)) == 2
    assert wedge.ended()
    wedge.undo()

    wait_for(lambda: "t" not in thread_states(engine.pid), 10, "it to go on")


def test_a_wedged_replica_can_be_killed(tmp_path: Path, replica: psutil.Process) -> None:
    wedge, engine = Wedge(ground(tmp_path)), replica.children()[0]
    wait_for(lambda: engine.cpu_times().user > 0.1, 20, "the engine to compute")

    wedge.prepare("small-1")
    _inflict_or_skip(wedge)
    engine.kill()
    # Its launcher cannot see its end before the stopped thread was asked for.
    wait_for(lambda: wedge.ended() and not engine.is_running(), 10, "its end")
    wedge.undo()

    assert not engine.is_running()


def test_processes_of_another_machine_are_left_alone(tmp_path: Path) -> None:
    class Elsewhere(Fakes):
        def pids(self, replica: str) -> tuple[int, ...]:
            """Numbers that mean others here."""
            return (os.getpid(), 1)

    with pytest.raises(NotHere, match="the processes of small-1 cannot be seen from here"):
        Wedge(ground(tmp_path, replicas=Elsewhere("small-1"))).prepare("small-1")


def _inflict_or_skip(wedge: Wedge) -> None:
    try:
        wedge.inflict("small-1")
    except NotHere as error:
        pytest.skip(str(error))


def test_the_successor_is_killed_once(tmp_path: Path) -> None:
    replicas = Fakes("small-1", "small-2", new=("small-3", "small-4"))
    injury = ExitOnStart(ground(tmp_path, replicas=replicas))

    injury.prepare("small-1")
    injury.inflict("small-1")
    wait_for(injury.ended, 10, "the successor's end")
    injury.undo()

    assert replicas.killed == ["small-1", "small-3"]
    assert injury.more_victims() == ("small-3",)
    assert replicas.names == {"small-2", "small-4"}


def test_an_exit_on_start_that_never_came_to_its_successor_is_undone(tmp_path: Path) -> None:
    replicas = Fakes("small-1")
    injury = ExitOnStart(ground(tmp_path, replicas=replicas))
    injury.prepare("small-1")
    injury.inflict("small-1")

    assert not injury.ended()
    injury.undo()
    replicas.names.add("small-9")

    assert replicas.killed == ["small-1"]


@pytest.fixture
def sleeper() -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"]) as started:
        yield psutil.Process(started.pid)
        started.kill()


def test_prometheus_stands_still_and_goes_on(tmp_path: Path, sleeper: psutil.Process) -> None:
    hide = HideMetrics(ground(tmp_path, {"prometheus": sleeper.pid}))

    hide.inflict("")
    wait_for(lambda: stopped(sleeper), 10, "it to stand still")
    assert not hide.ended()
    hide.undo()

    wait_for(lambda: not stopped(sleeper), 10, "it to go on")


def test_no_file_can_be_written_until_the_disk_has_room(tmp_path: Path, sleeper: psutil.Process) -> None:
    replicas = Fakes("small-1")
    disk = DiskFull(ground(tmp_path, {"controller": sleeper.pid}, replicas))
    before = resource.prlimit(sleeper.pid, resource.RLIMIT_FSIZE)

    disk.inflict("small-1")
    assert resource.prlimit(sleeper.pid, resource.RLIMIT_FSIZE) == (0, before[1])
    assert replicas.killed == ["small-1"]
    assert not disk.ended()
    disk.undo()
    disk.undo()

    assert resource.prlimit(sleeper.pid, resource.RLIMIT_FSIZE) == before


def test_a_controller_that_ended_meanwhile_needs_nothing(tmp_path: Path, sleeper: psutil.Process) -> None:
    disk = DiskFull(ground(tmp_path, {"controller": sleeper.pid}, Fakes("small-1")))
    disk.inflict("small-1")
    sleeper.kill()
    sleeper.wait(10)

    disk.undo()

    assert not sleeper.is_running()


def test_a_program_that_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="prometheus does not run"):
        program(Programs(Layout(tmp_path), {"controller": 1}), "prometheus")


NOWHERE = [
    pytest.param(Fault.OOM, {}, "a local process has no memory limit", id="oom of a process"),
    pytest.param(Fault.ENGINE_DOWN, {}, "need no Docker engine", id="no engine at all"),
    pytest.param(Fault.ENGINE_DOWN, {"containers": True}, "is not this installation's own", id="another's engine"),
    pytest.param(Fault.LOST_NODE, {}, "there is one node", id="one node"),
]


@pytest.mark.parametrize(("fault", "changes", "why"), NOWHERE)
def test_not_here(tmp_path: Path, fault: Fault, changes: dict[str, bool], why: str) -> None:
    injury = INJURIES[fault](replace(ground(tmp_path), **changes))  # type: ignore[arg-type]

    with pytest.raises(NotHere, match=why):
        injury.require()


@pytest.mark.parametrize("kind", [Freeze, Slow, Wedge, ExitOnStart, HideMetrics, EngineDown, DiskFull])
def test_what_was_not_done_needs_no_undoing(tmp_path: Path, kind: Callable[[Ground], Freeze]) -> None:
    replicas = Fakes("small-1")
    injury = kind(ground(tmp_path, replicas=replicas))

    injury.undo()

    assert replicas.killed == []
