"""A lost node: real processes stand still and go on."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from controller.installation import Layout
from controller.stack.drill.engines import Engines
from controller.stack.drill.injuries_parts import LostNode, dockerd_at
from controller.stack.drill.injury import Ground, NotHere
from controller.stack.supervisor import Supervisor
from controller.stack.trouble import Trouble
from tests.unit.stack.test_drill_engines import Engine
from tests.waiting import wait_for

LISTENS = """
import socket, sys, threading
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    threading.Event().wait()
"""
WAITS = "import threading; threading.Event().wait()"


class Node(Engine):
    """An engine whose replicas are processes of this machine."""

    def __init__(self, pids: dict[str, int]) -> None:
        super().__init__(*pids)
        self._pids = pids

    def pids(self, replica: str) -> tuple[int, ...]:
        """The one process."""
        return (self._pids[replica],)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[dict[str, psutil.Process]]:
    """An engine, which listens, and two replicas."""
    (tmp_path / "dockerd").symlink_to(os.path.realpath(sys.executable))
    commands = {
        "engine": [str(tmp_path / "dockerd"), "-S", "-c", LISTENS, str(tmp_path / "d.sock")],
        "small-1": [sys.executable, "-c", WAITS],
        "small-2": [sys.executable, "-c", WAITS],
    }
    with contextlib.ExitStack() as started:
        found = {name: started.enter_context(_running(name, command)) for name, command in commands.items()}
        wait_for(lambda: _listens(tmp_path / "d.sock"), 20, "the engine")
        yield found


@contextlib.contextmanager
def _running(name: str, command: Sequence[str]) -> Iterator[psutil.Process]:
    with subprocess.Popen(command, env={**os.environ, "STOKER_REPLICA": name}) as process:
        try:
            known = psutil.Process(process.pid)
            # Popen returns with the exec's beginning: for a moment the kernel has no environment of it to tell.
            wait_for(lambda: known.environ().get("STOKER_REPLICA") == name, 20, f"{name} with its environment")
            yield known
        finally:
            process.kill()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asked:
        return asked.connect_ex(str(path)) == 0


def ground(tmp_path: Path, engines: Sequence[Engine], hosts: Sequence[str]) -> Ground:
    layout = Layout(tmp_path)
    replicas = Engines(engines, "small", hosts)
    return Ground(layout, Supervisor(layout), replicas, "small", containers=True, own_engine=False, nodes=2)


def lost(tmp_path: Path, parts: dict[str, psutil.Process]) -> LostNode:
    pids = {name: part.pid for name, part in parts.items() if name != "engine"}
    return LostNode(ground(tmp_path, [Node(pids), Engine()], [f"unix://{tmp_path}/d.sock", "unix:///nowhere"]))


def stand_still(parts: dict[str, psutil.Process]) -> list[bool]:
    return [part.status() == psutil.STATUS_STOPPED for part in parts.values()]


def test_a_node_stands_still_and_goes_on(tmp_path: Path, parts: dict[str, psutil.Process]) -> None:
    node = lost(tmp_path, parts)

    node.require()
    node.prepare("small-1")
    assert not any(stand_still(parts))
    node.inflict("small-1")
    wait_for(lambda: all(stand_still(parts)), 10, "all of it to stand still")
    assert (node.hits, node.more_victims()) == (2, ("small-2",))
    node.undo()
    node.undo()

    wait_for(lambda: not any(stand_still(parts)), 10, "all of it to go on")


def test_what_ended_meanwhile_needs_nothing(tmp_path: Path, parts: dict[str, psutil.Process]) -> None:
    node = lost(tmp_path, parts)
    node.require()
    node.prepare("small-2")
    parts["small-1"].kill()
    parts["small-1"].wait(10)

    node.inflict("small-2")
    node.undo()

    del parts["small-1"]
    wait_for(lambda: not any(stand_still(parts)), 10, "the others to go on")


def test_a_replica_whose_processes_are_elsewhere(tmp_path: Path, parts: dict[str, psutil.Process]) -> None:
    node = lost(tmp_path, {**parts, "small-2": parts["small-1"]})  # the number of another one's process
    node.require()

    with pytest.raises(NotHere, match="processes of small-2 cannot be seen from here"):
        node.prepare("small-1")
    node.undo()


def test_a_victim_that_is_nowhere(tmp_path: Path, parts: dict[str, psutil.Process]) -> None:
    with pytest.raises(Trouble, match="small-9 is on no engine that answers"):
        lost(tmp_path, parts).prepare("small-9")


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("tcp://10.0.0.2:2376", "must be named by a socket"),
        ("unix:///nowhere/d.sock", "cannot be found among this machine's processes"),
    ],
)
def test_an_engine_that_is_not_here(tmp_path: Path, host: str, why: str) -> None:
    node = LostNode(ground(tmp_path, [Engine("small-1"), Engine("small-2")], [host, host]))

    with pytest.raises(NotHere, match=why):
        node.require()


def test_another_process_that_listens_for_the_engine(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "d.sock"))
        listener.listen()

        with pytest.raises(NotHere, match="nobody knows which process is the engine"):
            dockerd_at(f"unix://{tmp_path}/d.sock")


def test_local_processes_are_on_one_node(tmp_path: Path) -> None:
    alone = ground(tmp_path, [], [])

    with pytest.raises(NotHere, match="there is one node"):
        LostNode(replace(alone, nodes=1)).require()
