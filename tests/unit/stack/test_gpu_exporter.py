"""The GPU exporter's process, the command that runs it elsewhere, and whom Prometheus scrapes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.cli import app
from controller.installation import LOCAL, Installation, Layout
from controller.settings import Settings, parse
from controller.stack import gpu_exporter
from controller.stack.preparing import nodes_of
from exporters.gpu.__main__ import _options

POOL = "pools: [{name: small, model: small, checkpoint: small.gguf}]\n"
HERE, THERE = "{name: here, docker: 'unix:///run/a.sock'}", "{name: there, docker: 'tcp://10.0.0.2:1', insecure: true}"
TOLD = THERE.replace("true", "true, gpu_exporter: '10.0.0.2:9400'")
OWN = "127.0.0.1:9400"


def read(*nodes: str, more: str = "") -> Settings:
    return parse(POOL + (f"nodes: [{', '.join(nodes)}]\n" if nodes else "") + more, "c.yaml")


@pytest.mark.parametrize(
    ("nodes", "targets"),
    [
        ((), {LOCAL: OWN}),
        ((HERE,), {"here": OWN}),
        ((THERE,), {LOCAL: OWN}),
        ((TOLD,), {LOCAL: OWN, "there": "10.0.0.2:9400"}),
        ((TOLD, HERE), {"here": OWN, "there": "10.0.0.2:9400"}),
        # Another exporter than ours tells of this machine's GPUs: DCGM's own, say.
        ((HERE.replace("}", ", gpu_exporter: 'here:9500'}"),), {LOCAL: OWN, "here": "here:9500"}),
    ],
)
def test_every_node_by_its_name(nodes: tuple[str, ...], targets: dict[str, str]) -> None:
    settings = read(*nodes)
    installation = Installation(runtime="docker", docker_host="unix:///x", nodes=nodes_of(settings), pools={})

    assert gpu_exporter.targets(settings, installation) == targets


def test_replicas_that_are_local_processes_are_on_this_machine() -> None:
    settings = read(more="ports: {gpu: 9500}\ncontroller: {monitoring_host: '::'}\n")

    assert gpu_exporter.targets(settings, Installation(runtime="process", pools={})) == {LOCAL: "[::1]:9500"}


@pytest.mark.parametrize(
    ("nodes", "own_engine", "sockets"),
    [((), False, ()), ((), True, ("/srv/s/docker/docker.sock",)), ((HERE, THERE), False, ("/run/a.sock",))],
)
def test_the_process(nodes: tuple[str, ...], own_engine: bool, sockets: tuple[str, ...]) -> None:
    program = gpu_exporter.program(
        read(*nodes, more="ports: {gpu: 9500}\n"), Layout(Path("/srv/s")), own_engine=own_engine
    )

    assert (program.name, *program.command[:3]) == ("gpu", sys.executable, "-m", "exporters.gpu")
    understood = _options(list(program.command[3:]))
    assert (understood.host, understood.port, understood.monitor.deadline_s) == ("127.0.0.1", 9500, 0.5)
    assert understood.monitor.docker == tuple(map(Path, sockets)) or not sockets


@pytest.mark.parametrize(("interval", "deadline_s"), [("5s", 0.5), ("500ms", 0.25), ("1ms", 0.01)])
def test_a_gpu_that_hangs_leaves_prometheus_the_others(interval: str, deadline_s: float) -> None:
    settings = read(more=f"controller: {{scrape_interval: {interval}}}\n")
    program = gpu_exporter.program(settings, Layout(Path("/srv/s")), own_engine=False)

    assert _options(list(program.command[3:])).monitor.deadline_s == deadline_s


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ((), ("127.0.0.1", 9400, "/proc")),
        (("--host", "10.0.0.2", "--port", "9500", "--node", "gpu-2", "--deadline", "0.1"), ("10.0.0.2", 9500, "/proc")),
        (("--docker", "/run/d.sock", "--proc", "/host/proc"), ("127.0.0.1", 9400, "/host/proc")),
    ],
)
def test_the_command_becomes_the_exporter(
    given: tuple[str, ...], understood: tuple[str, int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda path, command, environment: ran.append(command))

    done = CliRunner().invoke(app, ["exporter", "gpu", *given])

    assert done.exit_code == 0, done.output
    assert ran[0][:3] == [sys.executable, "-m", "exporters.gpu"]
    options = _options(ran[0][3:])
    assert (options.host, options.port, str(options.monitor.proc)) == understood
    if "--node" in given:
        assert options.monitor.node == "gpu-2"
    if "--deadline" in given:
        assert options.monitor.deadline_s == 0.1
    if "--docker" in given:
        assert options.monitor.docker == (Path("/run/d.sock"),)


@pytest.mark.parametrize("docker_host", ["unix:///run/other.sock", "tcp://10.0.0.1:2375", ""])
def test_the_engine_that_docker_host_names(docker_host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_host)

    usual, other = Path("/var/run/docker.sock"), Path("/run/other.sock")
    assert _options([]).monitor.docker == (other if docker_host.startswith("unix") else usual,)
