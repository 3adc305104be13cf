"""Which replica was tried in vain: what the gateway's log says of each attempt that a user did not see."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from controller.core.model import Address
from exporters.edge.collect import Failed, Line, parse
from tests.fakes.clock import FakeClock
from tests.fakes.engine import Behaviour, Exchange, FakeEngine, black_hole, engines
from tests.fakes.running_nginx import RunningNginx, free_port, parts_in, plan
from tests.waiting import wait_for

BODY = b'{"model":"smollm2"}'
STREAM = b'{"model":"smollm2","stream":true}'


@dataclass
class Log:
    """The gateway's access log, as the edge exporter gets it."""

    receiver: socket.socket
    failed: list[str] = field(default_factory=list)  # replicas, in the order in which they were tried
    requests: list[tuple[str, str]] = field(default_factory=list)  # replica and code

    def await_lines(self, *failed: str, requests: int) -> None:
        """Wait until exactly these attempts and so many requests are in it. The two come in any order."""

        def there() -> bool:
            self.read()
            return sorted(self.failed) == sorted(failed) and len(self.requests) >= requests

        wait_for(there, 20, f"{failed} and {requests} requests in the log: {self}")

    def read(self) -> set[str]:
        """Take what came; all replicas that were tried in vain so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                line = parse(self.receiver.recv(4096))
                match line:
                    case Failed("smollm2", replicas):
                        self.failed += [replica.removeprefix("smollm2-") for replica in replicas]
                    case Line("smollm2"):
                        self.requests.append((line.replica.removeprefix("smollm2-"), line.code))
                    case _:
                        raise AssertionError(f"a line of another pool: {line}")
        return set(self.failed)


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[RunningNginx]:
    clock = FakeClock()
    running = RunningNginx(parts_in(tmp_path, clock, read_timeout=timedelta(milliseconds=400)), clock)
    yield running
    running.stop()


@pytest.fixture
def log(nginx: RunningNginx) -> Iterator[Log]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", nginx.parts.ports.edge_log))
        receiver.setblocking(False)
        yield Log(receiver)


def reset(exchange: Exchange) -> None:
    exchange.reset()


def loading(exchange: Exchange) -> None:
    exchange.answer(b'{"error":{"message":"Loading model"}}', "503 Service Unavailable")


def head_and_death(exchange: Exchange) -> None:
    exchange.begin_stream()
    exchange.reset()


def failing(exchange: Exchange) -> None:
    exchange.answer(b"{}", "500 Internal Server Error")


def silent(exchange: Exchange) -> None:
    exchange.client_left(30)


@pytest.mark.parametrize(
    ("trouble", "failed", "code"),
    [
        pytest.param(reset, ["001"], "200", id="reset"),
        pytest.param(loading, ["001"], "200", id="503"),
        pytest.param(head_and_death, ["001"], "200", id="dead after the head"),
        pytest.param(failing, [], "500", id="an answer, however bad, is no attempt in vain"),
        pytest.param(silent, ["001"], "504", id="time-out, after which nobody else is tried"),
    ],
)
def test_the_replica_that_was_tried_in_vain_is_named(
    nginx: RunningNginx, log: Log, trouble: Behaviour, failed: list[str], code: str
) -> None:
    with engines(trouble, Exchange.answer) as (one, two):
        nginx.apply(plan(one.address, two.address))
        _post_until(nginx, one)
        log.await_lines(*failed, requests=1)

    assert code in [told for _, told in log.requests]


def _post_until(nginx: RunningNginx, seen: FakeEngine) -> None:
    """Requests until that engine has had one: workers begin with any."""
    wait_for(lambda: nginx.post(STREAM) and seen.seen, 20, "the first one is tried")


def test_refused_and_unanswered_connections_are_named(nginx: RunningNginx, log: Log) -> None:
    with engines(Exchange.answer) as (engine,), black_hole() as hole:
        nginx.apply(plan(hole, Address("127.0.0.1", free_port()), engine.address))
        wait_for(lambda: nginx.post() and log.read() >= {"001", "002"}, 20, "an attempt on each of the two")
        wait_for(lambda: log.read() and log.requests, 20, "a request")

    assert set(log.requests) == {("003", "200")}


def test_on_ipv6_too(nginx: RunningNginx, log: Log) -> None:
    one, two = FakeEngine(reset, host="::1"), FakeEngine(host="::1")
    with contextlib.closing(one), contextlib.closing(two):
        nginx.apply(plan(one.address, two.address))
        _post_until(nginx, one)
        log.await_lines("001", requests=1)

    assert ("002", "200") in log.requests


def test_when_all_fail_each_attempt_is_counted_once(nginx: RunningNginx, log: Log) -> None:
    nginx.apply(plan(*(Address("127.0.0.1", free_port()) for _ in range(3))))
    assert nginx.post()[0] == 503
    log.await_lines("001", "002", "003", requests=1)
    assert log.requests == [("", "503")], "nginx answered itself"

    log.failed.clear()
    with engines(loading, loading) as (one, two):
        nginx.apply(plan(one.address, two.address))
        assert nginx.post()[0] == 503
        wait_for(lambda: log.read() and len(log.requests) == 2, 20, "an attempt and a request")
    answered = log.requests[1][0]
    assert sorted([*log.failed, answered]) == ["001", "002"], "one in vain, the other one's 503 is the answer"


def test_a_client_that_leaves_is_nobodys_failure(nginx: RunningNginx, log: Log) -> None:
    with engines(lambda exchange: exchange.begin_stream() or exchange.client_left(30)) as (engine,):
        nginx.apply(plan(engine.address))
        connection = nginx.connect()
        connection.request("POST", "/v1/chat/completions", STREAM)
        wait_for(lambda: engine.seen, 10, "the replica has it")
        connection.close()
        log.await_lines(requests=1)
    with engines(Exchange.answer) as (engine,):
        nginx.apply(plan(engine.address))
        assert nginx.post()[0] == 200
        log.await_lines(requests=2)

    assert log.requests[0] == ("", "499")


def test_an_answer_without_trouble_is_one_line(nginx: RunningNginx, log: Log) -> None:
    def no_content(exchange: Exchange) -> None:
        exchange.answer(b"", "204 No Content")

    with engines(no_content) as (engine,):
        nginx.apply(plan(engine.address))
        assert nginx.post()[0] == 204
        engine.behave = Exchange.answer
        assert nginx.post(json.dumps({"model": "smollm2", "prompt": "x" * 100_000}).encode())[0] == 200
        log.await_lines(requests=2)

    assert log.requests == [("001", "204"), ("001", "200")]
