"""The launcher's own HTTP port: /status and /metrics. Never waits for the engine."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import ClassVar

CLIENT_TIMEOUT_S = 5.0

Routes = Mapping[str, tuple[str, Callable[[], bytes]]]
"""Path -> content type and the function that gives the body."""


class StatusServer:
    """Serves `routes` from threads of its own until `close`. Raises `OSError` when the port cannot be had."""

    def __init__(self, host: str, port: int, routes: Routes, *, client_timeout_s: float = CLIENT_TIMEOUT_S) -> None:
        handler = type("Handler", (_Handler,), {"routes": routes, "timeout": client_timeout_s})
        self._server = _Server((host, port), handler)
        self._closing = threading.Event()
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._accept, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more requests. Does not wait for those that run."""
        self._closing.set()
        self._server.socket.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._thread.join()
        self._server.server_close()

    def _accept(self) -> None:
        # serve_forever() wakes up again and again to look whether to end, and close() waits for its next look.
        while not self._closing.is_set():
            try:
                request, client = self._server.get_request()
            except OSError:
                self._closing.wait(0.1)  # out of descriptors, say: no busy loop
            else:
                self._server.process_request(request, client)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self) -> None:
        # HTTPServer's own asks DNS for the host's name, which can take seconds in a container.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    routes: ClassVar[Routes] = {}
    server_version = "stoker-launcher"
    sys_version = ""

    def do_GET(self) -> None:
        route = self.routes.get(self.path.partition("?")[0])
        if route is None:
            self.send_error(HTTPStatus.NOT_FOUND, f"no such path; there are {' and '.join(self.routes)}")
            return
        content_type, body = route
        self._answer(HTTPStatus.OK, content_type, body())

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Errors are JSON. A method other than GET, for which the base class says 501, is 405."""
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        text = "only GET is allowed" if status is HTTPStatus.METHOD_NOT_ALLOWED else message or status.phrase
        self._answer(status, "application/json", json.dumps({"error": text}).encode())

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """No access log: probes come every second."""
