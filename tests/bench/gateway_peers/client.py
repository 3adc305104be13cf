"""Many streams at once, in a process of their own: `python -m ... PORT --seconds 5`. Prints one line of JSON.

Written on epoll for the same reason as the engine that makes them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import socket
import time
from dataclasses import dataclass, field

from tests.bench.gateway_peers import workload
from tests.bench.gateway_peers.figures import percentile

_TOKEN, _END = b'"choices"', b"[DONE]"
_LONGEST = 3.0  # after so many times the seconds that they should take, streams are given up
_POLL_S = 0.2


def main() -> None:
    """Stream, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=float, required=True, help="how long each stream is")
    parser.add_argument("--streams", type=int, default=workload.STREAMS)
    given = parser.parse_args()
    print(json.dumps(Streams(given.port, given.seconds, given.streams).run()))


def post(port: int, body: bytes, key: str = "") -> bytes:
    """A whole request."""
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    return (
        f"POST {workload.PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"{authorization}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


@dataclass(slots=True)
class Stream:
    """One stream, and what was seen of it."""

    tail: bytes = b""
    last: float | None = None  # when its last token came
    tokens: int = 0
    whole: bool = False

    def take(self, data: bytes, now: float) -> list[float]:
        """The gaps before the tokens in this piece of it. The first token of a stream has none."""
        text = self.tail + data  # a piece may end within a mark; the tail is too short for a whole one
        self.tail = text[1 - len(_TOKEN) :]
        self.whole = self.whole or _END in text
        count = text.count(_TOKEN)
        if not count:
            return []
        gaps = [] if self.last is None else [now - self.last]
        self.last, self.tokens = now, self.tokens + count
        return gaps + [0.0] * (count - 1)


@dataclass
class Streams:
    """All of them. They begin one after the other over a quarter of the time; what counts is the time when all run."""

    port: int
    seconds: float
    count: int = workload.STREAMS
    _open: dict[int, tuple[socket.socket, Stream]] = field(default_factory=dict)
    _ended: list[Stream] = field(default_factory=list)
    _gaps: list[float] = field(default_factory=list)
    _counted: int = 0

    def run(self) -> dict[str, float]:
        """Blocks until all have ended, or three times as long as they should take."""
        ramp_s = self.seconds / 4
        self._began = time.perf_counter()
        self._window = self._began + ramp_s, self._began + self.seconds
        with contextlib.closing(select.epoll()) as epoll:
            while (now := time.perf_counter()) < self._began + _LONGEST * self.seconds + ramp_s:
                started = len(self._open) + len(self._ended)
                wanted = min(self.count, int((now - self._began) / ramp_s * self.count) + 1)
                for number in range(started, wanted):
                    self._start(epoll, number)
                if len(self._ended) == self.count:
                    break
                for descriptor, _ in epoll.poll(_POLL_S if wanted == self.count else ramp_s / self.count):
                    self._read(epoll, descriptor)
        return self._figures()

    def _start(self, epoll: select.epoll, number: int) -> None:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        made.sendall(post(self.port, workload.stream_body(number, self.seconds)))
        made.setblocking(False)
        self._open[made.fileno()] = made, Stream()
        epoll.register(made.fileno(), select.EPOLLIN)

    def _read(self, epoll: select.epoll, descriptor: int) -> None:
        made, stream = self._open[descriptor]
        try:
            data = made.recv(65536)
        except ConnectionError:
            data = b""
        now = time.perf_counter()
        gaps = stream.take(data, now)
        if gaps and self._window[0] <= now < self._window[1]:
            self._gaps += gaps
        if stream.whole or not data:
            epoll.unregister(descriptor)
            del self._open[descriptor]
            made.close()
            self._ended.append(stream)

    def _figures(self) -> dict[str, float]:
        begin, end = self._window
        streams = self._ended + [stream for _, stream in self._open.values()]
        for made, _ in self._open.values():
            made.close()
        return {
            "tokens": sum(stream.tokens for stream in streams),
            "tokens_per_s": len(self._gaps) / (end - begin),
            "gap_p50_ms": 1000 * percentile(self._gaps, 0.5) if self._gaps else 0.0,
            "gap_p99_ms": 1000 * percentile(self._gaps, 0.99),
            "requests": len(streams),
            "errors": sum(not stream.whole for stream in streams),
        }


if __name__ == "__main__":
    main()
