"""Requests through nginx against the same requests straight to the replica, in turns, in one run."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field

import aiohttp

from tests.e2e.stack import Stack

_CLIENTS, _REQUESTS, _ROUNDS = 4, 150, 4
_BODY = {"model": "smollm2", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}


@dataclass
class Way:
    """One of the two ways, and what was seen on it."""

    url: str
    rates: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def measure(stack: Stack) -> dict[str, float]:
    """Requests per second and 99th percentile of both ways, and nginx's part of it as ratios. One replica serves."""
    (replica,) = stack.replicas()
    straight = Way(f"http://{replica['address']}/v1/chat/completions")
    through = Way(f"http://127.0.0.1:{stack.port('gateway')}/v1/chat/completions")
    asyncio.run(_turns(straight, through))
    return {
        "straight_rps": statistics.median(straight.rates),
        "through_rps": statistics.median(through.rates),
        "rps_ratio": statistics.median(b / a for a, b in zip(straight.rates, through.rates, strict=True)),
        "straight_p99_ms": _p99(straight) * 1000,
        "through_p99_ms": _p99(through) * 1000,
        "p99_ratio": _p99(through) / _p99(straight),
    }


async def _turns(*ways: Way) -> None:
    async with aiohttp.ClientSession() as session:
        for way in ways:
            await _round(session, Way(way.url))  # warm
        for _ in range(_ROUNDS):
            for way in ways:
                await _round(session, way)


async def _round(session: aiohttp.ClientSession, way: Way) -> None:
    left = iter(range(_REQUESTS))

    async def client() -> None:
        for _ in left:
            began = time.perf_counter()
            async with session.post(way.url, json=_BODY) as answer:
                await answer.read()
                assert answer.status == 200
            way.seconds.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    way.rates.append(_REQUESTS / (time.perf_counter() - began))


def _p99(way: Way) -> float:
    return statistics.quantiles(way.seconds, n=100)[98]
