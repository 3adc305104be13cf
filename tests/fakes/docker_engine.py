"""As much of a Docker engine as a controller asks for, over a Unix socket; it answers as it is told."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

_VERSION = re.compile(r"^/v1\.\d+")


@dataclass
class FakeEngine:
    """`answers`: method and path (without the version) -> status and body. `asked` is in the same words."""

    url: str
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    containers: list[dict[str, Any]] = field(default_factory=list)
    bodies: dict[str, list[bytes]] = field(default_factory=dict)  # that came with each question
    api_version: str = "1.41"

    def answer(self, question: str) -> tuple[int, Any]:
        usual = {
            "GET /version": (200, {"ApiVersion": self.api_version}),
            "GET /containers/json": (200, self.containers),
            "GET /info": (200, {"SecurityOptions": [], "OperatingSystem": "Debian"}),
        }
        return {**usual, **self.answers}.get(question, (404, {"message": f"no {question}"}))


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


@contextlib.contextmanager
def fake_engine(folder: Path) -> Iterator[FakeEngine]:
    """One that listens in `folder`, for the length of the body."""
    told = FakeEngine(f"unix://{folder}/e.sock")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _say(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            question = f"{self.command} {_VERSION.sub('', self.path.partition('?')[0])}"
            told.bodies.setdefault(question, []).append(body)
            told.asked.append(question)
            status, said = told.answer(question)
            answer = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_DELETE = _say

        def address_string(self) -> str:
            return "somebody"

        def log_message(self, *_: object) -> None:
            pass

    server = _Server(f"{folder}/e.sock", Handler)
    threading.Thread(target=server.serve_forever, name="fake-engine", daemon=True).start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
