"""Until the first byte of an answer's body exists, nobody has seen anything: another replica may still answer."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from controller.core.model import PoolName, PoolRoutes
from tests.fakes.clock import FakeClock
from tests.fakes.engine import Exchange, engines
from tests.fakes.running_nginx import RunningNginx, parts_in, plan

STREAM = b'{"model":"smollm2","messages":[],"stream":true}'


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[RunningNginx]:
    clock = FakeClock()
    running = RunningNginx(parts_in(tmp_path, clock), clock)
    yield running
    running.stop()


def head_and_death(exchange: Exchange) -> None:
    """What an engine does that is killed while it reads the prompt."""
    exchange.begin_stream()
    exchange.reset()


def stream(exchange: Exchange) -> None:
    exchange.begin_stream()
    for number in range(3):
        exchange.send(b"data: %d\n\n" % number)


def test_a_stream_whose_replica_dies_after_the_head_is_begun_anew(nginx: RunningNginx) -> None:
    with engines(head_and_death, stream) as (dying, living):
        nginx.apply(plan(dying.address, living.address))
        for _ in range(6):
            status, _, body = nginx.post(STREAM)
            assert (status, body) == (200, b"data: 0\n\ndata: 1\n\ndata: 2\n\n")

        assert dying.seen, "it was tried, too"


def test_a_stream_that_began_is_not_begun_anew(nginx: RunningNginx) -> None:
    def begin_and_die(exchange: Exchange) -> None:
        exchange.begin_stream()
        exchange.send(b"data: 0\n\n")
        exchange.reset()

    with engines(begin_and_die) as (engine,):
        nginx.apply(plan(engine.address))
        connection = nginx.connect()
        connection.request("POST", "/v1/chat/completions", STREAM)
        answer = connection.getresponse()
        assert answer.read1() == b"data: 0\n\n"
        connection.close()

        assert len(engine.seen) == 1


def test_when_all_die_after_the_head_the_client_gets_an_error_object(nginx: RunningNginx) -> None:
    with engines(head_and_death, head_and_death) as (one, two):
        nginx.apply(plan(one.address, two.address))
        status, _, body = nginx.post(STREAM)

    assert status == 503
    assert json.loads(body)["error"]["code"] == "no_replica_answered"
    assert len(one.seen) + len(two.seen) == nginx.parts.config().holds


def test_the_first_byte_brings_the_head_and_each_further_one_comes_at_once(nginx: RunningNginx) -> None:
    steps = [threading.Event() for _ in range(3)]

    def slow(exchange: Exchange) -> None:
        exchange.begin_stream()
        for number, step in enumerate(steps):
            exchange.send(b"data: %d\n\n" % number)
            step.wait(30)

    with engines(slow) as (engine,):
        nginx.apply(plan(engine.address))
        connection = nginx.connect()
        connection.request("POST", "/v1/chat/completions", STREAM)
        answer = connection.getresponse()
        for number, step in enumerate(steps):
            assert answer.readline() == b"data: %d\n" % number
            assert answer.readline() == b"\n"
            step.set()
        assert answer.read() == b""
        connection.close()


def test_an_answer_without_a_body_passes(nginx: RunningNginx) -> None:
    with engines(lambda exchange: exchange.answer(b"", "204 No Content")) as (engine,):
        nginx.apply(plan(engine.address))

        assert nginx.post(STREAM)[0] == 204


def test_a_long_head_passes(nginx: RunningNginx) -> None:
    def long(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 9000 + b"\r\nContent-Length: 2\r\n\r\nok")

    with engines(long) as (engine,):
        nginx.apply(plan(engine.address))
        status, headers, _ = nginx.post(STREAM)

    assert (status, len(headers["X-Long"]), len(engine.seen)) == (200, 9000, 1)


def test_a_burst_of_requests_is_taken(tmp_path: Path) -> None:
    """More at once than the usual backlog of 511: a unix socket refuses what is over it, and does not wait."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += b"Content-Length: %d\r\n\r\n%s" % (len(STREAM), STREAM)
    clock = FakeClock()
    nginx = RunningNginx(parts_in(tmp_path, clock, connect_timeout=timedelta(seconds=30)), clock)
    with engines(Exchange.answer, Exchange.answer) as (one, two), contextlib.ExitStack() as held:
        held.callback(nginx.stop)
        nginx.apply(plan(one.address, two.address))
        address = ("127.0.0.1", nginx.parts.ports.gateway)
        clients = [held.enter_context(socket.create_connection(address, timeout=60)) for _ in range(800)]
        for client in clients:
            client.sendall(head)
        answers = Counter(client.recv(12) for client in clients)

    assert answers == {b"HTTP/1.1 200": 800}


def test_a_request_without_a_host_is_passed_on(nginx: RunningNginx) -> None:
    with engines(Exchange.answer) as (engine,):
        nginx.apply(plan(engine.address))
        with socket.create_connection(("127.0.0.1", nginx.parts.ports.gateway), timeout=20) as client:
            head = b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(STREAM)
            client.sendall(head + STREAM)
            assert client.recv(12) == b"HTTP/1.1 200"


def test_what_is_too_long_is_told_in_an_error_object(nginx: RunningNginx) -> None:
    status, _, body = nginx.ask("GET", "/v1/" + "x" * 40_000)
    assert (status, json.loads(body)["error"]["code"]) == (414, "uri_too_long")


@pytest.mark.parametrize("name", ["default", "hostnames", "include", "nova"])
def test_a_pool_may_have_a_name_that_nginx_uses(nginx: RunningNginx, name: str) -> None:
    with engines(Exchange.answer) as (engine,):
        nginx.apply(plan(engine.address, pool=PoolRoutes(PoolName(name), "smollm2")))

        assert nginx.post(STREAM)[0] == 200
