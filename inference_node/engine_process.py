"""The engine's process, seen from the launcher."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterable

from inference_node.engines.child import PARENT_VARIABLE
from inference_node.events import EngineDraining, EngineExited, EngineFailed, EngineListening, Event
from inference_node.logfmt import log


class EngineProcess:
    """Runs until it ends by itself or is told to. Every report and the end become events.

    Must be made by a thread that lives as long as the launcher: the kernel kills the engine when that thread ends.
    """

    def __init__(self, command: tuple[str, ...], on_event: Callable[[Event], None]) -> None:
        environment = {**os.environ, PARENT_VARIABLE: str(os.getpid())}
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._on_event = on_event
        self._watcher = threading.Thread(target=self._watch, name="engine", daemon=True)
        self._watcher.start()

    def terminate(self) -> None:
        """Ask it to drain. Does not block; nothing happens when it is gone."""
        self._process.terminate()

    def kill(self) -> None:
        """End it now and wait until it is gone. Idempotent."""
        self._process.kill()
        self._watcher.join()

    def _watch(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as reports:
            self._pass_on(reports)
        self._on_event(EngineExited(self._process.wait()))

    def _pass_on(self, lines: Iterable[str]) -> None:
        for line in lines:
            event = parse_report(line)
            if event is None:
                log("engine_report_unreadable", line=line.rstrip("\n")[:200])
            else:
                self._on_event(event)


def parse_report(line: str) -> Event | None:
    """The event that a line of the engine's stdout stands for (see `engines.contract`), or None."""
    try:
        report = json.loads(line)
    except ValueError:
        return None
    match report:
        case {"listening": int(port)}:
            return EngineListening(port)
        case {"draining": int(port)}:
            return EngineDraining(port)
        case {"failed": str(why)}:
            return EngineFailed(why)
    return None
