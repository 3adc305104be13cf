"""Gateways that share their answers: an nginx and a service for each, as `stoker up` runs them, on one Redis."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.adapters.nginx import hot
from controller.adapters.nginx.rules import Rules
from controller.core.model import Address
from controller.installation import Layout
from controller.settings import parse
from controller.stack.hot_cache import programs
from tests.fakes.clock import FakeClock
from tests.fakes.running_nginx import RunningNginx, parts_in, plan
from tests.integration.gateway_access import digest, give, key, record
from tests.redis import RedisServer
from tests.waiting import wait_for

SLOW = "5s"  # what no operation takes, however busy the machine is
_POOL = "pools:\n  - {name: smollm2, model: smollm2, checkpoint: s.gguf}\n"
_INSTANCE = "0123456789ab"


@dataclass
class HotGateway:
    """One of them. The service is started and ended by its pid; `log` receives nginx's access log."""

    folder: Path
    redis: RedisServer
    rules: Rules
    cluster: bool = False
    settings: dict[str, Any] = field(default_factory=dict)  # of the hot cache
    nginx: RunningNginx = field(init=False)
    log: socket.socket = field(init=False)
    _service: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        own = {"redis_url_file": str(self.redis.url_file(self.folder)), "cluster": self.cluster}
        given = {"timeout": SLOW, **own, **self.settings}
        clock = FakeClock()
        parts = parts_in(self.folder, clock, self.rules, hot_cache=given)
        hot.make_folder(parts.folder, parts.config().user)
        text = f"{_POOL}gateway: {{hot_cache: {json.dumps(given)}}}\ncontroller: {{instance: {_INSTANCE}}}\n"
        (self._program,) = programs(parse(text, "c.yaml"), Layout(self.folder))
        self.nginx = RunningNginx(parts, clock)
        give(self.nginx, {digest(key(1)): record(1), digest(key(2)): record(2)})
        self.log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.log.bind(("127.0.0.1", parts.ports.edge_log))
        self.log.settimeout(10)
        self.start_service()
        self.wait_until_ready()

    def start_service(self) -> None:
        """As the supervisor does."""
        with (self.folder / "hotcache.log").open("ab") as log:
            self._service = subprocess.Popen(
                self._program.command,
                cwd=self._program.directory,
                env={**os.environ, "PYTHONSAFEPATH": "1"},
                stdout=log,
                stderr=log,
            )

    def wait_until_ready(self) -> None:
        """Until the service has reached Redis."""
        wait_for(lambda: b"stoker_hotcache_available 1.0" in self.metrics(), 20, "the service has reached Redis")

    def metrics(self) -> bytes:
        """The service's page, as Prometheus gets it."""
        host, port = "127.0.0.1", self.nginx.parts.ports.gateway_status
        with socket.create_connection((host, port), 10) as connection:
            connection.sendall(b"GET /hot_cache HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def signal_service(self, number: signal.Signals) -> None:
        """SIGKILL, SIGSTOP or SIGCONT. After SIGKILL it is gone."""
        assert self._service is not None
        self._service.send_signal(number)
        if number is signal.SIGKILL:
            self._service.wait(10)

    def serve(self, *addresses: Address) -> None:
        """Have nginx send requests there."""
        self.nginx.apply(plan(*addresses))

    def stop(self) -> None:
        """End both. Idempotent."""
        self.nginx.stop()
        self.log.close()
        if self._service is not None and self._service.poll() is None:
            self._service.kill()
            self._service.wait(10)
