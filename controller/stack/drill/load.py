"""The drill's own load: clients that keep asking the gateway, and how each of their requests ended.

Runs in a thread with an event loop of its own, so that the drill itself can wait for other things.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType

import aiohttp

from controller.stack.drill.facts import Ending, Request

_TOKENS = 12
_MOST = 100_000  # requests of one drill
_PATIENCE_S = 120.0  # for one answer
_REFUSED_PAUSE_S = 0.2  # after a failure at once: a gateway that is down must not be hammered
_DONE = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask, with how many clients, and until when on the monotonic clock at the latest."""

    url: str  # of the gateway, without /v1
    model: str
    clients: int
    deadline_s: float
    key: str = ""  # empty: the pool is open


class Load:
    """`clients` tasks with one request at a time each, while the body of the `with` runs. Every second one streams.

    Leaving the body waits for the requests that are under way, each for at most 120 s; an exception does not wait.
    Times are on the monotonic clock.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._requests: list[Request] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), name="drill-load", daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._hurry.set()
        self.stop()

    def stop(self) -> None:
        """Send nothing more, and wait for what is under way. Idempotent."""
        self._stop.set()
        self._thread.join()

    def ended(self) -> list[Request]:
        """The requests that ended so far."""
        return list(self._requests)  # one step of the interpreter: whole, whatever the other thread does

    async def _all(self) -> None:
        # A connection for each request, as most users have one: one that is kept says nothing about the listener.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            tasks = [asyncio.create_task(self._client(session, number)) for number in range(self._target.clients)]
            watch = asyncio.create_task(self._watch(tasks))
            await asyncio.gather(*tasks, return_exceptions=True)
            watch.cancel()

    async def _watch(self, tasks: list[asyncio.Task[None]]) -> None:
        while not self._hurry.is_set():
            await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()

    async def _client(self, session: aiohttp.ClientSession, place: int) -> None:
        while not self._stop.is_set() and time.monotonic() < self._target.deadline_s:
            number = next(self._numbers)
            if number >= _MOST:
                return
            request = await self._ask(session, number, streamed=place % 2 == 0)
            self._requests.append(request)
            if request.ending is Ending.FAILED:
                await asyncio.sleep(_REFUSED_PAUSE_S)

    async def _ask(self, session: aiohttp.ClientSession, number: int, *, streamed: bool) -> Request:
        sent_s, first_s, why = time.monotonic(), None, "it ended without an answer"
        try:
            async with self._answer(session, number, streamed) as answer:
                read = b""
                async for piece in answer.content.iter_any():
                    first_s = first_s or time.monotonic()
                    read = (read + piece)[-_LONGEST_TAIL:] if streamed else read + piece
                why = fault_of(answer.status, read, streamed=streamed)
        except TimeoutError:
            why = f"nothing came within {_PATIENCE_S:g} s"
        except (aiohttp.ClientError, OSError) as error:
            why = f"{type(error).__name__}: {error}"
        refused = why.startswith("status ")  # it has a body, and is no answer
        broken = Ending.FAILED if first_s is None or refused else Ending.CUT
        return Request(sent_s, first_s, time.monotonic(), broken if why else Ending.OK, streamed, why)

    @asynccontextmanager
    async def _answer(
        self, session: aiohttp.ClientSession, number: int, streamed: bool
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        body = {
            "model": self._target.model,
            "messages": [{"role": "user", "content": f"Tell me about the number {number}."}],
            "max_tokens": _TOKENS,
            "stream": streamed,
            "user": f"drill {number}",  # many users: one would have one replica
        }
        headers = {"Authorization": f"Bearer {self._target.key}"} if self._target.key else {}
        url = f"{self._target.url}/v1/chat/completions"
        async with session.post(url, json=body, headers=headers) as answer:
            yield answer


_LONGEST_TAIL = 4096


def fault_of(status: int, read: bytes, *, streamed: bool) -> str:
    """What is wrong with an answer that came to its end; empty for a good one. Pure."""
    if status != 200:
        return f"status {status}: {' '.join(read.decode(errors='replace').split())[:200]}"
    if streamed:
        return "" if _DONE in read else "the stream ended before it was done"
    try:
        whole = bool(json.loads(read)["choices"])
    except (ValueError, LookupError, TypeError):
        whole = False
    return "" if whole else "the answer is not whole"
