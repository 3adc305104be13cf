"""A client that counts: what it asked, how each request ended, and how long each took by its own clock."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.stack import Stack

_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Asked:
    """One request as its client saw it. `first_byte_s` and `duration_s` begin before it was sent."""

    status: int
    first_byte_s: float  # the answer's head
    duration_s: float
    kept: bool  # it came from the gateway's cache
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass
class Counted:
    """All of them."""

    asked: list[Asked] = field(default_factory=list)

    def statuses(self) -> dict[str, int]:
        """How many ended with each status."""
        return dict(Counter(str(one.status) for one in self.asked))

    def tokens(self) -> dict[str, int]:
        """What the answers say that engines read and wrote; of an answer that was kept, nothing."""
        made = [one for one in self.asked if not one.kept]
        return {"in": sum(one.tokens_in for one in made), "out": sum(one.tokens_out for one in made)}

    def answered(self) -> list[Asked]:
        """Those that were not refused."""
        return [one for one in self.asked if one.status == 200]


def question(text: str, **more: Any) -> dict[str, Any]:
    """The body of a request; a stream tells its usage."""
    body = {"model": "smollm2", "messages": [{"role": "user", "content": text}], "max_tokens": 8, **more}
    return {**body, "stream_options": {"include_usage": True}} if body.get("stream") else body


def ask(stack: Stack, body: Mapping[str, Any] | bytes, key: str | None) -> Asked:
    """Send it on a connection of its own, and read the answer to its end."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    connection = http.client.HTTPConnection("127.0.0.1", stack.port("gateway"), timeout=_TIMEOUT_S)
    try:
        connection.connect()
        begun = time.monotonic()
        connection.request("POST", "/v1/chat/completions", sent, headers)
        with connection.getresponse() as answer:
            first_byte = time.monotonic() - begun
            text = answer.read().decode()
            duration = time.monotonic() - begun
            kept = answer.headers.get("X-Cache") == "HIT"
            usage = _usage(text) if answer.status == 200 else {}
            tokens = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
            return Asked(answer.status, first_byte, duration, kept, *tokens)
    finally:
        connection.close()


def ask_all(stack: Stack, bodies: Sequence[Mapping[str, Any]], key: str | None, *, at_once: int) -> Counted:
    """Send all of them, so many at once; returns when all have ended."""
    left, counted, lock = iter(bodies), Counted(), threading.Lock()

    def run() -> None:
        while True:
            with lock:
                body = next(left, None)
            if body is None:
                return
            done = ask(stack, body, key)
            with lock:
                counted.asked.append(done)

    threads = [threading.Thread(target=run) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counted.asked) == len(bodies), "a client failed"
    return counted


def _usage(text: str) -> dict[str, int]:
    """Of an answer in one piece, or of the event of a stream that has it."""
    if text.startswith("data:"):
        events = [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data: {")]
        found: dict[str, int] = [event["usage"] for event in events if event.get("usage")][-1]
        return found
    whole: dict[str, int] = json.loads(text)["usage"]
    return whole
