"""A machine as the GPU exporter sees it: a folder as its /proc, and something that answers as Docker does."""

from __future__ import annotations

import http.server
import json
import re
import socketserver
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

CONTAINER = re.compile(r"[0-9a-f]{64}")
_STAT = "{pid} ({name}) S {parent} 1 1 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 {began} 1 1"


class Machine:
    """Runs from its construction until the end of the `with`."""

    def __init__(self, folder: Path) -> None:
        self.proc = folder / "proc"
        self.proc.mkdir()
        self.socket = folder / "docker.sock"
        self.containers: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []  # ids
        self.silent = False
        self._ending = threading.Event()
        self._server = _Engine(str(self.socket), _Handler)
        self._server.machine = self
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of the exporter."""
        return "--proc", str(self.proc), "--docker", str(self.socket)

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()

    def add_container(self, number: int, name: str) -> str:
        """Its id."""
        container = f"{number:064x}"
        self.containers.setdefault(container, {"Id": container, "Name": f"/{name}", "Config": {"Labels": None}})
        return container

    def label(self, container: str, pool: str, replica: str) -> None:
        """As the controller labels it."""
        self.containers[container]["Config"]["Labels"] = {"stoker.pool": pool, "stoker.replica": replica}

    def add_process(
        self, pid: int, name: str, container: str, *, parent: int = 1, environment: dict[str, str] | None = None
    ) -> None:
        """One that runs, in that container if it has a name."""
        folder = self.proc / str(pid)
        folder.mkdir()
        place = f"/system.slice/docker-{container}.scope" if container else "/user.slice/session-1.scope"
        (folder / "cgroup").write_text(f"0::{place}\n")
        (folder / "stat").write_text(_STAT.format(pid=pid, name=name, parent=parent, began=pid * 7))
        told = "\0".join(f"{key}={value}" for key, value in (environment or {}).items())
        (folder / "environ").write_text(told)

    def show_gpus(self, *buses: str) -> None:
        """The GPUs that the kernel's driver knows."""
        listed = self.proc / "driver/nvidia/gpus"
        listed.mkdir(parents=True, exist_ok=True)
        for old in listed.iterdir():
            old.rmdir()
        for bus in buses:
            (listed / bus).mkdir()

    def answer(self, path: str) -> tuple[int, Any]:
        """What Docker says."""
        container = path.removeprefix("/containers/").removesuffix("/json")
        self.asked.append(container)
        if self.silent:
            self._ending.wait(30)
        found = self.containers.get(container)
        return (200, found) if found else (404, {"message": f"No such container: {container}"})


class _Engine(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    machine: Machine


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Engine

    def do_GET(self) -> None:
        status, said = self.server.machine.answer(self.path)
        body = json.dumps(said).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except BrokenPipeError:  # it did not wait
            return

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass
