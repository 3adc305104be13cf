"""HTTP over a unix socket: how Docker engines and supervisord listen."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from pathlib import Path
from typing import Any

# sun_path holds 108 bytes and a final zero.
LONGEST_SOCKET_PATH = 107


class UnixConnection(http.client.HTTPConnection):
    """Connects to a socket file. Every operation blocks for at most `timeout_s`."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise


class UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a socket file, for `xmlrpc.client.ServerProxy`."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__()
        self._path = path
        self._timeout_s = timeout_s

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = UnixConnection(self._path, self._timeout_s)
        self._connection = (host, connection)  # what `close` of the base class closes
        return connection
