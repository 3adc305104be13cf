"""`python -m exporters.edge`: runs until SIGTERM or SIGINT, then exits 0. Exits 2 where a port is in use."""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from exporters.edge.serve import EdgeExporter, EdgeOptions, PortInUse


def main(arguments: list[str]) -> int:
    """Serve until told to stop; gives the exit code."""
    options = _options(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        exporter = EdgeExporter(options)
    except PortInUse as error:
        sys.stderr.write(f"{error}\n")
        return 2
    stop.wait()
    exporter.close()
    return 0


def _options(arguments: list[str]) -> EdgeOptions:
    parser = argparse.ArgumentParser(prog="exporters.edge", description="nginx's access log as Prometheus metrics")
    parser.add_argument("--host", default="127.0.0.1", help="address of the metrics; the log is taken on loopback only")
    parser.add_argument("--port", type=int, default=9401, help="TCP port of the metrics")
    parser.add_argument("--log-port", type=int, default=9402, help="UDP port that nginx logs to")
    parser.add_argument("--gateway-status", default="http://127.0.0.1:8081", help="where nginx tells what is in flight")
    given = parser.parse_args(arguments)
    return EdgeOptions(given.host, given.port, given.log_port, given.gateway_status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
