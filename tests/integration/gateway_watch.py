"""What must not happen to a gateway that is treated badly: a worker that dies, a count that stays, a complaint."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.engine import FakeEngine
from tests.fakes.running_nginx import RunningNginx
from tests.waiting import wait_for

# What clients can make nginx complain of. That a script's request had not ended is njs's way to say that a client left.
USUAL = (
    "client intended to send too large (chunked )?body",
    "client sent invalid chunked body",
    "pending events while closing request",
)


def in_flight(nginx: RunningNginx) -> dict[str, Any]:
    """All that the status server counts."""
    connection = http.client.HTTPConnection("127.0.0.1", nginx.parts.ports.gateway_status, timeout=10)
    try:
        connection.request("GET", "/in_flight")
        with connection.getresponse() as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found
    finally:
        connection.close()


def idle(nginx: RunningNginx) -> bool:
    """Whether nothing is in flight, nothing waits, and nothing takes room."""
    found = in_flight(nginx)
    counts = [*found["pools"].values(), *found["waiting"].values(), *found["plans"].values()]
    return not any(counts) and all(not any(sums.values()) for sums in found["sums"].values())


@dataclass
class Watched:
    """A running gateway with an engine behind it and somebody who takes its log."""

    nginx: RunningNginx
    engine: FakeEngine
    receiver: socket.socket
    logged: bytearray = field(default_factory=bytearray)
    workers: frozenset[int] = field(init=False)
    _conf: bytes = field(init=False)
    _complaints: int = 0

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """From now on."""
        self.workers = self.nginx.settled()
        self._conf = self._read()
        self._complaints = len(self.nginx.error_log())
        self.engine.seen.clear()

    def log(self) -> bytes:
        """All lines of the access log so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.logged += self.receiver.recv(65536) + b"\n"
        return bytes(self.logged)

    def complaints(self, *expected: str) -> list[str]:
        """Lines of the error log since the beginning that are none of these and not usual."""
        known = re.compile("|".join((*USUAL, *expected)))
        lines = self.nginx.error_log()[self._complaints :].splitlines()
        return [line for line in lines if known.search(line) is None]

    def end(self, *expected: str) -> None:
        """Nothing is left of what was done, and nginx complained of nothing but that."""
        wait_for(lambda: idle(self.nginx), 20, f"nothing is in flight: {in_flight(self.nginx)}")
        assert self.nginx.workers() == self.workers, "a worker died"
        assert self._read() == self._conf, "nginx.conf is as it was"
        lines = self.complaints(*expected)
        assert lines == [], "\n".join(lines)

    def _read(self) -> bytes:
        return (self.nginx.parts.folder / "nginx.conf").read_bytes()


@contextlib.contextmanager
def watched(nginx: RunningNginx, engine: FakeEngine) -> Iterator[Watched]:
    """From the beginning to the end; nginx is stopped, and the engine with it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, contextlib.closing(engine):
        receiver.bind(("127.0.0.1", nginx.parts.ports.edge_log))
        receiver.setblocking(False)
        try:
            yield Watched(nginx, engine, receiver)
        finally:
            nginx.stop()
