"""Docker engines for tests that need none: they answer over a socket file as far as images and a list of containers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

INSTANCE = "0123456789ab"


class FakeEngine:
    """What one engine holds: containers by name, images by tag."""

    def __init__(self, path: Path) -> None:
        self.host = f"unix://{path}"
        self.containers: dict[str, dict[str, Any]] = {}
        self.refuses: set[str] = set()  # names of containers that it does not remove

    def add(self, replica: str, instance: str = INSTANCE) -> None:
        """A replica that runs."""
        name = f"stoker-{instance}-{replica}"
        labels = {"stoker.instance": instance, "stoker.replica": replica, "stoker.pool": replica.rpartition("-")[0]}
        said = {"Id": name, "Names": [f"/{name}"], "Labels": labels, "State": "running", "Status": "Up", "Created": 1}
        self.containers[name] = said

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        """Status and body; the API's version is no part of `path`."""
        route, _, query = path.partition("?")
        name = route.removeprefix("/containers/").removesuffix("/json")
        if route == "/_ping":
            return 200, "OK"
        if route in ("/version", "/info"):
            return 200, {"ApiVersion": "1.41", "MinAPIVersion": "1.12"}
        if route == "/containers/json":
            return 200, [said for said in self.containers.values() if said["Labels"]["stoker.instance"] in query]
        if name not in self.containers:
            return 404, {"message": f"No such container: {name}"}
        if method == "DELETE" and name not in self.refuses:
            del self.containers[name]
            return 204, None
        return (500, {"message": "driver failed"}) if method == "DELETE" else (200, self.containers[name])


@contextmanager
def serving(path: Path) -> Iterator[FakeEngine]:
    """One that answers for the length of the body."""
    engine = FakeEngine(path)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, _, rest = self.path.removeprefix("/").partition("/") if self.path.startswith("/v1.") else ("", "", "")
            status, body = engine.answer(self.command, f"/{rest}" if rest else self.path)
            text = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            with suppress(BrokenPipeError):  # whoever only wanted to know whether it answers is gone by now
                self.end_headers()
                self.wfile.write(text)

        do_DELETE = do_GET  # noqa: N815

        def address_string(self) -> str:
            return "socket"

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the test's output is not the place."""

    with ThreadingUnixStreamServer(str(path), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield engine
        finally:
            server.shutdown()
            thread.join()
