"""Somebody who takes alerts over HTTP on the loopback, and does with them what a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WebhookReceiver:
    """Answers each message with the `code` of when it came, once `open` is set. `messages` are those it said 2xx to."""

    def __init__(self) -> None:
        self.code = 200
        self.location: str | None = None
        self.endless = False
        self.open = threading.Event()
        self.open.set()
        self.asked = 0
        self.messages: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self._ended = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self.port = self._listen(0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/alerts"

    def alerts(self) -> list[tuple[str, str]]:
        """Name and status of all that was taken, in order."""
        return [(alert["labels"]["alertname"], alert["status"]) for body in self.messages for alert in body["alerts"]]

    def refuse(self) -> None:
        """Nobody listens there any more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def listen(self) -> None:
        """Again, at the same place."""
        self._listen(self.port)

    def close(self) -> None:
        self._ended.set()
        self.open.set()
        self.refuse()

    def _listen(self, port: int) -> int:
        self._server = server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return int(server.server_address[1])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                code = told.code
                told.asked += 1
                told.open.wait(60)
                try:
                    self._answer(body, code)
                except OSError:  # whoever asked has gone
                    self.close_connection = True

            def _answer(self, body: dict[str, Any], code: int) -> None:
                self.send_response(code)
                if told.location is not None:
                    self.send_header("Location", told.location)
                if not told.endless:
                    self.send_header("Content-Length", "0")
                if 200 <= code < 300:
                    told.messages.append(body)
                    told.headers.append(dict(self.headers.items()))
                self.end_headers()
                while told.endless and not told._ended.wait(0.01):
                    self.wfile.write(b"x" * 1024)
                    self.wfile.flush()

            def log_message(self, *_: object) -> None:
                pass

        return Handler
