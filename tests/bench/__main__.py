"""`make bench`: measures, prints a table and writes docs/benchmarks.md. Nothing here passes or fails.

`--only simulate` measures the simulator alone, `--only gpu` the GPU exporter, `--only dashboard` the dashboard; each
leaves the rest of the page alone.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import bench_edge, controller, dashboard, gateway, gpu, probes, simulate, ticks
from tests.bench.row import Row
from tests.e2e.stack import Stack, environment, write_config

_PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_SECTIONS = {"gpu": gpu, "dashboard": dashboard}


def main() -> None:
    """Measure everything; takes about twelve minutes."""
    console = Console(stderr=True)
    if sys.argv[1:] not in ([], *(["--only", one] for one in ("simulate", *_SECTIONS))):
        sys.exit("give nothing, --only simulate, --only gpu or --only dashboard")
    if sys.argv[2:] and sys.argv[2] in _SECTIONS:
        _put(console, sys.argv[2])
        return
    if sys.argv[1:]:
        _write(_PAGE.read_text(encoding="utf-8").partition(simulate.HEADING)[0], simulate.section(console))
        return
    rows: list[Row] = []
    with console.status("ticks on fakes"):
        rows += _ticks()
    with console.status("a thousand probes a second"):
        rows += _probes()
    with console.status("the edge exporter"):
        rows += _edge()
    with console.status("a stack of three replicas"), _stack(floor=3) as (stack, up_s):
        rows += _controller(stack, up_s)
    with console.status("a stack of one replica"), _stack(floor=1) as (stack, _):
        rows += _gateway(stack)
    _show(rows)
    _write("\n\n".join([_page(rows), *_others(_PAGE.read_text(encoding="utf-8"))]), simulate.section(console))
    for name in _SECTIONS:
        _put(console, name)


def _put(console: Console, name: str) -> None:
    """Measure what has a section of its own, and put that into the page."""
    section = _SECTIONS[name]
    told = section.section(console)
    _PAGE.write_text(section.put(_PAGE.read_text(encoding="utf-8"), told), encoding="utf-8")
    print(told)


def _others(page: str) -> list[str]:
    """What other commands have written between the table and the simulator's section."""
    head = page.partition(simulate.HEADING)[0]
    places = [place for mark in ("\n## ", "\n<!-- ") if (place := head.find(mark)) >= 0]
    return [head[min(places) :].strip()] if places else []


def _ticks() -> list[Row]:
    few, many = ticks.measure(3), ticks.measure(300)
    return [
        Row("tick, 300 replicas on fakes, quiet (median)", f"{many['quiet_ms']:.1f} ms", "< 500 ms"),
        Row("tick, 300 replicas on fakes, worst while all come up", f"{many['worst_ms']:.0f} ms", "< 500 ms"),
        Row("tick, 3 replicas on fakes, quiet (median)", f"{few['quiet_ms']:.2f} ms"),
    ]


def _probes() -> list[Row]:
    found = probes.measure()
    steady = (
        f"{found['probes_per_s']:.0f} a second, {found['on_time']:.1%} on time, {found['core_share']:.2f} of a core"
    )
    return [
        Row(f"probes of {probes.TARGETS} replicas, each second", steady, "all on time"),
        Row(f"first look at {probes.TARGETS} new replicas that all hang", f"{found['hung_first_s']:.2f} s", "1 s"),
    ]


def _edge() -> list[Row]:
    found = bench_edge.measure()
    return [
        Row("edge exporter, lines counted by one core", f"{found['collect_lines_per_s']:,.0f} a second", "> 20,000"),
        Row(
            "edge exporter, 20,000 lines a second through its socket for 10 s, scraped each second",
            f"{found['socket_core_share']:.2f} of a core, {found['socket_lines_lost']:.0f} lost",
            "0 lost",
        ),
    ]


def _controller(stack: Stack, up_s: float) -> list[Row]:
    found = controller.measure(stack)
    return [
        Row("`stoker up` to three ready replicas in Docker, image built before", f"{up_s:.1f} s", "< 20 s"),
        Row("tick, 3 replicas in Docker (mean)", f"{found['tick_ms']:.1f} ms", "< 50 ms"),
        Row("controller, idle", f"{found['idle_core_percent']:.1f} % of a core", "< 3 %"),
        Row("controller, resident memory", f"{found['memory_mb']:.0f} MB", "< 150 MB"),
    ]


def _gateway(stack: Stack) -> list[Row]:
    found = gateway.measure(stack)
    return [
        Row("straight to a replica, one token", f"{found['straight_rps']:.0f} requests/s"),
        Row("through nginx to it", f"{found['through_rps']:.0f} requests/s"),
        Row("through / straight, requests/s", f"{found['rps_ratio']:.2f}"),
        Row("straight to a replica, 99th percentile", f"{found['straight_p99_ms']:.0f} ms"),
        Row("through nginx to it, 99th percentile", f"{found['through_p99_ms']:.0f} ms"),
        Row("through / straight, 99th percentile", f"{found['p99_ratio']:.2f}"),
    ]


@contextmanager
def _stack(floor: int) -> Iterator[tuple[Stack, float]]:
    """A stack in Docker of so many replicas, and how long the second of two starts took."""
    folder = Path(tempfile.mkdtemp(prefix="st-"))
    config = write_config(folder)
    config.write_text(config.read_text().replace("floor: 3, ceiling: 5", f"floor: {floor}, ceiling: {floor}"))
    stack = Stack(config, folder / "state", environment(None))
    try:
        for _ in range(2):
            stack.stoker("down")
            began = time.monotonic()
            came = stack.up("--runtime", "docker")
            took = time.monotonic() - began
            if came.returncode != 0:
                sys.exit(came.stdout + came.stderr)
        yield stack, took
    finally:
        stack.stoker("down")
        shutil.rmtree(folder, ignore_errors=True)


def _show(rows: list[Row]) -> None:
    table = Table("figure", "measured", "target")
    for row in rows:
        table.add_row(row.what, row.value, row.target)
    Console().print(table)


def _page(rows: list[Row]) -> str:
    """All but the simulator's section."""
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}. The model is SmolLM2-135M-Instruct on the CPU, one thread for each "
        "replica; clients, nginx, Prometheus and replicas share the cores. Compare ratios, not seconds.",
        "",
        "| figure | measured | target |",
        "|---|---|---|",
        *(f"| {row.what} | {row.value} | {row.target} |" for row in rows),
    ]
    return "\n".join(lines)


def _write(page: str, simulated: str) -> None:
    _PAGE.parent.mkdir(exist_ok=True)
    _PAGE.write_text(f"{page.rstrip()}\n\n{simulated}", encoding="utf-8")
    print(simulated)


if __name__ == "__main__":
    main()
