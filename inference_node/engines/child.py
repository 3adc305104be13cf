"""What every engine process does for its launcher: speak to it, and die with it."""

from __future__ import annotations

import ctypes
import json
import os
import signal
from collections.abc import Mapping

PARENT_VARIABLE = "STOKER_LAUNCHER_PID"

_PR_SET_PDEATHSIG = 1


def die_with_parent(environment: Mapping[str, str]) -> None:
    """From now on the kernel kills this process when the launcher ends, even by SIGKILL.

    Does nothing without STOKER_LAUNCHER_PID. Exits at once when the launcher is gone already.
    """
    if PARENT_VARIABLE not in environment:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(environment[PARENT_VARIABLE]):
        os._exit(1)


class Reports:
    """Lines for the launcher, on what was stdout; stdout itself goes to stderr, where a library may print."""

    def __init__(self) -> None:
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def send(self, **report: int | str) -> None:
        """Write one report and flush it."""
        self._stream.write(json.dumps(report) + "\n")
        self._stream.flush()
