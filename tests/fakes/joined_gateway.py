"""A controller's API that other gateways follow, and such a gateway: both real, over HTTP on loopback."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from controller.adapters.clock import SystemClock
from controller.api.app import create_app
from controller.api.deps import Sources
from controller.core.access import KeyId
from controller.core.model import GatewayPlan
from controller.core.quota import Block
from controller.reconcile.gateways import Gateways
from controller.settings import Settings
from tests.fakes.running_nginx import ports
from tests.fakes.store import FakeStore
from tests.waiting import wait_for

TOKEN = "0123456789abcdef" * 4
_ADMIN = "of the state directory"


@dataclass
class ControllerApi:
    """What a leader tells other gateways, on a port that stays the same when it is stopped and started again."""

    port: int
    gateways: Gateways = field(default_factory=Gateways)
    lead: str = "leads"
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Answer from now on."""
        sources = Sources(
            policies=(),
            nodes=(),
            store=FakeStore(),
            latest=lambda: None,
            healthy=lambda: True,
            metrics=lambda: b"",
            now=SystemClock().now,
            lead=lambda: self.lead,
            gateways=self.gateways,
            gateway_token=TOKEN,
            token=_ADMIN,
        )
        config = uvicorn.Config(create_app(sources), port=self.port, log_config=None, access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_for(lambda: self._server and self._server.started, 10, "the API answers")

    def stop(self) -> None:
        """Answer no more. Idempotent."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(10)
            assert not self._thread.is_alive()
            self._server = None

    def want(self, plan: GatewayPlan, settings: Settings) -> None:
        """What a tick does."""
        self.gateways.want(plan, settings, SystemClock().now())

    def want_keys(self, records: Mapping[str, str], blocks: Mapping[KeyId, Block] | None = None) -> None:
        """What a tick does, too."""
        self.gateways.want_keys(records, blocks or {})

    def heard(self, name: str) -> dict[str, Any]:
        """The row of that gateway; empty where it is not known."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/api/v1/gateways", headers={"Authorization": f"Bearer {_ADMIN}"})
            with connection.getresponse() as answer:
                rows = json.loads(answer.read())
        finally:
            connection.close()
        return next((row for row in rows if row["name"] == name), {})


@dataclass
class JoinedGateway:
    """`stoker gateway join` as its own process."""

    folder: Path
    controller: str
    name: str = "second"
    token: str = TOKEN

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.ports = ports()
        self._token_file = self.folder / "token"
        self._token_file.write_text(self.token + "\n")
        self._token_file.chmod(0o600)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def start(self) -> None:
        """Begin; returns at once."""
        command = [
            *(sys.executable, "-m", "controller.cli", "gateway", "join", "--controller", self.controller),
            *("--token-file", str(self._token_file), "--state-dir", str(self.state), "--name", self.name),
            *("--reach", "127.0.0.1", "--port", str(self.ports.gateway)),
            *("--status-port", str(self.ports.gateway_status), "--edge-port", str(self.ports.edge)),
            *("--log-port", str(self.ports.edge_log)),
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, "NO_COLOR": "1"})

    def kill(self) -> None:
        """SIGKILL to it alone: nginx goes on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self, timeout_s: float = 30) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout_s)

    def exit_code(self, timeout_s: float = 30) -> int:
        """Once it has ended by itself."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def stop(self) -> None:
        """Leave nothing of it behind."""
        from controller.installation import Layout
        from controller.stack import leftovers

        if self._process is not None and self._process.poll() is None:
            self.end()
        leftovers.end(leftovers.processes(Layout(self.state)))

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def nginx_pid(self) -> int:
        """Of the master; 0 where none wrote it."""
        try:
            return int((self.state / "gateway/nginx.pid").read_text())
        except (OSError, ValueError):
            return 0

    def ask(self, secret: str | None = None) -> tuple[int, dict[str, str]]:
        """One chat completion: status and headers; 0 where nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports.gateway, timeout=10)
        headers = {"Connection": "close", **({"Authorization": f"Bearer {secret}"} if secret else {})}
        try:
            connection.request("POST", "/v1/chat/completions", '{"model":"smollm2","user":"a"}', headers)
            with connection.getresponse() as answer:
                answer.read()
                return answer.status, dict(answer.getheaders())
        except OSError:
            return 0, {}
        finally:
            connection.close()

    def metrics(self) -> str:
        """What its exporter tells; empty where it does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports.edge, timeout=10)
        try:
            connection.request("GET", "/metrics")
            with connection.getresponse() as answer:
                return answer.read().decode()
        except OSError:
            return ""
        finally:
            connection.close()
