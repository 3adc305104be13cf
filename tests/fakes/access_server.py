"""nginx's control socket as the contract has it, and no more lenient: keys, blocks, full loads and differences."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any

_MOST_BYTES = 4_000_000
_VERSION = re.compile(r"[0-9a-f]{16}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_RECORD = re.compile(
    r"key_[0-9a-f]{12} (-|[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?) (0|[1-9][0-9]{0,10}) "
    r"(\*|[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}(,[A-Za-z0-9][A-Za-z0-9._:/-]{0,127})*)"
)
_KEY_ID = re.compile(r"key_[0-9a-f]{12}")
_BLOCK = re.compile(r"[1-9][0-9]{0,10} (minute|day)")


class Refused(Exception):
    """A body that the contract does not allow."""


@dataclass
class Known:
    """What a running nginx has in its two dictionaries."""

    keys: dict[str, str] = field(default_factory=dict)
    version: str = ""
    blocks: dict[str, str] = field(default_factory=dict)
    blocks_version: str = ""
    loading: str | None = None  # the version of a full load that has begun
    loaded: set[str] = field(default_factory=set)  # its digests so far


class AccessServer:
    """Listens in `folder/control` from the beginning. `restart` forgets all, as another nginx has."""

    def __init__(self, folder: Path) -> None:
        self.known = Known()
        self.asked: list[str] = []  # "GET /access" and so on
        self.answers: dict[str, int] = {}  # a status instead of the answer, by "METHOD /path"
        self.silent = False
        self._released = threading.Event()
        control = folder / "control"
        control.mkdir(mode=0o700, exist_ok=True)
        self._path = control / "control.sock"
        self._begin()

    def __enter__(self) -> AccessServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._released.set()
        self.stop()

    def stop(self) -> None:
        """Nobody listens any more."""
        if self._path.exists():
            self._server.shutdown()
            self._server.server_close()
            self._path.unlink()

    def restart(self) -> None:
        """Another nginx, which has been told nothing."""
        self.stop()
        self.known = Known()
        self._begin()

    def wait(self) -> None:
        """For as long as it is silent."""
        if self.silent:
            self._released.wait(30)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, dict[str, str]]:
        """Status and body."""
        known = self.known
        match method, path:
            case "GET", "/access":
                return 200, {"version": known.version, "blocks": known.blocks_version}
            case "POST", "/keys":
                return self._keys(body)
            case "POST", "/blocks":
                _require(set(body) == {"version", "blocks"}, "the fields of blocks")
                _require(_VERSION.fullmatch(body["version"]), "a version")
                for key, text in body["blocks"].items():
                    _require(_KEY_ID.fullmatch(key) and _BLOCK.fullmatch(text), f"the block {key}: {text}")
                known.blocks, known.blocks_version = dict(body["blocks"]), body["version"]
                return 200, {"version": known.blocks_version}
        return 404, {}

    def _keys(self, body: Any) -> tuple[int, dict[str, str]]:
        _require(set(body) == {"base", "version", "set", "delete", "last"}, "the fields of keys")
        _require(_VERSION.fullmatch(body["version"]), "a version")
        _require(isinstance(body["last"], bool), "last")
        for digest, record in body["set"].items():
            _require(_DIGEST.fullmatch(digest) and _RECORD.fullmatch(record), f"the record {record}")
        _require(all(_DIGEST.fullmatch(digest) for digest in body["delete"]), "delete")
        return self._load(body) if body["base"] is None else self._change(body)

    def _load(self, body: Any) -> tuple[int, dict[str, str]]:
        known, version = self.known, body["version"]
        _require(not body["delete"], "a full load deletes nothing by name")
        if known.loading != version:
            known.loading, known.loaded, known.version = version, set(), ""
        known.keys |= body["set"]
        known.loaded |= set(body["set"])
        if body["last"]:
            known.keys = {digest: record for digest, record in known.keys.items() if digest in known.loaded}
            known.version, known.loading = version, None
        return 200, {"version": version}

    def _change(self, body: Any) -> tuple[int, dict[str, str]]:
        known = self.known
        _require(_VERSION.fullmatch(body["base"]), "a base")
        _require(body["last"], "a difference is one body")
        if body["base"] != known.version:
            return 409, {"version": known.version}
        known.keys |= body["set"]
        for digest in body["delete"]:
            _require(digest in known.keys, "what is deleted is there")
            del known.keys[digest]
        known.version = body["version"]
        return 200, {"version": known.version}

    def _begin(self) -> None:
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def path(self) -> Path:
        """Of the socket."""
        return self._path


def _require(true: object, what: str) -> None:
    if not true:
        raise Refused(what)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, nginx: AccessServer) -> None:
        self.nginx = nginx
        super().__init__(str(nginx.path), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        self._answer(body)

    def _answer(self, body: bytes | None) -> None:
        server = self.server
        assert isinstance(server, _Server)
        nginx, asked = server.nginx, f"{self.command} {self.path}"
        nginx.asked.append(asked)
        nginx.wait()
        if asked in nginx.answers:
            return self._send(nginx.answers[asked], {})
        if body is not None and len(body) > _MOST_BYTES:
            return self._send(413, {})
        try:
            status, content = nginx.answer(self.command, self.path, None if body is None else json.loads(body))
        except (Refused, ValueError, LookupError, TypeError, AttributeError) as error:
            return self._send(400, {"error": str(error)})
        return self._send(status, content)

    def _send(self, status: int, content: dict[str, str]) -> None:
        encoded = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        """Nothing."""
