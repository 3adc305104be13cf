"""A model server that does exactly what a test tells it to, on a real socket."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

from controller.core.model import Address

Behaviour = Callable[["Exchange"], object]


class Exchange:
    """One request on its own connection. The connection is closed when the behaviour returns."""

    def __init__(self, connection: socket.socket, head: bytes, body: bytes) -> None:
        self.connection = connection
        self.head = head
        self.body = body

    def send(self, data: bytes) -> None:
        """Send bytes as they are; a peer that went away is no error."""
        with contextlib.suppress(OSError):
            self.connection.sendall(data)

    def answer(self, body: bytes = b'{"ok":true}', status: str = "200 OK") -> None:
        """A whole answer."""
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.send(head.encode() + body)

    def begin_stream(self) -> None:
        """The head of an event stream that ends when the connection does."""
        self.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")

    def reset(self) -> None:
        """Break the connection as a killed process does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def client_left(self, timeout_s: float) -> bool:
        """Whether the other side closes within that time."""
        self.connection.settimeout(timeout_s)
        try:
            return self.connection.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True


class FakeEngine:
    """Serves until `close`. `seen` are the requests, in order of arrival; `behave` may be replaced at any time."""

    def __init__(self, behave: Behaviour = Exchange.answer, host: str = "127.0.0.1") -> None:
        self.behave = behave
        self.seen: list[Exchange] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=512)
        self.address = Address(host, self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def close(self) -> None:
        """Refuse from now on, and wait for the behaviours that run. Idempotent."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            exchange = _read(connection)
            if exchange is not None:
                self.seen.append(exchange)
                self.behave(exchange)


def _read(connection: socket.socket) -> Exchange | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        piece = connection.recv(1 << 20)
        if not piece:
            return None
        body += piece
    return Exchange(connection, head, body)


@contextlib.contextmanager
def engines(*behaviours: Behaviour) -> Iterator[list[FakeEngine]]:
    """One engine per behaviour, all closed at the end."""
    running = [FakeEngine(behave) for behave in behaviours]
    try:
        yield running
    finally:
        for engine in running:
            engine.close()


@contextlib.contextmanager
def black_hole() -> Iterator[Address]:
    """An address that neither accepts nor refuses: its queue of connections is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield Address("127.0.0.1", listener.getsockname()[1])
