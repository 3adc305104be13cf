"""A real supervisord: starts, restarts what dies, and leaves nothing behind however it ends itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from controller.installation import Installation, Layout
from controller.stack import leftovers
from controller.stack.down import anything_left, stop_everything
from controller.stack.programs import become_controller, environment
from controller.stack.progress import Progress
from controller.stack.restarts import Restarts
from controller.stack.single import only_one
from controller.stack.supervisor import Program, Supervisor, last_line
from controller.stack.trouble import Trouble
from tests.waiting import wait_for

SLEEP = "import signal; print('here', flush=True); signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('here', flush=True); [signal.pause() for _ in iter(int, 1)]"
)


@pytest.fixture
def layout() -> Iterator[Layout]:
    """A state directory with a short name, and nothing of it left after the test."""
    with tempfile.TemporaryDirectory(prefix="st-") as folder:
        found = Layout(Path(folder))
        yield found
        leftovers.end(leftovers.processes(found))


@pytest.fixture
def progress() -> Progress:
    return Progress(Console(quiet=True))


def program(layout: Layout, name: str, code: str, **more: int) -> Program:
    return Program(name, (sys.executable, "-c", code), layout.root, **more)


def started(layout: Layout, *programs: Program) -> Supervisor:
    supervisor = Supervisor(layout)
    supervisor.start(programs, environment(layout, os.environ))
    supervisor.start_programs([one.name for one in programs])
    return supervisor


def pid_of(supervisor: Supervisor, name: str) -> int:
    return next((one.pid for one in supervisor.states() if one.name == name and one.state == "RUNNING"), 0)


def pid_not(supervisor: Supervisor, name: str, previous: int) -> int:
    pid = pid_of(supervisor, name)
    return 0 if pid == previous else pid


def lives(process: psutil.Process) -> bool:
    """A zombie does not; whoever became its parent may be slow to look."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_what_is_killed_comes_back_and_down_leaves_nothing(layout: Layout, progress: Progress) -> None:
    supervisor = started(layout, program(layout, "controller", SLEEP), program(layout, "edge", SLEEP))
    first = pid_of(supervisor, "edge")
    assert {one.name: one.state for one in supervisor.states()} == {"controller": "RUNNING", "edge": "RUNNING"}

    os.kill(first, signal.SIGKILL)
    wait_for(lambda: pid_not(supervisor, "edge", first), 10, "edge runs again")

    assert stop_everything(layout, progress)
    assert leftovers.processes(layout) == []
    assert not supervisor.running()
    assert not stop_everything(layout, progress)  # there is nothing left to stop


def test_a_killed_supervisor_leaves_processes_that_down_finds(layout: Layout, progress: Progress) -> None:
    supervisor = started(layout, program(layout, "controller", SLEEP), program(layout, "edge", SLEEP))
    orphan = psutil.Process(pid_of(supervisor, "edge"))
    os.kill(int((layout.supervisor / "supervisord.pid").read_text()), signal.SIGKILL)
    wait_for(lambda: not supervisor.running(), 10, "the supervisor is gone")

    assert anything_left(layout)
    assert lives(orphan)
    stop_everything(layout, progress)

    assert not lives(orphan)
    assert not anything_left(layout)


def test_one_that_ignores_sigterm_is_killed_when_its_time_is_up(layout: Layout, progress: Progress) -> None:
    supervisor = started(layout, program(layout, "edge", STUBBORN, stop_wait_s=1))
    wait_for(lambda: last_line(layout.logs / "edge.log") == "here", 10, "it ignores SIGTERM by now")
    stubborn = psutil.Process(pid_of(supervisor, "edge"))

    stop_everything(layout, progress)

    assert not lives(stubborn)


def test_one_that_ends_at_once_is_trouble_in_its_own_words(layout: Layout, progress: Progress) -> None:
    with pytest.raises(Trouble, match="edge does not start: no such luck") as refused:
        started(layout, program(layout, "edge", "import sys; sys.exit('no such luck')"))

    assert str(layout.logs / "edge.log") in str(refused.value)
    stop_everything(layout, progress)
    assert leftovers.processes(layout) == []


def test_one_that_dies_again_and_again_is_told_from_one_that_was_killed_once(layout: Layout) -> None:
    supervisor = started(layout, program(layout, "edge", SLEEP))
    restarts, previous = Restarts(supervisor), 0
    for _ in range(3):
        previous = wait_for(lambda before=previous: pid_not(supervisor, "edge", before), 10, "edge runs again")
        restarts.look()
        os.kill(previous, signal.SIGKILL)
    wait_for(lambda: pid_not(supervisor, "edge", previous), 10, "edge runs again")

    with pytest.raises(Trouble, match="edge ends again and again: here"):
        restarts.look()


def test_a_program_that_is_not_there_is_named(layout: Layout, progress: Progress) -> None:
    with pytest.raises(Trouble, match="edge cannot be started: .*/no/such/program"):
        started(layout, Program("edge", ("/no/such/program",), layout.root))

    stop_everything(layout, progress)
    assert leftovers.processes(layout) == []


def test_a_supervisor_that_cannot_start_says_why(layout: Layout) -> None:
    with pytest.raises(Trouble, match="the process supervisor does not start: .*no_such_section"):
        Supervisor(layout).start(
            [Program("x]\n[no_such_section", ("a",), layout.root)], environment(layout, os.environ)
        )


def test_the_shell_that_names_the_state_directory_is_spared(layout: Layout) -> None:
    shell = psutil.Popen(
        [sys.executable, "-c", SLEEP], env={**os.environ, "STOKER_STATE_DIR": str(layout.root)}, stdout=-3
    )
    try:
        assert leftovers.processes(layout) == []
    finally:
        shell.kill()
        shell.wait()


def test_children_of_the_marked_are_found_without_a_mark_of_their_own(layout: Layout) -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}], env={{}})"
    supervisor = started(layout, program(layout, "edge", code))
    parent = psutil.Process(pid_of(supervisor, "edge"))
    child = wait_for(parent.children, 10, "it has a child")[0]

    assert child.pid in {process.pid for process in leftovers.processes(layout)}


def test_an_engine_that_is_gone_is_said_and_all_else_is_stopped(layout: Layout, progress: Progress) -> None:
    started(layout, program(layout, "controller", SLEEP))
    Installation(runtime="docker", docker_host=f"unix://{layout.root}/none.sock", pools={}).save(layout)

    with pytest.raises(Trouble, match=f"no Docker engine answers .*stoker.instance={layout.instance} stay"):
        stop_everything(layout, progress)

    assert leftovers.processes(layout) == []
    assert layout.installation.exists()  # for the next `down`, when the engine is back


def test_one_that_stands_by_is_ended_before_the_one_that_leads(layout: Layout, progress: Progress) -> None:
    """Else it would take the lead, and start anew what is removed."""
    supervisor = started(layout, program(layout, "controller", SLEEP))
    leader = psutil.Process(pid_of(supervisor, "controller"))
    watch = (
        f"import os, signal, psutil\nsignal.signal(signal.SIGTERM, lambda *_: os._exit({leader.pid} in psutil.pids()))"
    )
    standby = psutil.Popen(
        [sys.executable, "-c", f"{watch}\n{SLEEP}", "controller.main"],
        env=environment(layout, os.environ),
        stdout=subprocess.PIPE,
    )
    assert standby.stdout is not None
    assert standby.stdout.readline() == b"here\n"

    stop_everything(layout, progress)

    standby.stdout.close()
    assert standby.wait(10) == 1, "the leader lived when it was ended"
    assert not lives(leader)


def test_a_foreground_controller_needs_an_installation_and_a_port(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(os, "execve", lambda path, command, env: ran.append((*command, env["STOKER_INSTALLATION"])))
    with pytest.raises(Trouble, match=f"nothing is installed in {layout.root}; run `stoker up` first"):
        become_controller(layout, standby=True, port=8010)
    layout.config.write_text("pools:\n  - {name: small, model: small, checkpoint: small.gguf}\n")
    Installation(runtime="process", pools={}).save(layout)
    with pytest.raises(Trouble, match="needs a port of its own for its API; give it with --port"):
        become_controller(layout, standby=True, port=None)
    with pytest.raises(Trouble, match=r"port 9090 is ports\.prometheus of this installation"):
        become_controller(layout, standby=True, port=9090)

    become_controller(layout, standby=True, port=8010)
    become_controller(layout, standby=False, port=None)

    root, command = str(layout.root), (sys.executable, "-m", "controller.main", "--state-dir", str(layout.root))
    assert ran == [(*command, "--port", "8010", root), (*command, root)]


def test_only_one_up_at_a_time(layout: Layout) -> None:
    with only_one(layout), pytest.raises(Trouble, match="another `stoker up`"), only_one(layout):
        pass
    with only_one(layout):
        pass
