"""The page for Prometheus. Who asks while one is made gets the same one."""

from __future__ import annotations

import http
import http.server
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from exporters.gpu.monitor import Monitor, MonitorOptions
from exporters.gpu.text import CONTENT_TYPE

_IDLE_S = 60.0  # a connection on which nothing comes is closed
_PATH = "/metrics"


class PortInUse(Exception):
    """The text is one sentence for the person who started it."""


@dataclass(frozen=True, slots=True)
class GpuOptions:
    """Where the exporter listens, and what it looks at."""

    host: str
    port: int
    monitor: MonitorOptions


class Shared:
    """Makes one page at a time, for all who want one then."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._coming: Future[bytes] | None = None

    def page(self) -> bytes:
        """A page that was begun at the earliest when the one before it was done. Raises what making it raises."""
        with self._lock:
            coming, first = self._coming, self._coming is None
            if coming is None:
                coming = self._coming = Future()
        if first:
            try:
                coming.set_result(self._make())
            except BaseException as error:
                coming.set_exception(error)
                raise
            finally:
                with self._lock:
                    self._coming = None
        return coming.result()


class GpuExporter:
    """Runs in background threads, from its construction until `close`."""

    def __init__(self, options: GpuOptions, say: Callable[[str], None]) -> None:
        """Bind the port. Raises `PortInUse`; nothing runs then."""
        try:
            self._server = _Server(options.host, options.port)
        except OSError as error:
            place = f"{options.host} port {options.port}"
            advice = "choose another one with --port, or in stoker.yaml under ports"
            raise PortInUse(f"gpu exporter: cannot listen on {place}: {error.strerror}; {advice}") from error
        self._monitor = Monitor(options.monitor, say)
        self._server.page = Shared(self._monitor.collect).page
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The one that it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Free the port. Does not wait for a GPU that hangs. Blocks for at most about 1 s."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._monitor.close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    page: Callable[[], bytes]

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Without the base class's question for the machine's name, which asks the network."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # Prometheus keeps its connection
    timeout = _IDLE_S
    wbufsize = -1  # head and body in one packet: the second one of two would wait for an answer to the first
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """The page, wherever it is sought."""
        if self.path.partition("?")[0] not in (_PATH, "/"):
            self.send_error(http.HTTPStatus.NOT_FOUND)
            return
        page = self.server.page()
        self.send_response(http.HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Nothing: a line for each scrape tells nobody anything."""
