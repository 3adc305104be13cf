"""What the dashboard costs with 50 pools and 300 replicas: `make bench ARGS="--only dashboard"`, never by pytest.

The fleet is `tests.fakes.big_fleet`: real ticks and the real application over fake containers and numbers, in a process
of its own. Chromium shares the cores with it.
"""

from __future__ import annotations

import http.client
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import psutil
from playwright.sync_api import Browser, Page
from rich.console import Console

from tests.bench import gpu
from tests.bench.row import Row
from tests.e2e.browser import chromium
from tests.fakes.running_nginx import free_port
from tests.waiting import wait_for

HEADING = "## Dashboard"
BEGIN, END = "<!-- dashboard: begin, written by make bench -->", "<!-- dashboard: end -->"
TABS, WATCH_S, LOADS, UPDATES = 20, 60.0, 7, 15  # the hour of the pools is asked for once a minute
TOKEN = {"Authorization": "Bearer secret"}  # what the fake fleet takes
_PAINT = "performance.getEntriesByName('first-contentful-paint').map((entry) => entry.startTime)[0]"
_LOADED = """() => ['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))
  .filter((entry) => !entry.name.includes('/live'))
  .map((entry) => [entry.name, entry.transferSize, entry.decodedBodySize, entry.responseStart, entry.requestStart])"""
_UPDATE = """async () => {
  const main = document.getElementById("main");
  const changed = new Promise((done) => {
    const watcher = new MutationObserver(() => { watcher.disconnect(); done(Date.now()); });
    watcher.observe(main, { subtree: true, childList: true, characterData: true, attributes: true });
  });
  const ticked = Number(await (await fetch("/fake/tick")).text()) * 1000;
  return (await changed) - ticked;
}"""


@dataclass(frozen=True)
class Figures:
    """Of the fleet page."""

    paint_ms: float  # the median, nothing cached
    slowest_paint_ms: float
    html_ms: float  # until the first byte of the page
    wire_kb: float
    plain_kb: float
    files: int
    update_ms: float  # end of a tick to the change in the page, the median
    slowest_update_ms: float
    still_percent: float  # of a core, for all tabs
    busy_percent: float


def measure() -> Figures:
    """Takes about six minutes."""
    with _fleet("--interval", "3600") as (_, port), chromium() as browser:
        paints = [_load(browser, port) for _ in range(LOADS)]
        updates = _updates(browser, port)
    shares = {}
    for kind in ("--still", "--quiet"):
        with _fleet(kind) as (process, port):
            ticker = int(_asked(port, "/fake/thread"))
            alone = _share(process, ticker)
            with _tabs(port):
                shares[kind] = _share(process, ticker) - alone
    loaded = paints[-1][1]
    return Figures(
        paint_ms=statistics.median(paint for paint, _ in paints),
        slowest_paint_ms=max(paint for paint, _ in paints),
        html_ms=statistics.median(entries[0][3] - entries[0][4] for _, entries in paints),
        wire_kb=sum(entry[1] for entry in loaded) / 1000,
        plain_kb=sum(entry[2] for entry in loaded) / 1000,
        files=len(loaded),
        update_ms=statistics.median(updates),
        slowest_update_ms=max(updates),
        still_percent=100 * shares["--still"],
        busy_percent=100 * shares["--quiet"],
    )


def section(console: Console) -> str:
    """A table, with what is meant to be."""
    with console.status("the dashboard"):
        found = measure()
    rows = [
        Row(
            f"first paint in Chromium, nothing cached (median of {LOADS}, slowest)",
            f"{found.paint_ms:.0f} ms, {found.slowest_paint_ms:.0f} ms",
            "< 1000 ms",
        ),
        Row("of that until the page's first byte (median)", f"{found.html_ms:.0f} ms"),
        Row(
            f"the page with its {found.files - 1} files, as it is and over the wire",
            f"{found.plain_kb:.0f} KB, {found.wire_kb:.0f} KB",
            "< 300 KB",
        ),
        Row(
            f"end of a tick to the change on the page (median of {UPDATES}, slowest)",
            f"{found.update_ms:.0f} ms, {found.slowest_update_ms:.0f} ms",
            "< 1000 ms",
        ),
        Row(f"{TABS} open tabs, idle fleet, share of a core", f"{found.still_percent:.2f} %", "< 1 %"),
        Row(f"{TABS} open tabs, every pool's numbers change every 2 s, share of a core", f"{found.busy_percent:.2f} %"),
    ]
    lines = [
        *(BEGIN, HEADING, ""),
        'Written by `make bench`, or alone by `make bench ARGS="--only dashboard"`: the fleet page with 50 pools and '
        f"300 replicas (`tests/fakes/big_fleet.py`: real ticks, fake containers and numbers), {os.cpu_count()} cores, "
        f"load average of the minute before {os.getloadavg()[0]:.1f}. The share of a core is the server's over "
        f"{WATCH_S:.0f} s with {TABS} streams of one session, less the same without them; the thread that ticks, whose "
        "own needs vary by more than that, is not in it.",
        "",
        "| figure | measured | target |",
        "|---|---|---|",
        *(f"| {row.what} | {row.value} | {row.target} |" for row in rows),
        END,
    ]
    return "\n".join(lines)


def put(page: str, told: str) -> str:
    """The page with this section instead of the one that it had, or before the simulator's."""
    return gpu.put(page, told, BEGIN, END)


@contextmanager
def _fleet(*options: str) -> Iterator[tuple[psutil.Popen, int]]:
    port = free_port()
    command = (sys.executable, "-m", "tests.fakes.big_fleet", "--port", str(port), "--quiet", *options)
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(port), 60, "the fleet answers")
        yield process, port
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    try:
        return bool(_asked(port, "/"))
    except OSError:
        return False


def _asked(port: int, path: str) -> str:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path, headers=TOKEN)
        answer = connection.getresponse()
        return answer.read().decode() if answer.status == 200 else ""


def _opened(browser: Browser, port: int) -> Page:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{port}/fake/login?next=/healthz")
    return page


def _load(browser: Browser, port: int) -> tuple[float, list[list[float]]]:
    """First paint, and what was loaded: name, bytes over the wire, bytes, first byte, request."""
    page = _opened(browser, port)
    page.goto(f"http://127.0.0.1:{port}/", wait_until="load")
    page.wait_for_function(f"{_PAINT} !== undefined")
    found = (float(page.evaluate(_PAINT)), page.evaluate(_LOADED))
    page.context.close()
    return found


def _updates(browser: Browser, port: int) -> list[float]:
    page = _opened(browser, port)
    page.goto(f"http://127.0.0.1:{port}/", wait_until="load")
    page.evaluate(_UPDATE)  # the first one may come before the stream is there
    return [float(page.evaluate(_UPDATE)) for _ in range(UPDATES)]


@contextmanager
def _tabs(port: int) -> Iterator[None]:
    """So many streams as the fleet page opens them, each read as it comes."""
    asked = f"GET /live?view=fleet HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {_session(port)}\r\n\r\n"
    with ExitStack() as held:
        for _ in range(TABS):
            stream = held.enter_context(socket.create_connection(("127.0.0.1", port)))
            stream.sendall(asked.encode())
            if b" 200 " not in (head := stream.recv(4096)):
                sys.exit(f"no stream: {head!r}")
            reader = threading.Thread(target=_drain, args=(stream,))
            reader.start()
            held.callback(reader.join)
            held.callback(stream.shutdown, socket.SHUT_RDWR)
        time.sleep(5)  # what begins is not idle yet
        yield


def _session(port: int) -> str:
    """Its cookie."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", "/fake/login")
        return str(connection.getresponse().headers["Set-Cookie"]).partition(";")[0]


def _drain(stream: socket.socket) -> None:
    while stream.recv(65536):
        pass


def _share(process: psutil.Popen, but: int) -> float:
    """Of a core, for all threads of it but that one."""
    before, began = _spent(process, but), time.monotonic()
    time.sleep(WATCH_S)
    after, took = _spent(process, but), time.monotonic() - began
    return (after - before) / took


def _spent(process: psutil.Popen, but: int) -> float:
    """Seconds. A thread that ended takes its own along: those of the server stay."""
    return sum(float(one.user_time + one.system_time) for one in process.threads() if one.id != but)


if __name__ == "__main__":
    print(section(Console(stderr=True)))
