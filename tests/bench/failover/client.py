"""The load, in a process of its own: clients that ask one request at a time, and a line of JSON for each that ended.

Ends by itself after `--seconds` or `--limit` requests; SIGTERM lets what is in flight end and asks no more.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
import sys
import time
from collections.abc import Iterator

import aiohttp

from tests.bench.failover.figures import TIMED_OUT

_PAUSE_S = 1.0  # after a failure, about what an answer takes: else one that refuses at once fails thousands


def main() -> None:
    """Ask until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--limit", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--patience", type=float, default=20.0, help="seconds that a client waits for a whole answer")
    asyncio.run(_run(parser.parse_args()))


async def _run(given: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.call_later(given.seconds, stop.set)
    turns = iter(range(given.limit))
    timeout = aiohttp.ClientTimeout(total=given.patience)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        asker = Asker(session, f"{given.url}/v1/chat/completions", given.tokens)
        await asyncio.gather(*(asker.ask_on(number, turns, stop) for number in range(given.clients)))


class Asker:
    """Asks the gateway. Every second client streams."""

    def __init__(self, session: aiohttp.ClientSession, url: str, tokens: int) -> None:
        self._session, self._url, self._tokens = session, url, tokens
        self._numbers = itertools.count()

    async def ask_on(self, client: int, turns: Iterator[int], stop: asyncio.Event) -> None:
        """One request after the other until `stop` is set or no turn is left."""
        while not stop.is_set() and next(turns, None) is not None:
            ended = await self._ask(stream=client % 2 == 0)
            sys.stdout.write(json.dumps(ended) + "\n")
            sys.stdout.flush()
            if ended["error"]:
                await asyncio.sleep(_PAUSE_S)

    async def _ask(self, *, stream: bool) -> dict[str, object]:
        question = f"Tell me about the number {next(self._numbers)}."
        body = {"model": "smollm2", "messages": [{"role": "user", "content": question}], "max_tokens": self._tokens}
        body["user"] = question  # many users
        first: list[float] = []
        began = time.monotonic()
        try:
            async with self._session.post(self._url, json=body | {"stream": stream}) as answer:
                error = await _read(answer, first, stream=stream)
        except TimeoutError:
            error = TIMED_OUT
        except aiohttp.ClientError as failure:
            error = type(failure).__name__
        return {"began": began, "first": first[0] if first else None, "ended": time.monotonic(), "error": error}


async def _read(answer: aiohttp.ClientResponse, first: list[float], *, stream: bool) -> str:
    """What went wrong, or nothing. `first` gets the time of the first byte."""
    if answer.status != 200:
        await answer.read()
        return f"HTTP {answer.status}"
    end = b""
    async for piece in answer.content.iter_any():
        if not first:
            first.append(time.monotonic())
        end = (end + piece)[-64:]
    if stream and b"data: [DONE]" not in end:
        return "the stream ended before its end"
    return "" if first else "an empty answer"


if __name__ == "__main__":
    main()
