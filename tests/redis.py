"""A real Redis for the tests: Debian's binary, nothing kept on disk, ended by its pid."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import redis

from tests.waiting import wait_for

PASSWORD = "sesame-7R"
_SLOTS = 16384
_ENOUGH = "it is needed for the tests: `deploy/install.sh test` installs it, as root"


class NoRedis(Exception):
    """There is no binary of its server."""


class RedisServer:
    """Listens on loopback and asks for a password. As a cluster it is one of a single node."""

    def __init__(self, *, cluster: bool = False) -> None:
        self._binary = shutil.which("redis-server")
        if self._binary is None:
            raise NoRedis(f"redis-server is missing; {_ENOUGH}")
        self._folder = Path(tempfile.mkdtemp(prefix="st-redis-", dir="/tmp"))
        self._cluster = cluster
        self.port, self._bus = _free_ports(2)
        self._process = self._start()

    @property
    def url(self) -> str:
        """Where it is, with its password."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def url_file(self, folder: Path) -> Path:
        """A file that holds the URL as the configuration wants it."""
        file = folder / "redis.url"
        file.write_text(self.url + "\n")
        file.chmod(0o600)
        return file

    def ask(self, *command: str | int) -> Any:
        """One command over a connection of its own."""
        with redis.Redis(port=self.port, password=PASSWORD, socket_timeout=10) as client:
            return client.execute_command(*command)

    def kill(self) -> None:
        """It and all that it knows is gone at once, as when its machine dies."""
        self._process.kill()
        self._process.wait(30)

    def revive(self) -> None:
        """Start it once more, empty."""
        self._process = self._start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections and questions, as its machine's kernel does, and says nothing within."""
        process = psutil.Process(self._process.pid)
        process.suspend()
        try:
            yield
        finally:
            process.resume()

    def close(self) -> None:
        """End it and take its folder away."""
        if self._process.poll() is None:
            self.kill()
        shutil.rmtree(self._folder)

    def _start(self) -> subprocess.Popen[bytes]:
        options = {"port": self.port, "bind": "127.0.0.1", "requirepass": PASSWORD, "save": "", "appendonly": "no"}
        if self._cluster:
            (self._folder / "nodes.conf").unlink(missing_ok=True)
            options |= {"cluster-enabled": "yes", "cluster-port": self._bus, "cluster-announce-ip": "127.0.0.1"}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        with (self._folder / "log").open("ab") as log:
            # It ends with this process, however that ends.
            command = ["setpriv", "--pdeathsig", "KILL", str(self._binary), *words]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder, env=dict(os.environ))
        wait_for(lambda: process.poll() is not None or self._answers(), 30, "Redis answers")
        if process.poll() is not None:
            raise AssertionError(f"Redis does not start: {(self._folder / 'log').read_text()[-1000:]}")
        if self._cluster:
            self.ask("CLUSTER", "ADDSLOTSRANGE", 0, _SLOTS - 1)
            wait_for(lambda: "cluster_state:ok" in str(self.ask("CLUSTER", "INFO")), 30, "the cluster is whole")
        return process

    def _answers(self) -> bool:
        try:
            return bool(self.ask("PING"))
        except redis.RedisError:
            return False


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has now, all different."""
    found = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in found]
    for one in found:
        one.close()
    return ports
