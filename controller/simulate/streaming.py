"""One streamed request to an OpenAI-compatible server, with the time of every piece of the answer."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from controller.simulate.errors import SimulateError

Clock = Callable[[], float]

_LONGEST_LINE = 1 << 20
_LONGEST_ANSWER = 1 << 20


class CalibrateError(SimulateError):
    """The server cannot be measured."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A streamed answer. `token_at_s` are the times of its pieces on the same clock as `sent_at_s`."""

    sent_at_s: float
    token_at_s: tuple[float, ...]
    prompt_tokens: int | None  # as the server counts
    output_tokens: int  # as the server counts, else the number of pieces

    @property
    def first_token_s(self) -> float:
        """From sending to the first piece."""
        return self.token_at_s[0] - self.sent_at_s


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask. `deadline_at_s`, on its clock, is the end of all patience."""

    host: str
    port: int
    secure: bool
    path: str
    deadline_at_s: float
    model: str = ""
    patience_s: float = 60.0  # between two pieces
    clock: Clock = time.monotonic

    def connect(self) -> http.client.HTTPConnection:
        """A connection of its own; nothing is sent yet."""
        left_s = self.deadline_at_s - self.clock()
        if left_s <= 0:
            raise CalibrateError("measuring takes too long; allow more time, or measure a server without other load")
        kind = http.client.HTTPSConnection if self.secure else http.client.HTTPConnection
        return kind(self.host, self.port, timeout=min(self.patience_s, left_s))

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.host}:{self.port}{self.path}"


class HttpClient:
    """Asks over HTTP, each request on its own connection."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def alone(self, prompt: str, tokens: int) -> Timed:
        """One request."""
        return stream(self._server, prompt, tokens)

    def at_once(self, prompts: Sequence[str], tokens: int) -> list[Timed]:
        """All of them at the same time."""
        with ThreadPoolExecutor(len(prompts), thread_name_prefix="calibrate") as pool:
            return list(pool.map(lambda prompt: stream(self._server, prompt, tokens), prompts))

    def beside(self, decoding: str, tokens: int, prompt: str) -> tuple[Timed, Timed]:
        """One request, and as soon as it decodes a second one for a single token."""
        begun = threading.Event()
        with ThreadPoolExecutor(1, thread_name_prefix="calibrate") as pool:
            first = pool.submit(stream, self._server, decoding, tokens, begun)
            begun.wait(self._server.patience_s)
            second = stream(self._server, prompt, 1)
            return first.result(), second


def server_at(url: str, deadline_at_s: float) -> Server:
    """Understand a base URL, with or without `/v1`."""
    parts = urlsplit(url if "//" in url else f"http://{url}")
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise CalibrateError(f"{url!r} is no address of a server; give one such as http://127.0.0.1:8000")
    secure = parts.scheme == "https"
    path = parts.path.rstrip("/").removesuffix("/v1")
    return Server(parts.hostname, port or (443 if secure else 80), secure, path, deadline_at_s)


def first_model(server: Server) -> str:
    """The name of the model that it serves."""
    with _answer(server, "GET", "/v1/models", None) as answer:
        body = answer.read(_LONGEST_ANSWER)
    try:
        name = json.loads(body)["data"][0]["id"]
    except (ValueError, LookupError, TypeError):
        name = None
    if not isinstance(name, str):
        raise CalibrateError(f"{server} lists no model under /v1/models; give an OpenAI-compatible server")
    return name


def stream(server: Server, prompt: str, max_tokens: int, begun: threading.Event | None = None) -> Timed:
    """Send one request and read its answer. Blocks until its end; `begun` is set with its first token, or its failure.

    Raises:
        CalibrateError: no answer in time, an answer that is an error, or one without a token.
    """
    body = {
        "model": server.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,  # vLLM, SGLang and llama.cpp know it; others leave it aside
    }
    seen = _Seen(begun or threading.Event(), server.clock())  # the connection is made after it, as users' are
    try:
        with _answer(server, "POST", "/v1/chat/completions", json.dumps(body)) as answer:
            return _read(server, answer, seen)
    finally:
        seen.begun.set()


@contextmanager
def _answer(server: Server, method: str, path: str, body: str | None) -> Iterator[http.client.HTTPResponse]:
    """A good answer's head is there; its body is read within."""
    connection = server.connect()
    try:
        connection.request(method, f"{server.path}{path}", body, {"Content-Type": "application/json"})
        with connection.getresponse() as answer:
            if answer.status != http.client.OK:
                said = " ".join(answer.read(300).decode("utf-8", "replace").split())
                raise CalibrateError(f"{server} answers {answer.status}: {said}; give one that takes such a request")
            yield answer
    except (OSError, http.client.HTTPException) as error:
        raise _no_answer(server, error) from error
    finally:
        connection.close()


def _no_answer(server: Server, error: Exception) -> CalibrateError:
    why = "nothing came in time" if isinstance(error, TimeoutError) else str(error) or "it hung up"
    return CalibrateError(f"{server} gives no whole answer: {why}; start the server, or give its address")


@dataclass(slots=True)
class _Seen:
    begun: threading.Event
    sent_at_s: float
    at_s: list[float] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)


def _read(server: Server, answer: http.client.HTTPResponse, seen: _Seen) -> Timed:
    for line in _lines(server, answer):
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            break
        _take(server, data, seen)
    if not seen.at_s:
        raise CalibrateError(f"{server} streams no token; give a server whose model answers a chat")
    tokens = _count(seen.usage, "completion_tokens") or len(seen.at_s)
    return Timed(seen.sent_at_s, tuple(seen.at_s), _count(seen.usage, "prompt_tokens"), tokens)


def _lines(server: Server, answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while line := answer.readline(_LONGEST_LINE):
        if server.clock() > server.deadline_at_s:
            raise CalibrateError("measuring takes too long; allow more time, or measure a server without other load")
        yield line


def _take(server: Server, data: bytes, seen: _Seen) -> None:
    """Note the time of a piece that has text; the first one often has only the role."""
    now = server.clock()
    try:
        chunk = json.loads(data)
        delta = chunk["choices"][0]["delta"] if chunk.get("choices") else {}
        usage = chunk.get("usage")
        text = delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise CalibrateError(f"{server} streams what is no part of a chat; give an OpenAI server") from error
    if text:
        seen.at_s.append(now)
        seen.begun.set()
    if isinstance(usage, dict):
        seen.usage = usage


def _count(usage: dict[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
