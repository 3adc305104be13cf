"""`python -m exporters.gpu`: runs until SIGTERM or SIGINT, then exits 0. Exits 2 where the port is in use."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from exporters.gpu.monitor import MonitorOptions
from exporters.gpu.serve import GpuExporter, GpuOptions, PortInUse

_UNIX = "unix://"
_DOCKER = "/var/run/docker.sock"


def main(arguments: list[str]) -> int:
    """Serve until told to stop; gives the exit code."""
    options = _options(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        exporter = GpuExporter(options, _say)
    except PortInUse as error:
        sys.stderr.write(f"{error}\n")
        return 2
    stop.wait()
    exporter.close()
    return 0


def _say(sentence: str) -> None:
    sys.stderr.write(f"gpu exporter: {sentence}\n")
    sys.stderr.flush()


def _options(arguments: list[str]) -> GpuOptions:
    parser = argparse.ArgumentParser(prog="exporters.gpu", description="GPUs and their machine as Prometheus metrics")
    parser.add_argument("--host", default="127.0.0.1", help="address of the metrics")
    parser.add_argument("--port", type=_port, default=9400, help="TCP port of the metrics")
    parser.add_argument("--node", default=socket.gethostname(), help="the label Hostname; this machine's name")
    parser.add_argument(
        "--docker", action="append", type=Path, help=f"socket of a Docker engine, repeatable; {_DOCKER}"
    )
    parser.add_argument("--proc", type=Path, default=Path("/proc"), help="the machine's /proc")
    parser.add_argument("--deadline", type=_seconds, default=0.5, help="seconds that a scrape waits for the GPUs")
    given = parser.parse_args(arguments)
    monitor = MonitorOptions(given.node, tuple(given.docker or (_engine(),)), given.proc, given.deadline)
    return GpuOptions(given.host, given.port, monitor)


def _engine() -> Path:
    """The engine that this machine's other programs use."""
    named = os.environ.get("DOCKER_HOST", "")
    return Path(named.removeprefix(_UNIX) if named.startswith(_UNIX) else _DOCKER)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return port


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.01 <= seconds <= 60:
        raise argparse.ArgumentTypeError(f"{text} is no deadline; give 0.01 to 60 seconds")
    return seconds


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # a call that hangs, or the driver's library as it is taken down, must not keep the process
