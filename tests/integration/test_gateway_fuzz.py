"""Thousands of generated requests against one gateway: each gets a well-formed answer or a closed connection.

`STOKER_FUZZ=200000 pytest tests/integration/test_gateway_fuzz.py` sends more than the usual ones.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from controller.adapters.nginx.rules import PoolRules, Rules
from controller.core.model import GatewayPlan, PoolName, PoolRoutes
from controller.settings import PlanSettings
from tests.fakes.clock import FakeClock
from tests.fakes.engine import Exchange, FakeEngine
from tests.fakes.running_nginx import RunningNginx, parts_in, plan
from tests.integration.gateway_access import digest, give, key, record
from tests.integration.gateway_raw import Malformed, Said, Wire
from tests.integration.gateway_requests import Case, made
from tests.integration.gateway_watch import Watched, watched

COUNT = int(os.environ.get("STOKER_FUZZ", "10000"))
WIRES = 8
STATUSES = {100, 200, 400, 401, 403, 404, 405, 413, 414, 429, 431, 501, 505}
BAD_WORDS = ("[alert]", "[crit]", "[emerg]", "js exception", "SyntaxError", "TypeError", "RangeError", "MemoryError")
OTHER = PoolRoutes(PoolName("other"), "org/Other:1b")
RULES = Rules(
    {
        "smollm2": PoolRules(open=False, cache="deterministic", aliases=("gpt-small",), open_paths=("/tokenize",)),
        "other": PoolRules(open=True, routing="random_two", cache="all"),
    },
    (
        PlanSettings(name="gold", max_body_bytes=2048, tokens_per_minute=100_000),
        PlanSettings(name="few", requests_per_second=5, burst=2, concurrent=2),
    ),
)


def serve(exchange: Exchange) -> None:
    """Streams where it is asked to, in pieces that end anywhere."""
    if b'"stream": true' not in exchange.body:
        exchange.answer(b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}')
        return
    exchange.begin_stream()
    text = b'data: {"choices":[{"delta":{}}],"usage":null}\n\n' * 2
    text += b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\ndata: [DONE]\n\n'
    cut = len(exchange.body) % len(text)
    exchange.send(text[:cut])
    exchange.send(text[cut:])


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Watched]:
    clock, engine = FakeClock(), FakeEngine(serve)
    parts = parts_in(
        tmp_path, clock, RULES, client_timeout=timedelta(seconds=1), max_body_bytes=16 * 1024, max_header_bytes=8192
    )
    nginx = RunningNginx(parts, clock)
    plans = ("-", "gold", "few", "-")
    give(nginx, {digest(key(number)): record(number, plan) for number, plan in enumerate(plans)})
    nginx.apply(GatewayPlan((*plan(engine.address, pool=OTHER).pools, *plan(engine.address).pools)))
    with watched(nginx, engine) as found:
        yield found


class Fuzz:
    """Sends cases and judges what comes back."""

    def __init__(self, nginx: RunningNginx) -> None:
        self.statuses: Counter[int] = Counter()
        self.closed = 0
        self._nginx = nginx
        self._wires = [Wire(nginx) for _ in range(WIRES)]

    def close(self) -> None:
        """All connections."""
        for wire in self._wires:
            wire.socket.close()

    def together(self, cases: list[Case]) -> None:
        """One on each wire, all at the same time."""
        for place, case in enumerate(cases):
            if not case.framed:
                self._anew(place)
            self._wires[place].send(case.data)
            if not case.framed:
                with contextlib.suppress(OSError):
                    self._wires[place].socket.shutdown(socket.SHUT_WR)
        for place, case in enumerate(cases):
            try:
                self._judge(place, case)
            except (Malformed, AssertionError, TimeoutError) as error:
                raise AssertionError(f"{error!r}\n{case}") from error

    def _judge(self, place: int, case: Case) -> None:
        wire = self._wires[place]
        if not case.framed:
            with contextlib.suppress(*self._forgiven(case)):
                self._take(wire.answer, lambda said: said is None)
            self._anew(place)
            return
        said = self._take(wire.answer, lambda said: said is None or said.status != 100)
        if said is None or said.headers.get("connection") == "close":
            assert wire.rest() == b"", "something after the end"
            self._anew(place)

    def _take(self, answer: Callable[[], Said | None], enough: Callable[[Said | None], bool]) -> Said | None:
        """Answers, judged, until one is enough; that one."""
        while True:
            said = answer()
            if said is None:
                self.closed += 1
            else:
                self.statuses[said.status] += 1
                assert said.status in STATUSES, said
                assert said.status < 400 or said.code, said
            if enough(said):
                return said

    def _forgiven(self, case: Case) -> tuple[type[Exception], ...]:
        """HTTP/0.9, which has no head, is what nginx answers to a request line without a version."""
        return (Malformed,) if b" HTTP/" not in case.data.partition(b"\n")[0] else ()

    def _anew(self, place: int) -> None:
        self._wires[place].socket.close()
        self._wires[place] = Wire(self._nginx)


def test_nothing_that_is_sent_does_harm(gateway: Watched) -> None:
    fuzz = Fuzz(gateway.nginx)
    with contextlib.closing(fuzz):
        for first in range(0, COUNT, WIRES):
            fuzz.together([made(number) for number in range(first, first + WIRES)])
            gateway.log()

    print(f"\n{sorted(fuzz.statuses.items())}, {fuzz.closed} closed, {len(gateway.engine.seen)} at the engine")
    assert {200, 400, 401, 404, 405, 413, 429} <= set(fuzz.statuses), "each kind of answer was there"
    assert len(gateway.engine.seen) > COUNT / 10, "enough of them went through"
    words = [line for line in gateway.nginx.error_log().splitlines() if any(word in line for word in BAD_WORDS)]
    assert words == []
    for number in range(5):
        assert key(number).encode() not in gateway.log()
        assert key(number) not in gateway.nginx.error_log()
    gateway.end()
