"""Collects the evidence: the controller's ledger, what the engine created, and how the controller's process is."""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import docker
import psutil
import requests
from docker.errors import DockerException

from controller.installation import Installation, Layout
from controller.stack.drill.injuries_parts import program
from controller.stack.supervisor import Supervisor
from controller.stack.trouble import Trouble
from tests.e2e.stack import Stack
from tests.soak.figures import Look
from tests.soak.invariants import Evidence, Vital
from tests.soak.stack import ask, ready

_LOOK_S = 0.5
_WARM_S = 10.0  # a process that is younger has not loaded all of itself
_LIMIT = 1000  # rows in an answer


class Watch:
    """Looks at the pool twice a second from the beginning of the `with` until its end, in a thread."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-watch", daemon=True)
        self.looks: list[Look] = []

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            at = time.monotonic()
            rows = ask(self._stack, "replicas")
            self.looks.append(Look(at, None if rows is None else len(ready(rows))))


class Witness:
    """Sees the installation from outside. `evidence` grows with each `look`."""

    def __init__(self, stack: Stack, began: float) -> None:
        self._stack, self._began = stack, began
        layout = Layout(stack.state_dir)
        self._supervisor = Supervisor(layout)
        host = Installation.load(layout).engines[0].docker_host
        self._engine = docker.APIClient(base_url=host, version="auto", timeout=20)
        self._label = f"stoker.instance={layout.instance}"
        self._asked_at = int(time.time()) - 1
        self._doubtful: set[str] = set()
        self._events: set[tuple[Any, ...]] = set()
        self.evidence = Evidence()
        self.reloads = 0

    def look(self) -> None:
        """Take everything in. What does not answer just now is left for the next time."""
        self.evidence.now = datetime.now(UTC)
        for row in ask(self._stack, f"decisions?limit={_LIMIT}") or ():
            self.evidence.decisions[row["id"]] = row
        self._take_events(ask(self._stack, f"events?limit={_LIMIT}") or [])
        for row in ask(self._stack, "pools") or ():
            if since := row["healing"]["fuse_since"]:
                self.evidence.fuses.append(f"blown since {since}")
        with contextlib.suppress(DockerException, requests.RequestException):
            self._take_created()
            self._take_strays()
        with contextlib.suppress(Trouble, psutil.Error):
            self._take_vital()

    def settle(self) -> bool:
        """Whether the engine has exactly what the API tells of."""
        self._doubtful = set()
        self.look()
        return not self._doubtful

    def accuse(self) -> None:
        """What is unknown now, when all is quiet, is a stray."""
        for name in self._doubtful:
            self.evidence.strays.setdefault(name, "when all was quiet")

    def close(self) -> None:
        """Let go of the engine."""
        self._engine.close()

    def _take_events(self, rows: list[dict[str, Any]]) -> None:
        new = {tuple(row[key] for key in ("at", "event", "subject", "reason", "tick", "term")) for row in rows}
        new -= self._events
        self._events |= new
        self.reloads += sum(1 for row in new if row[1] == "gateway_reloaded")

    def _take_created(self) -> None:
        """The engine remembers its last 256 events only, so it is asked often."""
        until = int(time.time())
        asked = {"type": "container", "event": "create", "label": self._label}
        for event in self._engine.events(since=self._asked_at, until=until, filters=asked, decode=True):
            name = event["Actor"]["Attributes"]["name"]
            self.evidence.containers.setdefault(name, set()).add(event["Actor"]["ID"])
        self._asked_at = until - 1  # what is told twice is counted once

    def _take_strays(self) -> None:
        """Unknown in two looks in a row: one that was just made or just removed is in one only."""
        there = self._engine.containers(all=True, filters={"label": self._label})
        for item in there:
            self.evidence.containers.setdefault(item["Names"][0].lstrip("/"), set()).add(item["Id"])
        rows = ask(self._stack, "replicas")
        if rows is None:
            self._doubtful = set()
            return
        known = {row["replica"] for row in rows}
        unknown = {item["Labels"]["stoker.replica"] for item in there} - known
        for name in unknown & self._doubtful:
            self.evidence.strays.setdefault(name, f"first seen {time.monotonic() - self._began:.0f} s in")
        self._doubtful = unknown

    def _take_vital(self) -> None:
        process = program(self._supervisor, "controller")
        if time.time() - process.create_time() < _WARM_S:
            return
        with process.oneshot():
            at_s = time.monotonic() - self._began
            rss, threads = process.memory_info().rss, process.num_threads()
            self.evidence.vitals.append(Vital(at_s, process.pid, rss, threads, process.num_fds()))
