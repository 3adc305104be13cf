"""Plans and full pools on a real nginx: who is refused, who waits, who goes first."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from controller.adapters.nginx.rules import PoolRules, Rules
from controller.settings import PlanSettings
from tests.fakes.clock import FakeClock
from tests.fakes.engine import Exchange, FakeEngine, engines
from tests.fakes.running_nginx import RunningNginx, parts_in, plan
from tests.integration.gateway_access import Answer, ask, code_of, digest, gateway, give, key, record
from tests.waiting import wait_for

RULES = Rules(
    {"smollm2": PoolRules(routing="least_connections", max_in_flight=2)},
    (
        PlanSettings(name="few", requests_per_second=1, burst=2),
        PlanSettings(name="narrow", concurrent=1),
        PlanSettings(name="low", priority="low"),
        PlanSettings(name="high", priority="high"),
    ),
)


class Gate:
    """An engine's behaviour: answers when told to."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        self.open.wait(30)
        exchange.answer()


class Asking:
    """Requests in threads of their own; their answers in the order in which they came."""

    def __init__(self, nginx: RunningNginx) -> None:
        self.answers: list[tuple[str, Answer]] = []
        self._nginx = nginx
        self._threads: list[threading.Thread] = []

    def begin(self, name: str, secret: str | None = None, **body: object) -> None:
        """One more."""
        thread = threading.Thread(target=self._ask, args=(name, secret, body))
        self._threads.append(thread)
        thread.start()

    def end(self) -> list[tuple[str, int]]:
        """Wait for all: names and statuses."""
        for thread in self._threads:
            thread.join(30)
        return [(name, answer[0]) for name, answer in self.answers]

    def _ask(self, name: str, secret: str | None, body: dict[str, object]) -> None:
        try:
            self.answers.append((name, ask(self._nginx, secret, body)))
        except (OSError, http.client.HTTPException) as error:
            self.answers.append((name, (0, {}, str(error).encode())))


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[RunningNginx]:
    clock = FakeClock()
    running = RunningNginx(parts_in(tmp_path, clock, RULES, queue_timeout=timedelta(seconds=20)), clock)
    plans = ("-", "few", "narrow", "low", "high")
    give(running, {digest(key(i)): record(i, plan) for i, plan in enumerate(plans)})
    yield running
    running.stop()


def test_more_requests_in_a_second_than_the_plan_has_are_refused(nginx: RunningNginx) -> None:
    with engines(Exchange.answer) as (engine,):
        nginx.apply(plan(engine.address))
        answers = [ask(nginx, key(1)) for _ in range(8)]
        assert ask(nginx, key(0))[0] == 200, "another key is not concerned"

    refused = [answer for answer in answers if answer[0] != 200]
    assert [answer[0] for answer in answers[:3]] == [200] * 3, "one, and a burst of two"
    assert {code_of(answer) for answer in refused} == {(429, "rate_limit_exceeded")}
    assert refused[0][1]["Retry-After"] == "1"
    assert refused[0][1]["X-RateLimit-Limit-Requests"] == "1"
    assert refused[0][1]["X-RateLimit-Remaining-Requests"] == "0"


def test_more_requests_at_once_than_the_plan_has_are_refused(nginx: RunningNginx) -> None:
    gate = Gate()
    with engines(gate) as (engine,):
        nginx.apply(plan(engine.address))
        asking = Asking(nginx)
        asking.begin("first", key(2))
        wait_for(lambda: engine.seen, 10, "the first is there")

        answer = ask(nginx, key(2))
        assert code_of(answer) == (429, "rate_limit_exceeded")
        assert "at once" in json.loads(answer[2])["error"]["message"]
        gate.open.set()
        assert asking.end() == [("first", 200)]
        # nginx lets go of the place a moment after the client has its answer.
        wait_for(lambda: ask(nginx, key(2))[0] == 200, 10, "there is a place again")


@pytest.mark.parametrize("stream", [False, True])
def test_a_full_pool_lets_requests_wait(nginx: RunningNginx, stream: bool) -> None:
    gate = Gate()
    with engines(gate) as (engine,):
        nginx.apply(plan(engine.address))
        asking = Asking(nginx)
        for number in range(5):
            asking.begin(str(number), stream=stream)
        wait_for(lambda: nginx.in_flight() == {"smollm2": 5}, 10, "all are in flight, those that wait too")
        wait_for(lambda: len(engine.seen) == 2, 10, "two are with the replica")
        gate.open.set()

        assert [status for _, status in asking.end()] == [200] * 5
    wait_for(lambda: nginx.in_flight() == {"smollm2": 0}, 10, "nothing is in flight")


def test_who_waits_goes_to_a_replica_that_joins(nginx: RunningNginx) -> None:
    gate = Gate()
    with engines(gate, Exchange.answer) as (busy, fresh):
        nginx.apply(plan(busy.address))
        asking = Asking(nginx)
        for number in range(6):
            asking.begin(str(number))
        wait_for(lambda: nginx.in_flight() == {"smollm2": 6} and len(busy.seen) == 2, 10, "four wait")

        nginx.apply(plan(busy.address, fresh.address))
        # How many requests a replica has is counted anew after a reload, so the busy one may get two more of them.
        wait_for(lambda: len(asking.answers) >= 2 and len(fresh.seen) >= 2, 10, "two that waited are answered")
        gate.open.set()
        assert [status for _, status in asking.end()] == [200] * 6


def test_a_request_waits_for_the_first_replica(nginx: RunningNginx) -> None:
    with engines(Exchange.answer) as (engine,):
        nginx.apply(plan())
        asking = Asking(nginx)
        asking.begin("early")
        wait_for(lambda: nginx.in_flight() == {"smollm2": 1}, 10, "it waits")
        nginx.apply(plan(engine.address))

        assert asking.end() == [("early", 200)]


def test_a_pool_that_stays_full_is_a_503(tmp_path: Path) -> None:
    with gateway(tmp_path, RULES, queue_timeout=timedelta(milliseconds=100)) as nginx:
        gate = Gate()
        with engines(gate) as (engine,):
            nginx.apply(plan(engine.address))
            asking = Asking(nginx)
            asking.begin("1")
            asking.begin("2")
            wait_for(lambda: len(engine.seen) == 2, 10, "it is full")
            answer = ask(nginx, None)
            gate.open.set()
            asking.end()

    assert code_of(answer) == (503, "overloaded")
    assert answer[1]["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("routing", "stream"), [("consistent_hash", False), ("least_connections", True), ("random_two", False)]
)
def test_who_loses_his_replica_while_the_others_stay_full_is_answered_all_the_same(
    tmp_path: Path, routing: str, stream: bool
) -> None:
    dies, gate = threading.Event(), Gate()

    def dying(exchange: Exchange) -> None:
        dies.wait(30)
        exchange.reset()

    rules = Rules({"smollm2": PoolRules(routing=routing, max_in_flight=2)})
    with gateway(tmp_path, rules) as nginx, engines(dying, gate) as (lost, full):
        nginx.apply(plan(lost.address, full.address))
        asking = Asking(nginx)
        for number in range(4):
            asking.begin(str(number), stream=stream)
        wait_for(lambda: (len(lost.seen), len(full.seen)) == (2, 2), 10, "both are full")
        dies.set()
        lost.close()  # nobody is reached there any more
        wait_for(lambda: len(full.seen) == 4, 25, "they go where least is, over its limit")
        gate.open.set()

        assert [status for _, status in asking.end()] == [200] * 4


def test_a_higher_priority_goes_first(nginx: RunningNginx) -> None:
    gates = [threading.Event() for _ in range(6)]
    order: list[str] = []

    def serve(exchange: Exchange) -> None:
        order.append(json.loads(exchange.body)["user"])
        gates[len(order) - 1].wait(30)
        exchange.answer()

    with engines(serve) as (engine,):
        nginx.apply(plan(engine.address))
        asking = Asking(nginx)
        for number in range(2):
            asking.begin(str(number), key(0), user="first")
        wait_for(lambda: len(order) == 2, 10, "the replica is full")
        for count, (number, name) in enumerate([(3, "low"), (0, "normal"), (4, "high")], 3):
            asking.begin(name, key(number), user=name)
            wait_for(lambda count=count: nginx.in_flight() == {"smollm2": count}, 10, "it waits")
        for gate in gates[:1]:
            gate.set()
        wait_for(lambda: len(order) == 3, 10, "one may go on")
        gates[1].set()
        wait_for(lambda: len(order) == 4, 10, "another may go on")
        for gate in gates:
            gate.set()
        asking.end()

    assert order == ["first", "first", "high", "normal", "low"]


def test_a_worker_that_dies_takes_its_requests_out_of_the_count(nginx: RunningNginx) -> None:
    gate = Gate()
    with engines(gate) as (engine,):
        nginx.apply(plan(engine.address))
        asking = Asking(nginx)
        for number in range(4):
            asking.begin(str(number), stream=True)
        wait_for(lambda: nginx.in_flight() == {"smollm2": 4} and len(engine.seen) == 2, 10, "two wait")
        nginx.kill()
        nginx.start()
        assert nginx.in_flight() == {"smollm2": 0}
        gate.open.set()
        assert ask(nginx, None)[0] == 200, "there is room"


def test_a_hot_replica_passes_its_user_on(tmp_path: Path) -> None:
    rules = Rules({"smollm2": PoolRules(max_in_flight=2)})
    with gateway(tmp_path, rules, queue_timeout=timedelta(seconds=20)) as nginx:
        gates = [Gate() for _ in range(3)]
        with engines(*gates) as running:
            nginx.apply(plan(*(engine.address for engine in running)))
            asking = Asking(nginx)
            for number in range(6):
                asking.begin(str(number), user="one and the same")
            wait_for(lambda: [len(engine.seen) for engine in running] == [2, 2, 2], 10, "all have two")
            for gate in gates:
                gate.open.set()
            assert [status for _, status in asking.end()] == [200] * 6


def moved(nginx: RunningNginx, running: list[FakeEngine]) -> dict[int, int]:
    """The engine of each of 300 users."""
    found: dict[int, int] = {}
    for user in range(300):
        before = [len(engine.seen) for engine in running]
        assert ask(nginx, None, {"user": f"user {user}"})[0] == 200
        found[user] = next(i for i, engine in enumerate(running) if len(engine.seen) > before[i])
    return found


def test_few_users_move_when_a_replica_leaves(tmp_path: Path) -> None:
    with gateway(tmp_path, Rules({"smollm2": PoolRules()})) as nginx, engines(*[Exchange.answer] * 5) as running:
        everything = plan(*(engine.address for engine in running))
        nginx.apply(everything)
        before = moved(nginx, running)
        assert moved(nginx, running) == before, "a user stays where he is"
        pool = everything.pools[0]
        nginx.apply(replace(everything, pools=(replace(pool, servers=pool.servers[:4]),)))
        after = moved(nginx, running)

    assert set(before.values()) == {0, 1, 2, 3, 4}
    assert {user for user in before if before[user] != after[user]} == {user for user in before if before[user] == 4}
    assert 30 <= sum(engine == 4 for engine in before.values()) <= 90, "about a fifth of them"


def test_a_user_is_who_the_header_names(tmp_path: Path) -> None:
    with gateway(tmp_path, Rules({"smollm2": PoolRules()}), user_header="X-Tenant") as nginx:
        give(nginx, {digest(key(1)): record(1), digest(key(2)): record(2)})
        with engines(*[Exchange.answer] * 4) as running:
            nginx.apply(plan(*(engine.address for engine in running)))

            def seen(secret: str, **headers: str) -> set[int]:
                found = set()
                for number in range(12):
                    before = [len(engine.seen) for engine in running]
                    ask(nginx, secret, {"user": str(number)}, **headers)
                    found |= {i for i, engine in enumerate(running) if len(engine.seen) > before[i]}
                return found

            assert len(seen(key(1))) > 1, "the user in the body"
            assert len(seen(key(1), X_Tenant="acme")) == 1
            assert seen(key(1), X_Tenant="acme") == seen(key(2), X_Tenant="acme")
