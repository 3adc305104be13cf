"""An engine's behaviour: llama.cpp's server, as far as clients can tell, with tokens that are words."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

from tests.fakes.engine import Exchange

WORDS = ("one", " two", " three", " four")
USAGE = {"prompt_tokens": 7, "completion_tokens": len(WORDS), "total_tokens": 7 + len(WORDS)}
LIMIT = "too long"  # a prompt that says so does not fit into the context


def llama(exchange: Exchange) -> None:
    """Answers one request."""
    asked: dict[str, Any] = json.loads(exchange.body)
    path = exchange.head.split(b" ")[1].decode()
    if LIMIT in json.dumps(asked):
        message = {"code": 400, "message": "the request exceeds the context size", "type": "exceed_context_size_error"}
        exchange.answer(json.dumps({"error": message}).encode(), "400 Bad Request")
    elif path == "/v1/embeddings":
        exchange.answer(json.dumps(_embeddings(asked)).encode())
    elif asked.get("stream"):
        _stream(exchange, list(_chunks(path, asked)))
    else:
        exchange.answer(json.dumps(_whole(path, asked)).encode())


def loading(exchange: Exchange) -> None:
    """What it says while it loads its model."""
    message = {"code": 503, "message": "Loading model", "type": "unavailable_error"}
    exchange.answer(json.dumps({"error": message}).encode(), "503 Service Unavailable")


def _envelope(asked: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1700000000, "model": asked["model"]}


def _whole(path: str, asked: dict[str, Any]) -> dict[str, Any]:
    text = "".join(WORDS)
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "logprobs": None}
    if path == "/v1/chat/completions":
        message = {"role": "assistant", "content": text}
        return {**_envelope(asked, "chat.completion"), "choices": [{**choice, "message": message}], "usage": USAGE}
    return {**_envelope(asked, "text_completion"), "choices": [{**choice, "text": text}], "usage": USAGE}


def _chunks(path: str, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    chat = path == "/v1/chat/completions"
    envelope = _envelope(asked, "chat.completion.chunk" if chat else "text_completion")
    for word in WORDS:
        part: dict[str, Any] = {"delta": {"content": word}} if chat else {"text": word}
        yield {**envelope, "choices": [{"index": 0, "finish_reason": None, **part}]}
    part = {"delta": {}} if chat else {"text": ""}
    yield {**envelope, "choices": [{"index": 0, "finish_reason": "stop", **part}]}
    if (asked.get("stream_options") or {}).get("include_usage"):
        yield {**envelope, "choices": [], "usage": USAGE}


def _stream(exchange: Exchange, chunks: list[dict[str, Any]]) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    exchange.send(head)
    for text in [*(json.dumps(chunk) for chunk in chunks), "[DONE]"]:
        event = b"data: %s\n\n" % text.encode()
        exchange.send(b"%x\r\n%s\r\n" % (len(event), event))
    exchange.send(b"0\r\n\r\n")


def _embeddings(asked: dict[str, Any]) -> dict[str, Any]:
    given = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    vectors: list[Any] = [[float(len(text)), 0.5] for text in given]
    if asked.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack("<2f", *vector)).decode() for vector in vectors]
    data = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(vectors)]
    usage = {"prompt_tokens": len(given), "total_tokens": len(given)}
    return {"object": "list", "model": asked["model"], "data": data, "usage": usage}
