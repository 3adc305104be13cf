"""Stop a server inside this process from taking new connections while it goes on with those it has.

For a server that offers no such thing. Linux only: reads /proc.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LISTEN = "0A"
_LIVE = {"01", "08"}  # established, and half-closed by the peer: an answer can still go out


@dataclass(frozen=True, slots=True)
class SocketRow:
    """A line of /proc/net/tcp."""

    local_port: int
    state: str
    queued: bool  # bytes wait to be sent, or to be read
    inode: str


@dataclass(frozen=True, slots=True)
class Connections:
    """Live connections to a port."""

    live: int
    queued: int  # of these, with bytes under way


def parse_rows(text: str) -> Iterator[SocketRow]:
    """The sockets in the text of /proc/net/tcp."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        queued = fields[4] != "00000000:00000000"
        yield SocketRow(int(fields[1].rpartition(":")[2], 16), fields[3], queued, fields[9])


def connections_to(port: int) -> Connections:
    """Connections that peers hold to `port` of this host."""
    live = [row for row in _rows() if row.local_port == port and row.state in _LIVE]
    return Connections(len(live), sum(row.queued for row in live))


def move_listener(host: str, port: int) -> int:
    """Refuse new connections to `port` at once; the server accepts at a new loopback port, which is returned.

    Connections that were accepted go on. Blocks for at most 1 s.

    Raises:
        LookupError: this process does not listen at `port`.
    """
    descriptor = _listening_descriptor(port)
    with socket.create_server(("127.0.0.1", 0)) as private:
        private_port = int(private.getsockname()[1])
        # shutdown() of the old socket would end the server's accept loop with an error, and the server with it.
        os.dup2(private.fileno(), descriptor)
    # A thread that waits in accept() still holds the old socket open. One last connection wakes it.
    with contextlib.suppress(OSError):
        socket.create_connection((host if host != "0.0.0.0" else "127.0.0.1", port), timeout=1).close()
    return private_port


def _listening_descriptor(port: int) -> int:
    inodes = {row.inode for row in _rows() if row.local_port == port and row.state == _LISTEN}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the descriptor of the listing itself is gone by now
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/self/fd/{name}"))
            if match and match[1] in inodes:
                return int(name)
    raise LookupError(f"this process does not listen at port {port}")


def _rows() -> Iterator[SocketRow]:
    return parse_rows(Path("/proc/self/net/tcp").read_text(encoding="ascii"))
