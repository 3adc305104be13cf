"""Requests that are generated: right ones, and ones that are changed in their structure or their bytes.

Request number N is always the same one.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

from tests.integration.gateway_access import key
from tests.integration.gateway_raw import chunked, request

COMPLETIONS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize")
PATHS = (*COMPLETIONS * 4, "/v1/models", "/v1/models/smollm2")
ODD_PATHS = (
    "/",
    "/v1",
    "//",
    "/v1/models/%00",
    "/v1/models/%ff",
    "/_error/503",
    "/@refused",
    "/../x",
    "/v1/" * 90,
    "*",
)
ODD_METHODS = ("GET", "GET", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "X" * 40, "M-SEARCH")
METHODS = ("POST",) * 70 + ODD_METHODS
HEADERS = (
    "Content-Type: application/json",
    "Accept: */*",
    "Accept-Encoding: gzip, br",
    "Connection: keep-alive",
    "Connection: close",
    "Connection: upgrade",
    "Upgrade: websocket",
    "Expect: 100-continue",
    "Cache-Control: no-cache",
    "Cache-Control: no-store, no-cache, max-age=-1",
    "If-None-Match: *",
    "If-Match: x",
    "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
    "Range: bytes=0-0,1-1",
    "Content-Encoding: gzip",
    "X-Request-Id: abc",
    "X-Request-Id: \t\"'{}$remote_addr",
    "X-User-Id: somebody",
    "X-User-Id: \xff\xfe\x80",
    "X-Forwarded-For: 1.2.3.4, ::1, x",
    "X-Stoker-Pool: other",
    "X-Stoker-User: ${stoker_key}",
    "X-Accel-Redirect: /v1/models",
    "X-HTTP-Method-Override: GET",
    "Transfer-Encoding: identity",
    "Content-Length: 5",
    "Content-Length: 99999999999999999999",
    "Host: other",
    "Cookie: " + "a=b; " * 100,
    "X-Long: " + "x" * 9000,
    "no colon",
    ": no name",
    " folded",
    "Trailer: X-A",
    "TE: trailers, deflate;q=0.5",
    "Referer: http://[::1]:99999/",
)
VALUES: tuple[object, ...] = (
    *(None, True, False, 0, -0.0, 1, -1, 2**53, 2**63, 1e308),
    *("", "x", "\0", "\ud800", "\U0001f600", "\u2028", "'\"\\;{}$", "x" * 3000),
    *("smollm2", "default", "org/Other:1b", "SMOLLM2", "gpt-small"),
    *([], [[]], [None], [{"role": "user"}]),
    *({}, {"": ""}, {"include_usage": True}, {"include_usage": 1}, {"__proto__": 1}),
)
NAMES = ("model", "messages", "user", "stream", "stream_options", "temperature", "seed", "n", "", "__proto__", "\0")
TOKENS = (
    *(b"\0", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b":", b" ", b"\t", b"%00", b"%", b"$remote_addr"),
    *(b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\\u0000", b"\\ud83d"),
    *(b"{", b"}", b"[" * 40, b'"', b"\\", b"1e999", b"-", b"x" * 5000),
    *(
        b"HTTP/1.1",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ),
)


@dataclass(frozen=True)
class Case:
    """One generated request."""

    number: int
    data: bytes
    framed: bool  # where it ends is beyond doubt: exactly one answer comes

    def __str__(self) -> str:
        return f"request {self.number}: {self.data[:2000]!r}"


def made(number: int) -> Case:
    """Request `number`."""
    chance = random.Random(number)
    body = bodies(chance)
    method, path = chance.choice(METHODS), chance.choice(PATHS)
    headers = [f"Authorization: Bearer {key(chance.choice((0, 0, 0, 0, 1, 2, 3, 4)))}"] if chance.random() < 0.9 else []
    if chance.random() < 0.75:
        return Case(number, framed(chance, body, method, path, headers), framed=True)
    path = chance.choice((path, path, *ODD_PATHS))
    headers += chance.choices(HEADERS, k=chance.randrange(6))
    data = wrapped(chance, body, method, path, headers)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 5))):
        data = mutated(chance, data, chance.randrange(data.find(b"\r\n\r\n") + 4))
    return Case(number, data, framed=False)


def framed(chance: random.Random, body: bytes, method: str, path: str, headers: list[str]) -> bytes:
    safe = [line for line in chance.choices(HEADERS[:20], k=chance.randrange(3)) if not line.startswith("Connection")]
    return wrapped(chance, body, method, path, [*headers, *safe])


def wrapped(chance: random.Random, body: bytes, method: str, path: str, headers: list[str]) -> bytes:
    lines = [line.encode("latin-1") for line in headers]
    if chance.random() < 0.2:
        cuts = sorted(chance.randrange(1, len(body)) for _ in range(3)) if len(body) > 1 else []
        ends = [*cuts, len(body)]
        chunks = [body[start:end] for start, end in zip([0, *cuts], ends, strict=True) if start < end]
        head = request(b"", *lines, "Transfer-Encoding: chunked", method=method, path=path, length=False)
        return head + chunked(*chunks)
    return request(body, *lines, method=method, path=path)


def bodies(chance: random.Random) -> bytes:
    """JSON that is changed in its structure, in its bytes, or not at all."""
    value: dict[str, object] = {
        "model": chance.choice(("smollm2", "org/Other:1b", "gpt-small", "nobody")),
        "messages": [{"role": "user", "content": "x" * chance.choice((1, 20, 3000))}],
    }
    for name, choices in (("stream", (True, False)), ("temperature", (0, 0.7)), ("user", ("a", "b"))):
        if chance.random() < 0.3:
            value[name] = chance.choice(choices)
    for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
        value[chance.choice(NAMES)] = chance.choice(VALUES)
    text = json.dumps(value, ensure_ascii=chance.random() < 0.7)
    if chance.random() < 0.1:
        text = text[:-1] + ", " + text[1:]  # every key twice
    body = text.encode("utf-8", "surrogatepass")
    for _ in range(chance.choice((0, 0, 0, 0, 0, 0, 1, 1, 2, 8))):
        body = mutated(chance, body, chance.randrange(len(body) + 1))
    return body


def mutated(chance: random.Random, data: bytes, at: int) -> bytes:
    """Changed in one place."""
    length = chance.choice((1, 1, 2, 8, 40))
    match chance.randrange(6):
        case 0:
            return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        case 1:
            return data[:at] + data[at + length :]
        case 2:
            return data[: at + length] + data[at:]
        case 3:
            return data[:at]
        case _:
            return data[:at] + chance.choice(TOKENS) + data[at:]
