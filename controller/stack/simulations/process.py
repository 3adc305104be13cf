"""One process that simulates, as whoever started it sees it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable

from pydantic import ValidationError

from controller.api.simulations import SimulationRefused
from controller.stack.simulations.job import JOB, SAID, Job, Said

_COMMAND = [sys.executable, "-P", "-m", "controller.stack.simulations.child"]


class Process:
    """Runs one job. `run` is for one thread, `end` for any."""

    def __init__(self, job: Job, limit_s: float, command: list[str] | None = None) -> None:
        self._job, self._limit_s, self._command = job, limit_s, command or _COMMAND
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = self._late = False

    def run(self, heard: Callable[[Said], None]) -> str:
        """Start it, hear what it says, and return what came out as JSON. Blocks until then, `limit_s` at most.

        Raises:
            SimulationRefused: it cannot be played, took too long, or was ended.
        """
        with self._lock:
            if self._ended:
                raise SimulationRefused("it was ended before it began")
            self._process = self._start()
        timer = threading.Timer(self._limit_s, self._expire)
        timer.daemon = True
        timer.start()
        try:
            last = self._talk(self._process, heard)
        finally:
            timer.cancel()
            self.end()
        return self._answer(last, self._process.returncode)

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise SimulationRefused(f"no process could be started for it: {error.strerror}; try again") from error

    def end(self) -> None:
        """End it, whatever it does. Blocks for a moment at most."""
        with self._lock:
            self._ended = True
            if self._process is not None:
                self._process.kill()  # no more than a look once it has ended
                self._process.wait()

    def _expire(self) -> None:
        self._late = True
        self.end()

    def _talk(self, process: subprocess.Popen[bytes], heard: Callable[[Said], None]) -> Said:
        last = Said()
        assert process.stdin is not None  # as asked for above
        assert process.stdout is not None
        with process.stdout as lines:
            with contextlib.suppress(OSError), process.stdin as told:  # it may end before it was told
                told.write(JOB.dump_json(self._job))
            for line in lines:
                try:
                    last = SAID.validate_json(line)
                except ValidationError:
                    break  # it was ended within a line
                heard(last)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
        return last

    def _answer(self, last: Said, code: int | None) -> str:
        if last.done is not None:
            return last.done
        if last.refused is not None:
            raise SimulationRefused(last.refused)
        if self._late:
            raise SimulationRefused(
                f"it took longer than {self._limit_s:g} s and was ended; play a shorter trace, or fewer policies"
            )
        raise SimulationRefused(f"the process that played it has ended (code {code}); the controller's log says more")
