"""The service's HTTP: `GET` and `PUT /answers/KEY`, and `GET /metrics`.

GET /answers/KEY          200: an answer, its content type, and in X-Remaining the seconds it is good for; 404: a miss
PUT /answers/KEY?ttl=30   204: stored; 413: it is larger than answers may be
either                    503: Redis does not answer, or is given a rest; said at once, or after its time limit
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gateway.hotcache.answers import Answer, Answers, Unavailable

_PATH = re.compile(r"/answers/([0-9a-f]{64})")
_LONGEST_TTL_S = 86400
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_KIND = "application/json"  # of an answer that had none

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Reply:
    """What goes back. `result` is the metric's word for it."""

    status: int
    result: str
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Metrics:
    """What the service says of itself. Hits per pool are in the gateway's access log, and so in the edge exporter's."""

    def __init__(self, answers: Answers) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "stoker_hotcache_requests",
            "Requests of nginx by operation (get, put) and result (hit, miss, stored, too_large, malformed, error).",
            ("operation", "result"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "stoker_hotcache_seconds", "How long they took.", ("operation",), buckets=_SECONDS, registry=self.registry
        )
        available = Gauge(
            "stoker_hotcache_available", "1 while Redis is asked, 0 while it is given a rest.", registry=self.registry
        )
        available.set_function(lambda: float(answers.available))


class Service:
    """An ASGI application."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._metrics = Metrics(answers)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http":
            await _say(send, await self._reply(scope, receive))

    async def _reply(self, scope: Message, receive: Receive) -> _Reply:
        method, path = scope["method"], _PATH.fullmatch(scope["path"])
        if path is not None and method in ("GET", "PUT"):
            began = time.perf_counter()
            operation = method.lower()
            reply = await (self._get(path[1]) if method == "GET" else self._put(path[1], scope, receive))
            self._metrics.requests.labels(operation, reply.result).inc()
            self._metrics.seconds.labels(operation).observe(time.perf_counter() - began)
            return reply
        if method == "GET" and scope["path"] == "/metrics":
            kind = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
            return _Reply(200, "", generate_latest(self._metrics.registry), (kind,))
        return _Reply(405 if path is not None else 404, "")

    async def _get(self, key: str) -> _Reply:
        try:
            kept = await self._answers.get(key)
        except Unavailable:
            return _Reply(503, "error")
        if kept is None:
            return _Reply(404, "miss")
        headers = ((b"content-type", kept.answer.kind.encode("latin-1")), (b"x-remaining", b"%d" % kept.remaining_s))
        return _Reply(200, "hit", kept.answer.body, headers)

    async def _put(self, key: str, scope: Message, receive: Receive) -> _Reply:
        ttl = parse_qs(scope["query_string"].decode("latin-1")).get("ttl", [""])[0]
        if re.fullmatch(r"[0-9]{1,5}", ttl) is None or not 0 < int(ttl) <= _LONGEST_TTL_S:
            return _Reply(400, "malformed")
        body = await _body(receive, self._answers.max_answer_bytes)
        if not body:
            return _Reply(413, "too_large") if body is None else _Reply(400, "malformed")
        kind = dict(scope["headers"]).get(b"content-type", _KIND.encode()).decode("latin-1")
        try:
            await self._answers.put(key, Answer(kind, body), int(ttl))
        except Unavailable:
            return _Reply(503, "error")
        return _Reply(204, "stored")


async def _body(receive: Receive, most: int) -> bytes | None:
    """All of it; None where it is larger than that, empty where the client left."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        body += message.get("body", b"")
        if len(body) > most:
            return None
        if not message.get("more_body", False):
            return bytes(body)


async def _say(send: Send, reply: _Reply) -> None:
    headers = [*reply.headers]
    if reply.status != 204:
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
