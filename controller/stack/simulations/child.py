"""The process that simulates: at low priority and with bounds of its own, so that ticks go on as ever beside it."""

from __future__ import annotations

import os
import resource
import sys
import time

from controller.simulate.errors import SimulateError
from controller.stack.simulations.job import JOB, SAID, Job, Said
from controller.stack.simulations.outcome import outcome, told, trace_of

NICE = 10
MEMORY_BYTES = 1 << 30
CPU_S = 200  # should nobody be left to end it at its deadline
_EVERY_S = 0.2


class Progress:
    """Says how far it is, a few times a second. `policies` are played one after the other."""

    def __init__(self, policies: int) -> None:
        self._policies, self._begun, self._said_at = policies, 0, 0.0
        self._name = ""

    def begin(self, name: str) -> Progress:
        """The next policy."""
        self._begun, self._name = self._begun + 1, name
        self(0.0, 1.0)
        return self

    def __call__(self, done_s: float, of_s: float) -> None:
        now = time.monotonic()
        if now - self._said_at < _EVERY_S and done_s:
            return
        self._said_at = now
        say(Said(self._name, round((self._begun - 1 + done_s / of_s) / self._policies, 4)))


def say(said: Said) -> None:
    """One line. It fails where nobody listens any more, which ends the process."""
    sys.stdout.buffer.write(SAID.dump_json(said) + b"\n")
    sys.stdout.buffer.flush()


def answer(job: Job) -> Said:
    """Do it."""
    try:
        trace = trace_of(job.trace)
        if job.live is None:
            return Said(progress=1.0, done=told(trace).model_dump_json())
        progress = Progress(1 + (job.changed is not None) + len(job.compare))
        return Said(progress=1.0, done=outcome(job, trace, progress.begin).model_dump_json())
    except SimulateError as error:
        return Said(refused=str(error))
    except MemoryError:
        return Said(refused=f"it takes more than {MEMORY_BYTES >> 20} MiB of memory; play a shorter trace")


def main() -> None:
    """Read a job, and answer it."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    say(answer(JOB.validate_json(sys.stdin.buffer.read())))


if __name__ == "__main__":
    main()
