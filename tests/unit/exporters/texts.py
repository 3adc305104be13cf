"""Datagrams as nginx sends them, and the page that comes of them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

from exporters.edge.collect import EdgeStats
from exporters.edge.families import families

HEADER = b"<190>Nov 23 01:52:30 stoker: "
KEY = "key_0123456789ab"


def line(**changes: object) -> bytes:
    """A finished request, told by a gateway that knows nothing of keys."""
    values = {
        "pool": "smollm2",
        "replica": "smollm2-1",
        "status": "200",
        "duration": 0.512,
        "header_times": "0.312",
        "response_times": "0.510",
        "tried": "127.0.0.1:9001",
        "bytes": 99,
    }
    return HEADER + json.dumps({**values, **changes}).encode()


def access(**changes: object) -> bytes:
    """A finished request with all that is told of who asked."""
    values = {
        "key": KEY,
        "plan": "gold",
        "tokens_in": "12",
        "tokens_out": "34",
        "cache": "",
        "layer": "",
        "refused": "",
    }
    return line(**{**values, **changes})


def failed(replicas: object = "smollm2-2", pool: object = "smollm2") -> bytes:
    """Attempts in vain."""
    return HEADER + json.dumps({"pool": pool, "failed": replicas}).encode()


class _Page(Collector):
    def __init__(self, stats: EdgeStats, now: float) -> None:
        self._stats, self._now = stats, now

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from families(self._stats, self._now)


def page(stats: EdgeStats, now: float) -> str:
    """What a scrape gets."""
    registry = CollectorRegistry()
    registry.register(_Page(stats, now))
    return generate_latest(registry).decode()


def samples(stats: EdgeStats, now: float, *names: str) -> list[str]:
    """Of the page, the samples of these names."""
    return [text for text in page(stats, now).splitlines() if text.startswith(tuple(f"{name}{{" for name in names))]
