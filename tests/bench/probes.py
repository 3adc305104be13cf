"""How many replicas one prober takes: `python -m tests.bench.probes`, by hand, never by pytest."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from multiprocessing.connection import Connection

from controller.adapters.clock import SystemClock
from controller.adapters.probes import HttpProber
from controller.core.model import Address, ProbeTarget, ReplicaId

TARGETS = 1000
SECONDS = 10
_ON_TIME_S = 1.5  # a result may be so old: its interval, and half of another
_STATUS = {
    "replica": "smollm2-1",
    "pool": "smollm2",
    "model": "smollm2",
    "spec_hash": "0123456789ab",
    "phase": "ready",
    "answering": True,
    "in_flight": 2,
    "waiting": 1,
    "tokens_total": 12345,
    "last_token_at": "2026-01-05T12:00:00.250000+00:00",
    "began_at": "2026-01-05T11:59:00+00:00",
    "stages": {"fetch": 0.1, "load": 0.5, "warm": 0.2, "first_token": 0.3},
    "detail": "",
}


class _Counting:
    """A clock that knows how often it was asked: once for each probe."""

    def __init__(self) -> None:
        self.asked = 0

    def now(self) -> datetime:
        self.asked += 1
        return SystemClock().now()


def measure(targets: int = TARGETS, seconds: float = SECONDS) -> dict[str, float]:
    """Probes of so many targets, each second, for so long; the share of a core is this process's."""
    _allow_files(4 * targets + 200)
    ports, server = _serve(targets, hang=False)
    hung_ports, hung_server = _serve(targets, hang=True)
    try:
        return _steady(_targets(ports), seconds) | {"hung_first_s": _first(_targets(hung_ports))}
    finally:
        for process in (server, hung_server):
            process.terminate()
            process.join()


def _steady(targets: Sequence[ProbeTarget], seconds: float) -> dict[str, float]:
    clock = _Counting()
    prober = HttpProber(clock, lambda: None)
    try:
        began = time.monotonic()
        prober.probe(targets)
        first_s = time.monotonic() - began
        probes, cpu, began = clock.asked, time.process_time(), time.monotonic()
        seen: list[tuple[float, bool]] = []
        while time.monotonic() < began + seconds:
            time.sleep(0.5)  # a controller looks once a tick
            found, now = prober.probe(targets).values(), SystemClock().now()
            seen += [((now - history.at).total_seconds(), history.ok) for history in found]
        wall = time.monotonic() - began
        return {
            "first_s": first_s,
            "probes_per_s": (clock.asked - probes) / wall,
            "on_time": sum(age <= _ON_TIME_S for age, _ in seen) / len(seen),
            "passing": sum(ok for _, ok in seen) / len(seen),
            "oldest_s": max(age for age, _ in seen),
            "core_share": (time.process_time() - cpu) / wall,
        }
    finally:
        prober.close()


def _first(targets: Sequence[ProbeTarget]) -> float:
    """How long `probe` blocks where all targets are new and none answers."""
    prober = HttpProber(SystemClock(), lambda: None)
    try:
        began = time.monotonic()
        prober.probe(targets)
        return time.monotonic() - began
    finally:
        prober.close()


def _targets(ports: Sequence[int]) -> list[ProbeTarget]:
    found = enumerate(ports, start=1)
    return [
        ProbeTarget(ReplicaId(f"llama-{number}"), Address("127.0.0.1", port), "/status", 1.0, 1.0)
        for number, port in found
    ]


def _serve(targets: int, *, hang: bool) -> tuple[list[int], multiprocessing.process.BaseProcess]:
    """As many launchers, in a process of their own; their ports."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_run, args=(there, targets, hang), daemon=True)
    process.start()
    there.close()  # else a server that fails to start would be waited for for ever
    ports: list[int] = here.recv()
    return ports, process


def _run(pipe: Connection, targets: int, hang: bool) -> None:
    _allow_files(4 * targets + 200)
    asyncio.run(_listen(pipe, targets, hang))


async def _listen(pipe: Connection, targets: int, hang: bool) -> None:
    body = json.dumps(_STATUS).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    class Launcher(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._transport = transport

        def data_received(self, data: bytes) -> None:
            if not hang and isinstance(self._transport, asyncio.WriteTransport):
                self._transport.write(answer)
                self._transport.close()

    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Launcher, "127.0.0.1", 0, backlog=16) for _ in range(targets)]
    pipe.send([server.sockets[0].getsockname()[1] for server in servers])
    await asyncio.Event().wait()


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        sys.exit(f"{wanted} open files are needed, and {hard} are allowed; raise `ulimit -n`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


if __name__ == "__main__":
    print(f"{os.cpu_count()} cores")
    for name, value in measure().items():
        print(f"{name:30} {value:12.2f}")
