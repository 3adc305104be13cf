"""How many access-log lines the edge exporter takes: `python -m tests.bench.bench_edge`, by hand, never by pytest."""

from __future__ import annotations

import multiprocessing
import os
import random
import socket
import threading
import time

from exporters.edge.collect import EdgeStats
from exporters.edge.serve import EdgeExporter, EdgeOptions, kernel_drops

REPLICAS = 300
KEYS = 1000
LINES = 200_000


def measure() -> dict[str, float]:
    """Lines per second of one core: counting alone, and with the socket (CPU time of this process, sender apart)."""
    return {"collect_lines_per_s": _collect(), **_through_socket()}


def _lines(count: int) -> list[bytes]:
    chance = random.Random(1)
    template = (
        '<190>Nov 23 01:52:30 stoker: {"pool":"smollm2","replica":"smollm2-%d","status":"200","duration":%.3f,'
        '"header_times":"-, %.3f","response_times":"0.001, %.3f","tried":"127.0.0.1:9001","bytes":%d,'
        '"key":"key_%012x","plan":"%s","tokens_in":"%d","tokens_out":"%d","cache":"%s","layer":"nginx","refused":""}'
    )
    lines = []
    for _ in range(count):
        first, whole = chance.expovariate(3), chance.expovariate(0.5)
        times = (chance.randrange(REPLICAS), first + whole, first, first + whole, chance.randrange(100, 9999))
        key, cache = chance.randrange(KEYS), "HIT" if chance.random() < 0.1 else "MISS"
        tokens = (chance.randrange(1, 4000), chance.randrange(1, 1000))
        lines.append((template % (*times, key, ("gold", "free")[key % 2], *tokens, cache)).encode())
    return lines


def _collect() -> float:
    stats, lines = EdgeStats(), _lines(20_000)
    start = time.process_time()
    for _ in range(LINES // len(lines)):
        for line in lines:
            stats.take(line, time.monotonic(), time.time())
    assert stats.malformed == 0
    return LINES / (time.process_time() - start)


def _through_socket() -> dict[str, float]:
    """Send 20,000 lines per second for ten seconds while the page is scraped each second."""
    log_port = _free_port(socket.SOCK_DGRAM)
    options = EdgeOptions("127.0.0.1", _free_port(socket.SOCK_STREAM), log_port, "http://127.0.0.1:9")
    exporter = EdgeExporter(options)
    sender = multiprocessing.get_context("spawn").Process(target=_send, args=(log_port, 20_000, 10))
    sender.start()
    stop = threading.Event()
    scraper = threading.Thread(target=_scrape, args=(options.port, stop))
    scraper.start()
    while exporter._stats.lines == 0:
        stop.wait(0.01)
    cpu, began = time.process_time(), time.monotonic()
    sender.join()
    stop.wait(0.5)
    cpu, wall = time.process_time() - cpu, time.monotonic() - began
    stop.set()
    scraper.join()
    taken, lost = exporter._stats.lines, kernel_drops(exporter._socket) or 0
    exporter.close()
    return {
        "socket_lines_taken": float(taken),
        "socket_lines_lost": float(lost),
        "socket_core_share": cpu / wall,
        "socket_lines_per_core_s": taken / cpu,
    }


def _send(port: int, per_s: int, seconds: int) -> None:
    lines, step = _lines(20_000), 0.005
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", port))
    start, sent = time.monotonic(), 0
    while sent < per_s * seconds:
        due = min(int((time.monotonic() - start) * per_s), per_s * seconds)
        for i in range(sent, due):
            sock.send(lines[i % len(lines)])
        sent = due
        time.sleep(step)
    sock.close()


def _scrape(port: int, stop: threading.Event) -> None:
    import urllib.request

    while not stop.wait(1.0):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            answer.read()


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


if __name__ == "__main__":
    print(f"{os.cpu_count()} cores")
    for name, value in measure().items():
        print(f"{name:30} {value:12.2f}")
