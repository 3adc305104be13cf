"""Reloads, deaths and counts while requests are running."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.core.model import Address
from tests.fakes.clock import FakeClock
from tests.fakes.engine import Exchange, engines
from tests.fakes.running_nginx import RunningNginx, free_port, parts_in, plan
from tests.integration.gateway_load import BODY, STREAM, Load
from tests.waiting import wait_for


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[RunningNginx]:
    clock = FakeClock()
    running = RunningNginx(parts_in(tmp_path, clock), clock)
    yield running
    running.stop()


def test_twenty_reloads_fail_no_request(nginx: RunningNginx) -> None:
    with engines(Exchange.answer, Exchange.answer, Exchange.answer) as (one, two, three):
        nginx.apply(plan(one.address, two.address))
        with Load(nginx, 8) as load:
            for number in range(20):
                nginx.apply(plan(one.address, three.address) if number % 2 == 0 else plan(one.address, two.address))
                load.await_more(20)

        assert set(load.finish()) == {200}


def test_reloads_in_the_middle_of_streams_fail_no_stream_and_no_request_after_one(nginx: RunningNginx) -> None:
    """A worker that shuts down closes the connection when the stream on it ends: its client must know."""
    pace = threading.Event()

    def stream(exchange: Exchange) -> None:
        exchange.begin_stream()
        for _ in range(10):
            exchange.send(b"data: {}\n\n")
            pace.wait(0.01)

    with engines(stream, stream) as (one, two):
        nginx.apply(plan(one.address, two.address))
        with Load(nginx, 8, body=STREAM) as load:
            for number in range(20):
                nginx.apply(plan(one.address) if number % 2 == 0 else plan(one.address, two.address))
                load.await_more(20)

        assert set(load.finish()) == {200}


def test_a_killed_replica_fails_no_request(nginx: RunningNginx) -> None:
    with engines(Exchange.answer, Exchange.answer, Exchange.answer) as running:
        nginx.apply(plan(*(engine.address for engine in running)))
        with Load(nginx, 8) as load:
            load.await_more(50)
            running[0].close()
            running[1].behave = Exchange.reset
            load.await_more(200)

        assert set(load.finish()) == {200}


def test_requests_in_flight_are_counted_while_they_run(nginx: RunningNginx) -> None:
    go_on = threading.Event()

    def hold(exchange: Exchange) -> None:
        go_on.wait(30)
        exchange.answer()

    with engines(hold, hold) as (one, two):
        nginx.apply(plan(one.address, two.address))
        threads = [threading.Thread(target=nginx.post) for _ in range(25)]
        for thread in threads:
            thread.start()
        wait_for(lambda: nginx.in_flight() == {"smollm2": 25}, 20, "25 are in flight")
        nginx.apply(plan(one.address))
        assert nginx.in_flight() == {"smollm2": 25}
        go_on.set()
        for thread in threads:
            thread.join()

        wait_for(lambda: nginx.in_flight() == {"smollm2": 0}, 20, "none is in flight")


def test_the_count_does_not_leak(nginx: RunningNginx) -> None:
    """Answers, retries, failures, clients that leave, and reloads, thousands of them, end at zero."""
    with engines(Exchange.answer, Exchange.reset, lambda it: it.client_left(0.05)) as running:
        addresses = [engine.address for engine in running]
        dead = Address("127.0.0.1", free_port())
        plans = [plan(*addresses, dead), plan(dead), plan(addresses[1], dead), plan(*addresses), plan()]
        with Load(nginx, 8, leave_ratio=0.3) as load:
            for number in range(15):
                nginx.apply(plans[number % len(plans)])
                load.await_more(100)
            outcomes = load.finish()

        assert outcomes.total() >= 1500
        assert set(outcomes) == {200, 503, "left"}
        wait_for(lambda: nginx.in_flight() == {"smollm2": 0}, 20, "nothing is in flight")


def test_a_worker_that_dies_takes_its_requests_out_of_the_count(nginx: RunningNginx) -> None:
    with engines(lambda it: it.client_left(30)) as (engine,), contextlib.ExitStack() as stack:
        nginx.apply(plan(engine.address))
        for _ in range(5):
            connection = stack.enter_context(contextlib.closing(nginx.connect()))
            connection.request("POST", "/v1/chat/completions", BODY)
        wait_for(lambda: nginx.in_flight() == {"smollm2": 5}, 20, "5 are in flight")
        for pid in nginx.settled():
            os.kill(pid, signal.SIGKILL)

        wait_for(lambda: nginx.parts.process().generation(), 10, "new workers answer")
        # A dead worker has a pid until its master has reaped it.
        wait_for(lambda: nginx.in_flight() == {"smollm2": 0}, 10, "nothing is in flight")
