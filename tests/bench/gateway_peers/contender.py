"""What every contender gives, and how one that is a single command is run."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from controller.core.model import Address
from controller.stack.trouble import Trouble
from tests.bench.gateway_peers import workload
from tests.waiting import wait_for

_READY_S, _STOP_S = 60.0, 10.0


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that answers on loopback."""

    port: int
    pid: int  # of the first of its processes; the others are its descendants
    reload_s: Callable[[], float] | None = None  # changes its servers, and tells how long it took until that was served

    def cpu_s(self) -> float:
        """CPU seconds that all its processes have taken so far, those too that have ended.

        Raises:
            psutil.NoSuchProcess: the first one has ended.
        """
        first = psutil.Process(self.pid)
        return _taken(first) + sum(_taken_or_ended(child) for child in first.children(recursive=True))


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to put a gateway in front of engines. `run` keeps what it writes in the folder, which is its own."""

    name: str
    what: str  # how it is set up, as a clause
    run: Callable[[Sequence[Address], Path], AbstractContextManager[Running]]


def _taken(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def _taken_or_ended(process: psutil.Process) -> float:
    """What one took that ends just now is in its parent's sum from then on."""
    try:
        return _taken(process)
    except psutil.NoSuchProcess:
        return 0.0


@contextmanager
def spawned(
    command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """The command while it runs, from when it answers. What it says goes to a file in `folder`.

    Raises:
        Trouble: it ended, or does not answer within a minute.
    """
    said = folder / "output.log"
    with said.open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        with _explained(command[0], said):
            wait_for(lambda: process.poll() is not None or answers(port), _READY_S, "an answer")
            if process.poll() is not None:
                raise AssertionError(f"it ended with {process.returncode}")
        yield Running(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(port: int, key: str = "") -> bool:
    """Whether a chat completion comes back from there."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as asked:
        try:
            asked.request("POST", workload.PATH, workload.body(), headers)
            return asked.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


@contextmanager
def _explained(program: str, said: Path) -> Iterator[None]:
    try:
        yield
    except AssertionError as error:
        end = said.read_text(errors="replace").strip()[-300:]
        raise Trouble(f"{Path(program).name} does not answer ({error}); it said: {end or 'nothing'}") from error
