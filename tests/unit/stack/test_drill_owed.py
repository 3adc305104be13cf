"""What a drill leaves that was killed with SIGKILL: real processes are hurt, and others undo it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from controller.adapters.docker_faults import FaultRefused
from controller.adapters.process import born
from controller.installation import Installation, Layout, PoolParts
from controller.settings.file import parse
from controller.stack.drill import command, owed
from controller.stack.drill.options import DrillOptions
from controller.stack.drill.owed import Step, mend, mend_if_gone, owe, process_goes_on, settle
from controller.stack.drill.pid_file import Runs
from controller.stack.drill_desk import DrillDesk, DrillPlace
from controller.stack.trouble import Trouble
from tests.unit.stack.test_drill_run import World, installed, served
from tests.waiting import wait_for

FILE = "drill-owed.json"
# A drill as `stoker drill` does one, but for the installation: what is hurt is one process.
DRILL = """
import sys, threading
from pathlib import Path
from types import SimpleNamespace
import psutil
from controller.installation import Layout
from controller.stack.drill import injuries_parts
from controller.stack.drill.command import alone
from controller.stack.drill.pid_file import Runs
from controller.stack.drill.run import _undone
from controller.stack.single import interruptible
from controller.adapters.process import born
import os
root, kind, pid = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
layout = Layout(root)
injuries_parts.program = lambda supervisor, name: psutil.Process(pid)
replicas = SimpleNamespace(kill=lambda name: None)
injury = getattr(injuries_parts, kind)(SimpleNamespace(layout=layout, supervisor=None, replicas=replicas))
with alone(layout), interruptible():
    (root / "drill.json").write_text(Runs("cafe", os.getpid(), born(os.getpid()), False).dump())
    if kind == "LostNode":
        injury._parts = [psutil.Process(pid)]
    with _undone(injury):
        injury.inflict("small-1")
        print("hurt", flush=True)
        threading.Event().wait()
"""


def nobody(pool: str) -> World:
    """No replica is asked for."""
    raise AssertionError(pool)


@pytest.fixture
def sleeper() -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"]) as started:
        yield psutil.Process(started.pid)
        started.kill()


@pytest.fixture
def drill(tmp_path: Path, sleeper: psutil.Process) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Begins one, and returns when it has hurt the sleeper."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(kind: str) -> subprocess.Popen[bytes]:
        given = [sys.executable, "-c", DRILL, str(tmp_path), kind, str(sleeper.pid)]
        begun.append(subprocess.Popen(given, stdout=subprocess.PIPE))
        assert begun[-1].stdout is not None
        assert begun[-1].stdout.readline() == b"hurt\n"
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DrillDesk]:
    monkeypatch.setattr("controller.stack.drill_desk._LOOK_S", 0.05)
    layout = Layout(tmp_path)
    layout.logs.mkdir(parents=True)
    settings = parse("pools: [{name: small, model: small, checkpoint: small.gguf}]", "test")
    parts = {"small": PoolParts(image="", checkpoint="/c/small.gguf")}
    made = DrillDesk(DrillPlace(layout, settings, Installation(runtime="process", pools=parts), lambda: None))
    with closing(made):
        yield made


def stopped(process: psutil.Process) -> bool:
    return process.status() == psutil.STATUS_STOPPED


def limit(process: psutil.Process) -> int:
    return resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[0]


KINDS = [
    pytest.param("HideMetrics", "Prometheus goes on", id="hide-metrics"),
    pytest.param("LostNode", "the node of small-1 goes on", id="lost-node"),
    pytest.param("DiskFull", "the controller may write again", id="disk-full"),
]


@pytest.mark.parametrize(("kind", "words"), KINDS)
def test_what_a_killed_drill_left_is_undone_by_the_controller_that_leads(
    tmp_path: Path, desk: DrillDesk, drill: Callable[[str], subprocess.Popen[bytes]], sleeper: psutil.Process,
    kind: str, words: str,
) -> None:  # fmt: skip
    before, over, told = limit(sleeper), threading.Event(), list[tuple[str, str]]()
    desk.follow(lambda name, said: (told.append((name, said)), over.set()))
    process = drill(kind)
    wait_for(lambda: stopped(sleeper) or limit(sleeper) == 0, 10, "the fault")
    assert not over.wait(0.3), "it lives"

    process.send_signal(signal.SIGKILL)

    assert over.wait(10)
    assert told == [("cafe", f"its process is gone; undone for it: {words}")]
    assert (stopped(sleeper), limit(sleeper)) == (False, before)
    assert not (tmp_path / FILE).exists()


def test_a_drill_that_the_controller_began_is_told_of_with_what_was_undone(
    desk: DrillDesk, drill: Callable[[str], subprocess.Popen[bytes]], sleeper: psutil.Process
) -> None:
    told = list[str]()
    desk._gone = lambda name, said: told.append(said)
    process = drill("HideMetrics")
    wait_for(lambda: stopped(sleeper), 10, "it to stand still")
    process.send_signal(signal.SIGKILL)

    desk._follow("cafe", process)

    assert told == ["its process ended (-9): it said nothing; undone for it: Prometheus goes on"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_that_is_told_to_end_owes_nothing_afterwards(
    tmp_path: Path, drill: Callable[[str], subprocess.Popen[bytes]], sleeper: psutil.Process, number: signal.Signals
) -> None:
    process = drill("HideMetrics")
    assert (tmp_path / FILE).exists()
    process.send_signal(number)
    process.wait(10)

    assert not (tmp_path / FILE).exists()
    assert not stopped(sleeper)


def test_another_process_with_its_number_is_left_alone(tmp_path: Path, sleeper: psutil.Process) -> None:
    owe(tmp_path, [Step("it goes on", sleeper.pid, "another boot 1"), Step("it writes", 2**22 + 1, "x", (5, 5))])
    sleeper.suspend()
    wait_for(lambda: stopped(sleeper), 10, "it to stand still")

    found = mend(tmp_path, nobody)

    assert (str(found), stopped(sleeper)) == ("nothing was left to undo", True)
    sleeper.resume()


def test_twice_does_no_harm(tmp_path: Path, sleeper: psutil.Process) -> None:
    goes_on, writes = process_goes_on("it goes on", sleeper.pid), process_goes_on("it writes", sleeper.pid)
    before = resource.prlimit(sleeper.pid, resource.RLIMIT_FSIZE)
    steps = [goes_on, Step(writes.what, writes.pid, writes.born, (4096, before[1]))]
    for _ in range(2):
        owe(tmp_path, steps)
        assert str(mend(tmp_path, nobody)) == "nothing was left to undo"
        assert mend(tmp_path, nobody) is None

    assert resource.prlimit(sleeper.pid, resource.RLIMIT_FSIZE) == before, "nobody had taken it"


class Silent:
    """Replicas of an engine that gives no answer, until it does."""

    def __init__(self) -> None:
        self.answers, self.done = False, list[str]()

    def restore(self, replica: str) -> bool:
        """As long as it answers."""
        if not self.answers:
            raise FaultRefused("the Docker engine gave no answer")
        self.done.append(replica)
        return True

    def close(self) -> None:
        """Noted."""
        self.done.append("close")


def test_what_cannot_be_undone_is_left_to_the_next_one(tmp_path: Path) -> None:
    engine = Silent()
    owe(tmp_path, [Step("small-1 goes on", pool="small", replica="small-1")])

    assert str(mend(tmp_path, lambda pool: engine)) == (
        "not undone: small-1 goes on: the Docker engine gave no answer"
    )  # fmt: skip
    engine.answers = True
    assert str(mend(tmp_path, lambda pool: engine)) == "undone for it: small-1 goes on"
    assert engine.done == ["close", "small-1", "close"]


def test_a_controller_that_may_write_nothing_lets_itself(tmp_path: Path) -> None:
    """It is the one that looks, and has no room for a byte."""
    mends = f"""
import os, resource, sys
from pathlib import Path
from controller.adapters.process import born
from controller.stack.drill.owed import Step, mend_if_gone, owe
root, before = Path({str(tmp_path)!r}), resource.getrlimit(resource.RLIMIT_FSIZE)
(root / "drill.lock").touch()
owe(root, [Step("it writes", os.getpid(), born(os.getpid()), before)])
resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
found = mend_if_gone(root, lambda pool: None)
assert resource.getrlimit(resource.RLIMIT_FSIZE) == before
print(found)
"""
    ran = subprocess.run([sys.executable, "-c", mends], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("undone for it: it writes\n", "")
    assert not (tmp_path / FILE).exists()


def test_what_one_fault_settles_is_not_what_another_one_owes(tmp_path: Path) -> None:
    first, second = (Step(f"{name} goes on", pool="small", replica=name) for name in ("small-1", "small-2"))
    owe(tmp_path, [first])
    owe(tmp_path, [second])
    settle(tmp_path, [second])

    assert [one["replica"] for one in json.loads((tmp_path / FILE).read_text())["steps"]] == ["small-1"]
    settle(tmp_path, [first])
    assert not (tmp_path / FILE).exists()


def test_a_drill_that_lives_is_not_undone(tmp_path: Path) -> None:
    owe(tmp_path, [Step("small-1 goes on", pool="small", replica="small-1")])
    with command.alone(Layout(tmp_path)):
        assert mend_if_gone(tmp_path, nobody) is None


def test_a_file_that_says_nothing_is_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("[]")

    assert mend(tmp_path, nobody) is None


def test_the_next_drill_undoes_it_first_and_says_so(
    tmp_path: Path, sleeper: psutil.Process, capsys: pytest.CaptureFixture[str]
) -> None:
    sleeper.suspend()
    wait_for(lambda: stopped(sleeper), 10, "it to stand still")
    with served(World(), tmp_path) as site:
        installed(tmp_path, site)
        owe(tmp_path, [process_goes_on("Prometheus goes on", sleeper.pid)])
        (tmp_path / "drill.json").write_text(Runs("cafe", os.getpid(), born(os.getpid()), False).dump())
        with pytest.raises(Trouble, match="give --load 8 or less"):
            command.drill(DrillOptions(load=9, state_dir=tmp_path))

    assert not stopped(sleeper)
    assert "the drill cafe was killed; undone for it: Prometheus goes on" in capsys.readouterr().err


def test_no_drill_begins_on_what_cannot_be_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "restorable_of", lambda *_: Silent())
    with served(World(), tmp_path) as site:
        installed(tmp_path, site)
        owed.owe(tmp_path, [Step("small-1 goes on", pool="small", replica="small-1")])
        with pytest.raises(Trouble, match="a drill was killed, and what it did is there still; not undone: small-1"):
            command.drill(DrillOptions(state_dir=tmp_path))
