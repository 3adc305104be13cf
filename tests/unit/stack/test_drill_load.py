"""The drill's clients against a gateway that answers well, badly, half or not at all."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from controller.stack.drill.facts import Ending, Request
from controller.stack.drill.load import Load, Target, fault_of
from tests.waiting import wait_for

WHOLE = json.dumps({"choices": [{"message": {"content": "A tower."}}]}).encode()
STREAM = b'data: {"choices": []}\n\ndata: [DONE]\n\n'

Answer = Callable[[BaseHTTPRequestHandler, bool], None]


def good(handler: BaseHTTPRequestHandler, streamed: bool) -> None:
    """A whole answer, of either kind."""
    send(handler, 200, STREAM if streamed else WHOLE)


def busy(handler: BaseHTTPRequestHandler, streamed: bool) -> None:
    """An error with a body."""
    send(handler, 503, b'{"error": "busy"}')


def half(handler: BaseHTTPRequestHandler, streamed: bool) -> None:
    """It breaks off after its first bytes."""
    send(handler, 200, WHOLE, promised=len(WHOLE) + 100)


def silent(handler: BaseHTTPRequestHandler, streamed: bool) -> None:
    """A head, and no byte after it."""
    send(handler, 200, b"", promised=100)


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, promised: int | None = None) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if promised is None else promised))
    handler.end_headers()
    handler.wfile.write(body)
    handler.close_connection = True


@contextmanager
def gateway(answer: Answer) -> Iterator[str]:
    """Its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert (self.path, asked["model"]) == ("/v1/chat/completions", "small")
            answer(self, asked["stream"])

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def target(url: str, clients: int = 2) -> Target:
    return Target(url, "small", clients, time.monotonic() + 60)


def ended(url: str, count: int) -> list[Request]:
    """So many requests."""
    with Load(target(url)) as load:
        wait_for(lambda: len(load.ended()) >= count, 20, "requests that ended")
    return load.ended()


@pytest.mark.parametrize(
    ("answer", "ending", "begun"),
    [
        pytest.param(good, Ending.OK, True, id="good"),
        pytest.param(busy, Ending.FAILED, True, id="an error is no answer, although it has a body"),
        pytest.param(half, Ending.CUT, True, id="broken off"),
        pytest.param(silent, Ending.FAILED, False, id="no first byte"),
    ],
)
def test_how_requests_end(answer: Answer, ending: Ending, begun: bool) -> None:
    with gateway(answer) as url:
        found = ended(url, 4)

    assert {one.ending for one in found} == {ending}
    assert {one.first_s is not None for one in found} == {begun}
    assert {bool(one.why) for one in found} == {ending is not Ending.OK}
    assert {one.streamed for one in found} == {True, False}
    assert all(one.sent_s <= (one.first_s or one.ended_s) <= one.ended_s for one in found)


def test_a_gateway_that_is_not_there() -> None:
    with gateway(good) as url:
        pass

    found = ended(url, 2)

    assert {one.ending for one in found} == {Ending.FAILED}
    assert "ClientConnectorError" in found[0].why


def test_an_exception_waits_for_nobody() -> None:
    released = threading.Event()
    asked = threading.Event()

    def hang(handler: BaseHTTPRequestHandler, streamed: bool) -> None:
        asked.set()
        assert released.wait(30)

    with gateway(hang) as url:
        load = Load(target(url))
        with pytest.raises(KeyboardInterrupt):
            interrupt(load, asked)
        assert load.ended() == []
        released.set()


def interrupt(load: Load, asked: threading.Event) -> None:
    """Ctrl-C while requests are under way."""
    with load:
        assert asked.wait(20)
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("status", "read", "streamed", "why"),
    [
        (200, WHOLE, False, ""),
        (200, STREAM, True, ""),
        (200, b'data: {"choices": []}\n\n', True, "the stream ended before it was done"),
        (200, b'{"choices": []}', False, "the answer is not whole"),
        (200, b"<html>", False, "the answer is not whole"),
        (502, b"bad\n gateway", False, "status 502: bad gateway"),
    ],
)
def test_what_is_wrong_with_an_answer(status: int, read: bytes, streamed: bool, why: str) -> None:
    assert fault_of(status, read, streamed=streamed) == why
