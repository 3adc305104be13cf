"""The edge exporter: a datagram socket for nginx's access log, and a page for Prometheus."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from exporters.edge.collect import EdgeStats
from exporters.edge.families import families
from exporters.edge.lines import InFlight, in_flight

FORGET_AFTER_S = 900.0  # a replica that is gone leaves no series behind for ever
FORGET_KEYS_AFTER_S = 3600.0
_LOOPBACK = "127.0.0.1"
ASK_TIMEOUT_S = 0.5
RECEIVE_BUFFER_BYTES = 32 * 1024 * 1024  # a second and more of lines at 20,000 per second
_SO_RCVBUFFORCE = 33  # Linux; Python has no name for it


class PortInUse(Exception):
    """The text is one sentence for the person who started it."""


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """Where the exporter listens and whom it asks."""

    host: str  # of the metrics
    port: int
    log_port: int
    gateway_status: str  # http://host:port


class EdgeExporter:
    """Runs in two background threads, from its construction until `close`."""

    def __init__(self, options: EdgeOptions) -> None:
        """Bind both ports.

        Raises:
            PortInUse: one of them is taken; nothing is left open.
        """
        self._stats = EdgeStats()
        self._lock = threading.Lock()
        self._closing = False
        self._socket = _bind(options.log_port)
        try:
            registry = CollectorRegistry()
            registry.register(_Page(self._stats, self._lock, self._socket, options.gateway_status))
            self._server, self._server_thread = start_http_server(options.port, options.host, registry)
        except OSError as error:
            self._socket.close()
            raise PortInUse(_sentence(options.host, options.port, "TCP", error)) from error
        self._receiver = threading.Thread(target=self._receive, name="access-log", daemon=True)
        self._receiver.start()

    def close(self) -> None:
        """Stop both threads and free both ports. Blocks for at most about 1 s."""
        self._closing = True
        self._server.shutdown()
        self._server.server_close()
        self._server_thread.join()
        self._receiver.join()
        self._socket.close()

    def _receive(self) -> None:
        """Takes about 10 us a line, so that bursts wait in the kernel's buffer and not in ours."""
        receive, take, lock = self._socket.recv, self._stats.take, self._lock
        clock, wall = time.monotonic, time.time
        while not self._closing:
            try:
                datagram = receive(4096)
            except BlockingIOError:  # SO_RCVTIMEO has passed
                continue
            with lock:
                take(datagram, clock(), wall())


class _Page(Collector):
    """What one scrape sees."""

    def __init__(self, stats: EdgeStats, lock: threading.Lock, log: socket.socket, gateway_status: str) -> None:
        self._stats = stats
        self._lock = lock
        self._log = log
        self._gateway = urlsplit(gateway_status)

    def describe(self) -> list[Metric]:
        """Nothing, so that registering it asks nobody."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Blocks for at most 0.5 s, when nginx does not answer."""
        yield from self._in_flight()
        yield from self._lost()
        with self._lock:  # held for about 40 us per replica, and 15 us per key
            now = time.monotonic()
            self._stats.forget(now - FORGET_AFTER_S)
            self._stats.usage.forget(FORGET_KEYS_AFTER_S)
            told = families(self._stats, now)
        yield from told

    def _in_flight(self) -> Iterator[Metric]:
        """Absent when nginx does not answer: unknown is not zero."""
        found = _ask(self._gateway.hostname or "127.0.0.1", self._gateway.port or 80)
        if found is None:
            return
        text = "Requests accepted by the gateway and not yet finished."
        yield _gauge("stoker_edge_requests_in_flight", text, "pool", found.pools)
        if found.waiting is not None:
            text = "Those of them that wait for room in the pool, or for a replica."
            yield _gauge("stoker_edge_requests_waiting", text, "pool", found.waiting)
        if found.plans is not None:
            with self._lock:
                plans = self._stats.usage.in_flight(found.plans)
            yield _gauge("stoker_edge_plan_requests_in_flight", "The same by the plan of their keys.", "plan", plans)

    def _lost(self) -> Iterator[Metric]:
        """Absent where the kernel does not tell."""
        drops = kernel_drops(self._log)
        if drops is not None:
            text = "Access-log lines that the kernel dropped because the exporter's receive buffer was full."
            yield CounterMetricFamily("stoker_edge_log_lines_lost", text, value=drops)


def _gauge(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for value, count in sorted(counts.items()):
        family.add_metric((value,), count)
    return family


def kernel_drops(sock: socket.socket) -> int | None:
    """How many datagrams the kernel dropped for this socket; None where /proc does not tell."""
    inode = str(os.fstat(sock.fileno()).st_ino)
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[9] == inode:
                    return int(columns[12])
    return None


def _ask(host: str, port: int) -> InFlight | None:
    connection = http.client.HTTPConnection(host, port, timeout=ASK_TIMEOUT_S)
    try:
        connection.request("GET", "/in_flight", headers={"Connection": "close"})
        with connection.getresponse() as answer:
            return in_flight(answer.read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _bind(port: int) -> socket.socket:
    """The log comes from this machine; on another address anybody could write it."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        except OSError:  # needs CAP_NET_ADMIN; without it the kernel's rmem_max is the limit
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        # Not settimeout: that costs a second system call per line.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 250_000))
        sock.bind((_LOOPBACK, port))
    except OSError as error:
        sock.close()
        raise PortInUse(_sentence(_LOOPBACK, port, "UDP", error)) from error
    return sock


def _sentence(host: str, port: int, kind: str, error: OSError) -> str:
    place = f"{host} port {port} ({kind})"
    return f"edge exporter: cannot listen on {place}: {error.strerror}; choose another under ports in stoker.yaml"
