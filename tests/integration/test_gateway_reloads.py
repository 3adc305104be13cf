"""What the gateway promises while replicas come, go and die: no request fails that was not lost with its replica."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.adapters.nginx.rules import PoolRules, Rules
from controller.core.model import GatewayPlan, PoolRoutes, ReplicaId, Server
from tests.fakes.clock import FakeClock
from tests.fakes.engine import Exchange, FakeEngine
from tests.fakes.running_nginx import POOL, RunningNginx, parts_in
from tests.integration.gateway_access import digest, give, key, record
from tests.integration.gateway_load import BODY, STREAM, Load
from tests.integration.gateway_watch import idle, in_flight
from tests.waiting import wait_for

CLIENTS, RELOADS = 64, 50
RULES = Rules({"smollm2": PoolRules(open=False, max_in_flight=CLIENTS)})


class Replica:
    """An engine with a name that is in each of its events, and that can be killed."""

    def __init__(self, number: int) -> None:
        self.name = ReplicaId(f"smollm2-{number:03}")
        self.killed = threading.Event()
        self.engine = FakeEngine(self._serve)

    def kill(self) -> None:
        """As SIGKILL does: all its connections are reset, and it listens no more."""
        self.killed.set()
        self.engine.close()

    def _serve(self, exchange: Exchange) -> None:
        if b'"stream": true' in exchange.body:
            self._stream(exchange)
        elif self.killed.wait(0.25):
            exchange.reset()
        else:
            exchange.answer(b'{"by":"%s"}' % self.name.encode())

    def _stream(self, exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        event = b'data: {"by":"%s","choices":[{}]}\n\n' % self.name.encode()
        for _ in range(10):
            if self.killed.wait(0.03):
                exchange.reset()
                return
            exchange.send(b"%x\r\n%s\r\n" % (len(event), event))
        exchange.send(b"0\r\n\r\n")


def routed(*replicas: Replica) -> GatewayPlan:
    servers = tuple(Server(replica.name, replica.engine.address) for replica in replicas)
    return GatewayPlan((PoolRoutes(POOL.pool, POOL.model, servers),))


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[RunningNginx]:
    clock = FakeClock()
    running = RunningNginx(parts_in(tmp_path, clock, RULES), clock)
    give(running, {digest(key(number)): record(number) for number in range(CLIENTS)})
    yield running
    running.stop()


@pytest.fixture
def replicas() -> Iterator[list[Replica]]:
    found = [Replica(number) for number in range(1, 6)]
    yield found
    for replica in found:
        replica.kill()


def ask(number: int) -> tuple[bytes, dict[str, str]]:
    """Every other client wants streams; each has a key of its own, and with it a replica."""
    return STREAM if number % 2 else BODY, {"Authorization": f"Bearer {key(number)}"}


def test_fifty_reloads_and_a_killed_replica_fail_no_request(nginx: RunningNginx, replicas: list[Replica]) -> None:
    *staying, victim, coming = replicas
    nginx.apply(routed(*staying, victim))
    with Load(nginx, CLIENTS, ask=ask, excused=lambda partial: victim.name.encode() in partial) as load:
        for number in range(RELOADS):
            with_victim = [victim] if number < RELOADS // 2 + 3 else []  # for a while nobody has noticed
            nginx.apply(routed(*staying, *with_victim, *([coming] if number % 2 else [])))
            if number == RELOADS // 2:
                victim.kill()
            load.await_more(CLIENTS // 2)
        outcomes = load.finish()

    print(f"\n{dict(outcomes)}")
    assert set(outcomes) <= {200, "cut"}
    assert outcomes["cut"] <= CLIENTS / 2, "no stream was cut but those that ran at the victim"
    assert outcomes[200] >= RELOADS * CLIENTS // 2 - outcomes["cut"]
    assert all(replica.engine.seen for replica in replicas)
    wait_for(lambda: idle(nginx), 20, f"nothing is in flight: {in_flight(nginx)}")
    assert nginx.error_log().count("[alert]") == 0
