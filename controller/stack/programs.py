"""What the supervisor keeps up, in the order in which it is started."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from controller.installation import Layout, for_programs
from controller.settings import Settings, load
from controller.stack import alertmanager, engine, gateway, gpu_exporter, hot_cache, prometheus
from controller.stack.leftovers import MARK
from controller.stack.supervisor import Program
from controller.stack.trouble import Trouble

# The controller goes first when everything is stopped: while it lives it heals what is being taken away.
STOP_ORDER = ("controller", "nginx", "hotcache", "prometheus", "alertmanager", "edge", "gpu", "dockerd")


def programs(settings: Settings, layout: Layout, *, own_engine: bool) -> tuple[Program, ...]:
    """Every process of this installation but the replicas. Raises `Trouble` where a program is not installed."""
    first = (engine.own_program(layout),) if own_engine else ()
    return (
        *first,
        gateway.program(settings, layout),
        *hot_cache.programs(settings, layout),
        prometheus.program(settings, layout),
        *alertmanager.programs(settings, layout),
        _edge(settings, layout),
        gpu_exporter.program(settings, layout, own_engine=own_engine),
        _controller(layout),
    )


def environment(layout: Layout, inherited: Mapping[str, str]) -> dict[str, str]:
    """What every process of this installation has in its environment."""
    paths = inherited.get("PATH", os.defpath).split(os.pathsep)
    paths += [path for path in ("/usr/sbin", "/sbin") if path not in paths]  # dockerd calls iptables
    return {
        **for_programs(inherited),
        MARK: str(layout.root),
        "STOKER_STATE_DIR": str(layout.root),
        "PATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        # Else `python -m` looks into the working directory first, and the state directory has a folder `gateway`.
        "PYTHONSAFEPATH": "1",
    }


def _edge(settings: Settings, layout: Layout) -> Program:
    ports = settings.ports
    command = (
        *(sys.executable, "-m", "exporters.edge", "--host", settings.controller.monitoring_host),
        *("--port", str(ports.edge), "--log-port", str(ports.edge_log)),
        *("--gateway-status", f"http://127.0.0.1:{ports.gateway_status}"),
    )
    return Program("edge", command, layout.root)


def _controller(layout: Layout) -> Program:
    return Program("controller", controller_command(layout), layout.root, stop_wait_s=15)


def controller_command(layout: Layout, *more: str) -> tuple[str, ...]:
    """What runs a controller of this installation."""
    return (sys.executable, "-m", "controller.main", "--state-dir", str(layout.root), *more)


def become_controller(layout: Layout, *, standby: bool, port: int | None) -> None:
    """Turn this process into a controller in the foreground. It belongs to the installation: `down` ends it, too.

    Raises:
        Trouble: nothing is installed there, or a standby has no port of its own.
    """
    if not (layout.installation.exists() and layout.config.exists()):
        raise Trouble(f"nothing is installed in {layout.root}; run `stoker up` first")
    taken = {number: name for name, number in load(layout.config).ports}
    if standby and port is None:
        raise Trouble("a controller that stands by needs a port of its own for its API; give it with --port")
    if port in taken:
        raise Trouble(f"port {port} is ports.{taken[port]} of this installation; give --port another one")
    more = () if port is None else ("--port", str(port))
    os.execve(sys.executable, controller_command(layout, *more), environment(layout, os.environ))
