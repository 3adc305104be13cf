"""Clients that keep asking, some streaming and some not, and a record of how each request ended."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from types import TracebackType

import openai

from tests.e2e.stack import Stack


@dataclass
class Record:
    """How the requests ended. `failed` had not begun to stream; `cut` had."""

    ok: int = 0
    failed: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)


class Load:
    """`clients` threads, each with one request at a time, for as long as the body of the `with` runs.

    Every second client streams. Bounded: `limit` requests in all, each with its time-out.
    """

    def __init__(self, stack: Stack, clients: int, *, tokens: int = 12, limit: int = 5000) -> None:
        self._stack, self._clients, self._tokens = stack, clients, tokens
        self._left = iter(range(limit))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.record = Record()

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(self._clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def done(self) -> int:
        """Requests that ended, however."""
        with self._lock:
            return self.record.ok + len(self.record.failed) + len(self.record.cut)

    def _run(self, number: int) -> None:
        client = self._stack.client()
        for turn in itertools.count():
            with self._lock:
                if self._stop.is_set() or next(self._left, None) is None:
                    break
            self._ask(client, turn, number)
        client.close()

    def _ask(self, client: openai.OpenAI, turn: int, number: int) -> None:
        question, stream, begun = f"Tell me about the number {number * 1000 + turn}.", number % 2 == 0, False
        try:
            if stream:
                for _ in client.chat.completions.create(
                    model="smollm2",
                    messages=[{"role": "user", "content": question}],
                    max_tokens=self._tokens,
                    user=question,  # many users
                    stream=True,
                ):
                    begun = True
            else:
                client.chat.completions.create(
                    model="smollm2",
                    messages=[{"role": "user", "content": question}],
                    max_tokens=self._tokens,
                    user=question,
                )
        except Exception as error:  # noqa: BLE001 - whatever a client may see is recorded
            with self._lock:
                said = f"{error!r} because of {error.__cause__!r} ({'streamed' if stream else 'whole'}, turn {turn})"
                (self.record.cut if begun else self.record.failed).append(said)
        else:
            with self._lock:
                self.record.ok += 1
