"""Engines that stream tokens at a fixed pace, on several ports of one process: `python -m ... PORT PORT --pace 50`.

Written on epoll: 200 streams of 50 tokens a second are 10,000 writes a second, and the cores are for the gateways.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import itertools
import json
import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_TOKEN = {
    "id": "chatcmpl-0123456789abcdef",
    "object": "chat.completion.chunk",
    "created": 1_700_000_000,
    "model": "smollm2",
    "choices": [{"index": 0, "delta": {"content": " token"}, "finish_reason": None}],
}
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_WHOLE = b'{"object":"list","data":[{"id":"smollm2","object":"model","owned_by":"bench"}]}'
_IDLE_S = 0.2


def main() -> None:
    """Serve until the lifetime is over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ports", type=int, nargs="+")
    parser.add_argument("--pace", type=float, required=True, help="tokens a second of each stream")
    parser.add_argument("--lifetime", type=float, required=True, help="seconds until it ends by itself")
    given = parser.parse_args()
    with contextlib.closing(StreamEngine(given.ports, given.pace)) as engine:
        engine.serve(given.lifetime)


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


TOKEN = chunk(f"data: {json.dumps(_TOKEN, separators=(',', ':'))}\n\n".encode())
END = chunk(b"data: [DONE]\n\n") + chunk(b"")


def request(received: bytes) -> tuple[dict[str, object], bytes] | None:
    """The body of the first whole request and what came after it; None while there is no whole one."""
    head, found, rest = received.partition(b"\r\n\r\n")
    if not found:
        return None
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].partition(b":")[2]) if lengths else 0
    if len(rest) < length:
        return None
    return json.loads(rest[:length] or b"{}"), rest[length:]


@dataclass(slots=True)
class Connection:
    """A client, and what it has not been sent yet."""

    socket: socket.socket
    received: bytes = b""
    unsent: bytes = b""
    tokens_left: int = 0

    def send(self, data: bytes) -> None:
        """As much as goes now; the rest goes before the next. Raises `OSError` where the client is gone."""
        data = self.unsent + data
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        self.unsent = data[sent:]


@dataclass
class StreamEngine:
    """Serves its ports in one thread."""

    ports: Sequence[int]
    pace: float
    _connections: dict[int, Connection] = field(default_factory=dict)
    _due: list[tuple[float, int, Connection]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)  # connections do not compare

    def __post_init__(self) -> None:
        self._epoll = select.epoll()
        self._listening = {}
        for port in self.ports:
            made = socket.create_server(("127.0.0.1", port), backlog=4096)
            made.setblocking(False)
            self._listening[made.fileno()] = made
            self._epoll.register(made.fileno(), select.EPOLLIN)

    def close(self) -> None:
        """All that is open."""
        for connection in self._connections.values():
            connection.socket.close()
        for made in self._listening.values():
            made.close()
        self._epoll.close()

    def serve(self, lifetime_s: float) -> None:
        """Blocks for so long."""
        ends = time.monotonic() + lifetime_s
        while (now := time.monotonic()) < ends:
            wait_s = min(_IDLE_S, max(0.0, self._due[0][0] - now)) if self._due else _IDLE_S
            for number, _ in self._epoll.poll(wait_s):
                if number in self._listening:
                    self._accept(self._listening[number])
                else:
                    self._read(self._connections[number])
            self._send_due()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            made, _ = listening.accept()
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[made.fileno()] = Connection(made)
            self._epoll.register(made.fileno(), select.EPOLLIN)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._forget(connection)
            return
        connection.received += data
        found = request(connection.received)
        if found is not None:
            asked, connection.received = found
            self._answer(connection, asked)

    def _answer(self, connection: Connection, asked: dict[str, object]) -> None:
        with self._gone(connection):
            if not asked.get("stream"):
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_WHOLE)
                connection.send(head + _WHOLE)
                return
            connection.send(_HEAD)
            connection.tokens_left = int(str(asked["max_tokens"]))
            self._plan(connection, time.monotonic() + 1 / self.pace)

    def _plan(self, connection: Connection, at: float) -> None:
        heapq.heappush(self._due, (at, next(self._order), connection))

    def _send_due(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            at, _, connection = heapq.heappop(self._due)
            if connection.socket.fileno() < 0:
                continue  # its client left
            with self._gone(connection):
                connection.send(_next_piece(connection))
                if connection.tokens_left or connection.unsent:
                    self._plan(connection, at + 1 / self.pace)

    @contextlib.contextmanager
    def _gone(self, connection: Connection) -> Iterator[None]:
        try:
            yield
        except OSError:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        self._connections.pop(connection.socket.fileno(), None)
        connection.socket.close()


def _next_piece(connection: Connection) -> bytes:
    if not connection.tokens_left:
        return b""  # only what did not go before
    connection.tokens_left -= 1
    return TOKEN if connection.tokens_left else TOKEN + END


if __name__ == "__main__":
    main()
