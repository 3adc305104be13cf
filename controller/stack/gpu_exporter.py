"""This machine's GPU exporter, as the supervisor keeps it up, and those of all nodes, as Prometheus scrapes them."""

from __future__ import annotations

import sys

from controller.installation import LOCAL, Installation, Layout
from controller.settings import Settings
from controller.stack import engine
from controller.stack.supervisor import Program

_UNIX = "unix://"
_LEAST_S, _USUAL_S = 0.01, 0.5


def program(settings: Settings, layout: Layout, *, own_engine: bool) -> Program:
    """The process; it asks the Docker engines of this machine whose containers use a GPU."""
    where = ("--host", settings.controller.monitoring_host, "--port", str(settings.ports.gpu))
    # Prometheus waits for as long as it scrapes often: a GPU that hangs must not take the others' values from it.
    deadline_s = max(_LEAST_S, min(_USUAL_S, settings.controller.scrape_interval.total_seconds() / 2))
    more = ("--deadline", f"{deadline_s:g}", *_sockets(settings, layout, own_engine))
    return Program("gpu", (sys.executable, "-m", "exporters.gpu", *where, *more), layout.root)


def targets(settings: Settings, installation: Installation) -> dict[str, str]:
    """Every node's exporter, `HOST:PORT` by the node's name: this machine's, and those that the configuration names."""
    named = {node.name: node.gpu_exporter for node in installation.engines if node.gpu_exporter}
    here = [node.name for node in installation.engines if node.docker_host.startswith(_UNIX) and node.name not in named]
    own = f"{settings.controller.monitoring_reach}:{settings.ports.gpu}"
    return {here[0] if here else LOCAL: own} | named


def _sockets(settings: Settings, layout: Layout, own_engine: bool) -> list[str]:
    """None: it finds the usual one."""
    hosts = [engine.own_host(layout)] if own_engine else [node.docker for node in settings.nodes]
    paths = [host.removeprefix(_UNIX) for host in hosts if host.startswith(_UNIX)]
    return [word for path in paths for word in ("--docker", path)]
