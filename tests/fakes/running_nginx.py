"""A real nginx in a folder of its own, started by the test and ended by its pid."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from controller.adapters.nginx import NginxGateway, NginxParts, command, prepare, revertible
from controller.adapters.nginx import gateway as adapter
from controller.adapters.nginx.rules import PoolRules, Rules
from controller.core.model import Address, GatewayPlan, PoolName, PoolRoutes, ReplicaId, Server
from controller.settings import GatewaySettings, PortSettings
from tests.fakes.clock import FakeClock
from tests.waiting import wait_for

POOL = PoolRoutes(PoolName("smollm2"), "smollm2")
adapter.CHECK_S = revertible.CHECK_S = 20.0  # a tick has no time to wait for `nginx -t`; tests run beside others


def plan(*addresses: Address, pool: PoolRoutes = POOL) -> GatewayPlan:
    """One pool with a replica per address, numbered from 1."""
    servers = tuple(Server(ReplicaId(f"{pool.pool}-{i:03}"), address) for i, address in enumerate(addresses, 1))
    return GatewayPlan((PoolRoutes(pool.pool, pool.model, servers),))


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody has now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def ports() -> PortSettings:
    """Free ports for everything."""
    taken: list[int] = []
    while len(taken) < 5:
        port = free_port()
        if port not in taken:
            taken.append(port)
    log = free_port(socket.SOCK_DGRAM)
    while log in taken:
        log = free_port(socket.SOCK_DGRAM)
    return PortSettings(
        gateway=taken[0], gateway_status=taken[1], controller=taken[2], prometheus=taken[3], edge=taken[4], edge_log=log
    )


@dataclass
class RunningNginx:
    """nginx, and a gateway adapter on a clock that the test moves."""

    parts: NginxParts
    clock: FakeClock
    pools: Sequence[PoolRoutes] = (POOL,)
    gateway: NginxGateway = field(init=False)
    _running: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        prepare(self.parts, self.pools)
        self.start()
        self.gateway = NginxGateway(self.parts)

    def start(self) -> None:
        """Start it as a supervisor does, and wait until it answers."""
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(command(self.parts), stderr=log)
        wait_for(lambda: self.parts.process().generation(), 10, "nginx answers")
        wait_for(self.workers, 10, "nginx has workers")

    def kill(self, *, orphans_too: bool = True) -> None:
        """SIGKILL, to the master and its workers, or to the master alone."""
        assert self._running is not None
        workers = self.workers() if orphans_too else frozenset()
        self._running.kill()
        self._running.wait()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(psutil.pid_exists(pid) for pid in workers), 10, "the workers are gone")

    def stop(self) -> None:
        """End it and every worker that it left. Idempotent."""
        if self._running is not None and self._running.poll() is None:
            self._running.terminate()
            self._running.wait(10)
        for process in psutil.process_iter():
            try:
                if process.name().startswith("nginx") and process.cwd() == str(self.parts.folder):
                    process.kill()
            except psutil.Error:
                continue

    @property
    def pid(self) -> int:
        """Of the master."""
        assert self._running is not None
        return self._running.pid

    def workers(self) -> frozenset[int]:
        """Pids of all workers, those that shut down too."""
        try:
            children = psutil.Process(self.pid).children()
            return frozenset(child.pid for child in children if "worker process" in _title(child))
        except psutil.NoSuchProcess:
            return frozenset()

    def settled(self) -> frozenset[int]:
        """The workers, once those of the configuration before are gone."""
        count = self.parts.config().workers
        wait_for(lambda: len(self.workers()) == count, 10, "the old workers are gone")
        return self.workers()

    def apply(self, wanted: GatewayPlan) -> None:
        """Apply it after any coalescing is over."""
        self.clock.advance(60)
        state = self.gateway.apply(wanted)
        assert state.applied == wanted
        assert state.retry_at is None

    def connect(self, timeout_s: float = 20) -> http.client.HTTPConnection:
        """A client of its own connection."""
        return http.client.HTTPConnection("127.0.0.1", self.parts.ports.gateway, timeout=timeout_s)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
        """One request: status, headers, body."""
        connection = self.connect()
        try:
            connection.request(method, path, body, {"Connection": "close"})
            with connection.getresponse() as answer:
                return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def post(self, body: bytes = b'{"model":"smollm2"}') -> tuple[int, dict[str, str], bytes]:
        """One chat completion."""
        return self.ask("POST", "/v1/chat/completions", body)

    def in_flight(self) -> dict[str, int]:
        """What the status server says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.parts.ports.gateway_status, timeout=10)
        try:
            connection.request("GET", "/in_flight")
            with connection.getresponse() as answer:
                said: Any = json.loads(answer.read())
            return dict(said["pools"])
        finally:
            connection.close()

    def error_log(self) -> str:
        """The whole of it."""
        return self._log.read_text()

    @property
    def _log(self) -> Path:
        return self.parts.logs / "nginx.log"


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


# One client would otherwise be one user, and a user has one replica.
SPREAD = Rules({name: PoolRules(routing="least_connections") for name in ("smollm2", "other")})


def parts_in(folder: Path, clock: FakeClock, rules: Rules = SPREAD, **settings: object) -> NginxParts:
    """Parts with a folder, ports and limits of their own; `settings` replace those of the gateway."""
    quick = {"connect_timeout": timedelta(milliseconds=300), "queue_timeout": timedelta(milliseconds=200)}
    gateway = GatewaySettings.model_validate({**quick, **settings})
    return NginxParts(folder / "gateway", folder / "logs", gateway, ports(), clock, rules)
