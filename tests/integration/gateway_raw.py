"""Bytes to a gateway as they are, and what comes back: what no client would send, and what no client forgives."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import struct
from dataclasses import dataclass
from types import TracebackType

from tests.fakes.running_nginx import RunningNginx

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z0-9 -]*")
_FIELD = re.compile(rb"([A-Za-z0-9-]+): ?([\x20-\x7e]*)")
_CHUNK = re.compile(rb"[0-9a-fA-F]{1,8}")
_BODILESS = (204, 304)


class Malformed(AssertionError):
    """What came is no HTTP."""


@dataclass(frozen=True)
class Said:
    """One answer."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def code(self) -> str:
        """Of the OpenAI error object that it is."""
        assert self.headers["content-type"] == "application/json", self
        error = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}, self
        assert isinstance(error["message"], str), self
        assert error["message"], self
        return str(error["code"])


class Wire:
    """One connection."""

    def __init__(self, nginx: RunningNginx, timeout_s: float = 20, tls: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", nginx.parts.ports.gateway), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self._read = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """All of it, unless the other side has closed: what it said before that can still be read."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def ask(self, data: bytes, *, head: bool = False) -> Said | None:
        """Send, and read one answer."""
        self.send(data)
        return self.answer(head=head)

    def answer(self, *, head: bool = False) -> Said | None:
        """The next answer; None where the connection is closed instead. `head`: it answers a HEAD.

        Raises:
            Malformed: it is no answer, or half of one.
        """
        if not self._read and not self._more():
            return None
        lines = self._until(b"\r\n\r\n").split(b"\r\n")
        status = _STATUS.fullmatch(lines[0])
        if status is None:
            raise Malformed(repr(lines[0]))
        headers = dict(_field(line) for line in lines[1:])
        return Said(int(status[1]), headers, self._body(int(status[1]), headers, head))

    def rest(self) -> bytes:
        """All that still comes until it is closed."""
        while self._more():
            pass
        found, self._read = self._read, b""
        return found

    @property
    def closed(self) -> bool:
        """Whether the other side has closed, as far as one can see now; what came is kept."""
        self.socket.settimeout(0)
        try:
            while True:
                if not self._more():
                    return True
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        finally:
            self.socket.settimeout(20)

    def reset(self) -> None:
        """Close as a killed client does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _body(self, status: int, headers: dict[str, str], head: bool) -> bytes:
        if head or status < 200 or status in _BODILESS:
            return b""
        if headers.get("transfer-encoding") == "chunked":
            return self._chunks()
        if "content-length" in headers:
            return self._exactly(int(headers["content-length"]))
        if headers.get("connection") != "close":
            raise Malformed(f"an answer without an end: {headers}")
        return self.rest()

    def _chunks(self) -> bytes:
        body = b""
        while True:
            size = self._until(b"\r\n")
            if _CHUNK.fullmatch(size) is None:
                raise Malformed(f"a chunk of the size {size!r}")
            piece = self._exactly(int(size, 16) + 2)
            if piece[-2:] != b"\r\n":
                raise Malformed(f"a chunk that ends with {piece[-2:]!r}")
            if len(piece) == 2:
                return body
            body += piece[:-2]

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._read:
            if not self._more():
                raise Malformed(f"closed in the middle of {self._read!r}")
        found, _, self._read = self._read.partition(mark)
        return found

    def _exactly(self, count: int) -> bytes:
        while len(self._read) < count:
            if not self._more():
                raise Malformed(f"closed after {len(self._read)} of {count} bytes")
        found, self._read = self._read[:count], self._read[count:]
        return found

    def _more(self) -> bool:
        try:
            piece = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        self._read += piece
        return bool(piece)


def _field(line: bytes) -> tuple[str, str]:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise Malformed(f"a header {line!r}")
    return match[1].decode().lower(), match[2].decode()


def request(
    body: bytes = b'{"model":"smollm2"}',
    *headers: str | bytes,
    method: str = "POST",
    path: str = "/v1/chat/completions",
    length: bool = True,
) -> bytes:
    """The bytes of a request; `length`: with a Content-Length that is right."""
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: gateway"]
    lines += [line.encode() if isinstance(line, str) else line for line in headers]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(*pieces: bytes) -> bytes:
    """A whole body in these chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
