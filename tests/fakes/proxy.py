"""A wire that can be cut: takes connections over TCP and joins each to a Unix socket."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Wire:
    """While `frozen`, nothing gets through and nobody is told; connections that were made then never come alive."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._frozen: set[socket.socket] = set()
        self._ends: list[socket.socket] = []
        self._lock = threading.Lock()
        self.frozen = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, name="wire", daemon=True).start()

    def freeze(self) -> None:
        """From now on nothing gets through."""
        with self._lock:
            self.frozen = True
            self._frozen.update(self._ends)

    def heal(self) -> None:
        """New connections get through; the old ones never will."""
        self.frozen = False

    def close(self) -> None:
        self._server.close()
        with self._lock:
            for end in self._ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            engine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            engine.connect(self._target)
            with self._lock:
                self._ends += [client, engine]
                if self.frozen:
                    self._frozen.update((client, engine))
            for source, sink in ((client, engine), (engine, client)):
                threading.Thread(target=self._carry, args=(source, sink), name="wire", daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                if source not in self._frozen:
                    sink.sendall(piece)
            if source not in self._frozen:
                sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def wire(target: str) -> Iterator[Wire]:
    """A wire to the Unix socket `target`, for the length of the body."""
    made = Wire(target)
    try:
        yield made
    finally:
        made.close()
