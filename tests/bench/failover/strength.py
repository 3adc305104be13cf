"""When a side is at full strength: so many replicas answer at their own ports and get requests through the gateway."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp

from inference_node.engines.contract import EngineSilent
from inference_node.engines.llamacpp import parse_metrics, tokens_under_way
from tests.bench.failover.side import REPLICAS, Place, Side

_ROUND_S = 0.25
_ANSWER_S = 1.0


async def reached(side: Side, deadline: float, wanted: int = REPLICAS) -> float | None:
    """The moment at which the side was at full strength, looking from now on; None where it was not by `deadline`.

    A replica counts from when it made tokens while it says that it is ready, until it does not answer. Nobody but
    the load, which goes through the gateway, asks it for tokens then. Looks four times a second.
    """
    watch = Watch()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_S)) as session:
        while (began := time.monotonic()) < deadline:
            places = side.places()
            watch.see(dict(zip(places, await asyncio.gather(*(look(session, at) for at in places)), strict=True)))
            if watch.serving() >= wanted:
                return time.monotonic()
            await asyncio.sleep(max(0.0, began + _ROUND_S - time.monotonic()))
    return None


class Watch:
    """Which replicas made tokens since they were last silent."""

    def __init__(self) -> None:
        self._before: dict[Place, int] = {}
        self._serving: set[Place] = set()

    def see(self, looks: dict[Place, int | None]) -> None:
        """One look at every replica: its tokens so far, or None where it is not ready or does not answer."""
        self._before = {place: self._before[place] for place in looks if place in self._before}
        for place, tokens in looks.items():
            if tokens is None:
                self._before.pop(place, None)
            elif tokens > self._before.setdefault(place, tokens):
                self._serving.add(place)
        self._serving &= self._before.keys()

    def serving(self) -> int:
        """How many serve."""
        return len(self._serving)


async def look(session: aiohttp.ClientSession, place: Place) -> int | None:
    """Tokens that the replica has made, asked at its own ports; None where it is not ready or does not answer."""
    try:
        status, metrics, slots = await asyncio.gather(
            _get(session, f"http://{place.launcher}/status"),
            _get(session, f"http://{place.engine}/metrics"),
            _get(session, f"http://{place.engine}/slots"),
        )
        said = json.loads(status)
        if said["phase"] != "ready" or not said["answering"]:
            return None
        return int(parse_metrics(metrics)["llamacpp:tokens_predicted_total"]) + tokens_under_way(json.loads(slots))
    except (aiohttp.ClientError, TimeoutError, EngineSilent, ValueError, KeyError):
        return None


async def _get(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as answer:
        answer.raise_for_status()
        return await answer.text()
