"""The load of `make soak`, in a process of its own: the clients of `make bench-failover`, with more patience.

Asks until SIGTERM, or for `--seconds` at most; what is in flight then may end.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import signal

import aiohttp

from tests.bench.failover.client import Asker

# A request that two faults hit one after the other takes long; whether it fails is the question, not when we lose
# patience. The time-out of the common clients is longer still.
PATIENCE_S = 60.0


def main() -> None:
    """Ask until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    asyncio.run(_run(parser.parse_args()))


async def _run(given: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.call_later(given.seconds, stop.set)
    turns = iter(itertools.count())
    timeout, connector = aiohttp.ClientTimeout(total=PATIENCE_S), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        asker = Asker(session, f"{given.url}/v1/chat/completions", given.tokens)
        await asyncio.gather(*(asker.ask_on(number, turns, stop) for number in range(given.clients)))


if __name__ == "__main__":
    main()
