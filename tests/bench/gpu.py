"""What a scrape of eight GPUs costs: `make bench ARGS="--only gpu"`, by hand, never by pytest.

The library of NVML is the tests' stub: what a driver takes for its answers is in no figure.
"""

from __future__ import annotations

import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console

from tests.bench.row import Row
from tests.fakes.running_nginx import free_port
from tests.nvml.library import World, built
from tests.waiting import wait_for

GPUS, SCRAPES, WATCH_S = 8, 300, 30
HEADING = "## GPU exporter"
BEGIN, END = "<!-- gpu: begin, written by make bench -->", "<!-- gpu: end -->"
_BEFORE = "\n## Simulator"


@dataclass(frozen=True)
class Figures:
    """Of one exporter."""

    scrape_ms: float  # the median
    slowest_ms: float  # of a hundred
    core_percent: float  # at one scrape a second, with the processes that it starts
    memory_mb: float


def measure() -> tuple[Figures, Figures]:
    """Ours, and one that starts a program at each scrape. Takes about 80 s."""
    with tempfile.TemporaryDirectory(prefix="st-") as name:
        world = World.of(Path(name), GPUS)
        # Each GPU is used by a process that is really there: this one.
        world.put("processes", *(f"process {slot} {os.getpid()} 60000 -1" for slot in range(GPUS)))
        found = []
        for command in (("exporters.gpu", "--port"), ("tests.bench.smi_exporter",)):
            with _running(world, *command) as (process, port):
                found.append(_figures(process, port))
        return found[0], found[1]


def section(console: Console) -> str:
    """A table of both, with what is meant to be."""
    with console.status("the GPU exporter"):
        ours, other = measure()
    rows = [
        Row("scrape, median", f"{ours.scrape_ms:.1f} ms | {other.scrape_ms:.1f} ms", "< 5 ms"),
        Row("scrape, the slowest of a hundred", f"{ours.slowest_ms:.1f} ms | {other.slowest_ms:.1f} ms"),
        Row("one scrape a second, share of a core", f"{ours.core_percent:.2f} % | {other.core_percent:.2f} %", "< 1 %"),
        Row("resident memory", f"{ours.memory_mb:.0f} MB | {other.memory_mb:.0f} MB", "< 60 MB"),
    ]
    lines = [
        *(BEGIN, HEADING, ""),
        f'Written by `make bench`, or alone by `make bench ARGS="--only gpu"`: {GPUS} GPUs, a process on each, '
        f"{os.cpu_count()} cores, load average of the minute before {os.getloadavg()[0]:.1f}. Both ask the same stub "
        "of the driver's library, so what a driver takes is in no figure. *A program per scrape* stands for exporters "
        "that start `nvidia-smi --query-gpu=... --format=csv` each time and read what it prints: 19 values of a GPU, "
        "where ours has 27, who uses it, its XIDs and the machine's CPUs. The program here is a small one in C that "
        "asks the stub; the real one also opens the driver anew at each start.",
        "",
        "| figure | `stoker exporter gpu` | a program per scrape | target |",
        "|---|---|---|---|",
        *(f"| {row.what} | {row.value} | {row.target} |" for row in rows),
        END,
    ]
    return "\n".join(lines)


def put(page: str, told: str, first: str = BEGIN, last: str = END) -> str:
    """The page with this section, between these lines, instead of the one that it had, or before the simulator's."""
    begin, end = page.find(first), page.find(last)
    if 0 <= begin < end:
        return page[:begin] + told + page[end + len(last) :]
    place = page.find(_BEFORE)
    if place < 0:
        return f"{page.rstrip()}\n\n{told}\n"
    return f"{page[:place].rstrip()}\n\n{told}\n{page[place:]}"


@contextmanager
def _running(world: World, *command: str) -> Iterator[tuple[psutil.Popen, int]]:
    port = free_port()
    environment = {**os.environ, **world.environment()}
    more = () if command[0].startswith("exporters") else (str(built() / "smi"),)
    process = psutil.Popen(
        [sys.executable, "-m", *command, str(port), *more], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: _answers(port), 20, "the exporter answers")
        yield process, port
    finally:
        process.terminate()
        process.wait(10)


def _figures(process: psutil.Popen, port: int) -> Figures:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    took = sorted(_scrape(connection) for _ in range(SCRAPES))
    before, began = _cpu_s(process), time.monotonic()
    for number in range(1, WATCH_S + 1):
        _scrape(connection)
        time.sleep(max(0.0, began + number - time.monotonic()))
    share = (_cpu_s(process) - before) / (time.monotonic() - began)
    memory = process.memory_info().rss / 1e6
    connection.close()
    return Figures(1000 * statistics.median(took), 1000 * took[int(0.99 * len(took))], 100 * share, memory)


def _scrape(connection: http.client.HTTPConnection) -> float:
    began = time.monotonic()
    connection.request("GET", "/metrics")
    with connection.getresponse() as answer:
        answer.read()
    return time.monotonic() - began


def _cpu_s(process: psutil.Popen) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        return _scrape(connection) > 0
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    print(section(Console(stderr=True)))
