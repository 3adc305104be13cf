"""One request after the other on each of some connections, in a process of its own. Prints one line of JSON.

For what wrk does not tell (which answers came twice), and in its place where wrk is not installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle

from tests.bench.gateway_peers import workload
from tests.bench.gateway_peers.client import post
from tests.bench.gateway_peers.figures import percentile

_ID = re.compile(rb'"id": ?"([^"]+)"')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def main() -> None:
    """Ask, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="at most")
    parser.add_argument(
        "--zipf", type=int, nargs=2, metavar=("PROMPTS", "REQUESTS"), help="else the same bodies for ever"
    )
    parser.add_argument("--salt", type=int, default=0, help="makes the prompts others than those of another run")
    given = parser.parse_args()
    print(json.dumps(asyncio.run(_ask(given))))


async def _ask(given: argparse.Namespace) -> dict[str, float]:
    seen, began = Seen(), time.perf_counter()
    requests = _requests(given)
    clients = (_client(given.port, requests, seen, began + given.seconds) for _ in range(given.connections))
    await asyncio.gather(*clients)
    return seen.figures(time.perf_counter() - began)


def _requests(given: argparse.Namespace) -> Iterator[bytes]:
    if given.zipf is None:
        return cycle([post(given.port, workload.body(user=user)) for user in range(given.connections)])
    prompts, count = given.zipf
    texts = [f"What does a replica do in state {number} of run {given.salt}?" for number in range(prompts)]
    made = [post(given.port, workload.body(text, temperature=0)) for text in texts]
    return (made[number] for number in workload.zipf(prompts, count))


@dataclass
class Seen:
    """What came back."""

    seconds: list[float] = field(default_factory=list)
    ids: set[bytes] = field(default_factory=set)
    errors: int = 0

    def take(self, status: int, body: bytes, took_s: float) -> None:
        """One answer."""
        found = _ID.search(body)
        if status != 200 or found is None:
            self.errors += 1
            return
        self.seconds.append(took_s)
        self.ids.add(found[1])

    def figures(self, took_s: float) -> dict[str, float]:
        """Each id is one answer that an engine made; the others are repetitions of it."""
        count = len(self.seconds)
        return {
            "requests": count + self.errors,
            "seconds": took_s,
            "p50_ms": 1000 * percentile(self.seconds, 0.5),
            "p99_ms": 1000 * percentile(self.seconds, 0.99),
            "repeated": (count - len(self.ids)) / count,
            "errors": self.errors,
        }


async def _client(port: int, requests: Iterator[bytes], seen: Seen, until: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for request in requests:
            began = time.perf_counter()
            if began >= until:
                return
            writer.write(request)
            head, body = await _answer(reader)
            seen.take(int(head.split(b" ", 2)[1]), body, time.perf_counter() - began)
            if b"\r\nconnection: close\r\n" in head.lower():
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body, of a length that is given or in chunks."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if length is not None:
        return head, await reader.readexactly(int(length[1]))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return head, body


if __name__ == "__main__":
    main()
