"""The cache that several gateways share, on real nginx, service and Redis; and that nobody waits for a broken one."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.nginx.rules import PoolRules, Rules
from tests.fakes.engine import Exchange, engines
from tests.integration.gateway_access import Answer, ask, code_of, key
from tests.integration.gateway_hot import HotGateway
from tests.redis import RedisServer
from tests.waiting import wait_for

RULES = Rules({"smollm2": PoolRules(cache="deterministic", cache_s=30, routing="least_connections", max_in_flight=4)})
SAME = {"temperature": 0, "messages": [{"role": "user", "content": "hello"}]}
USAGE = {"prompt_tokens": 12, "completion_tokens": 34}
SHORT = "200ms"  # for tests in which Redis or the service says nothing

Make = Callable[..., HotGateway]


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    running = RedisServer()
    yield running
    running.close()


@pytest.fixture
def make(tmp_path: Path, redis_server: RedisServer) -> Iterator[Make]:
    made: list[HotGateway] = []
    redis_server.ask("FLUSHALL")

    def one(
        rules: Rules = RULES, redis: RedisServer = redis_server, cluster: bool = False, **settings: object
    ) -> HotGateway:
        made.append(HotGateway(tmp_path / str(len(made)), redis, rules, cluster, settings))
        return made[-1]

    yield one
    for gateway in made:
        gateway.stop()


def complete(exchange: Exchange) -> None:
    """Different each time, so that it can be told which answer it is."""
    text = json.dumps({"choices": [], "id": id(exchange), "usage": USAGE})
    exchange.answer(text.encode())


def line(gateway: HotGateway) -> dict[str, Any]:
    """The next line of its access log."""
    text = gateway.log.recv(4096)
    found: dict[str, Any] = json.loads(text[text.index(b"{") :])
    return found


def told(gateway: HotGateway) -> tuple[str, ...]:
    """Of the next line: who answered, what the caches did, what it took."""
    found = line(gateway)
    return tuple(found[name] for name in ("replica", "cache", "layer", "tokens_in"))


def post(gateway: HotGateway, body: dict[str, Any] = SAME, secret: str | None = None, **headers: str) -> Answer:
    return ask(gateway.nginx, secret, body, **headers)


def cache(answer: Answer) -> str:
    assert answer[0] == 200
    return answer[1].get("X-Cache", "")


def nothing_in_flight(*gateways: HotGateway) -> None:
    """nginx lets go of a request a moment after its client has the answer."""
    for each in gateways:
        wait_for(lambda each=each: each.nginx.in_flight() == {"smollm2": 0}, 10, "nothing is in flight")


def stored(redis: RedisServer, count: int) -> None:
    """nginx stores what it has answered already."""
    wait_for(lambda: redis.ask("DBSIZE") == count, 10, f"Redis has {count} answers")


# Shared


@pytest.mark.parametrize("cluster", [False, True], ids=["single", "cluster"])
def test_what_one_gateway_was_answered_the_other_has(make: Make, redis_server: RedisServer, cluster: bool) -> None:
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(contextlib.closing(RedisServer(cluster=True))) if cluster else redis_server
        one, two = (make(redis=redis, cluster=cluster) for _ in range(2))
        (engine,) = stack.enter_context(engines(complete))
        one.serve(engine.address)
        two.serve(engine.address)
        # The line of a request is read before the next one: two workers of nginx may write theirs in any order.
        first, first_told = post(one, Cookie="a=b"), told(one)
        stored(redis, 1)
        second, second_told = post(two), told(two)
        third, third_told = post(two), told(two)
        again, again_told = post(one), told(one)

    assert [cache(answer) for answer in (first, second, third, again)] == ["MISS", "HIT", "HIT", "HIT"]
    assert {answer[2] for answer in (second, third, again)} == {first[2]}
    assert b"cookie" not in engine.seen[0].head.lower()
    assert {answer[1]["Content-Type"] for answer in (first, second, third)} == {"application/json"}
    assert len({answer[1]["X-Request-Id"] for answer in (first, second, third)}) == 3
    assert all(not name.startswith(("X-Stoker", "X-Accel")) for answer in (first, second) for name in answer[1])
    assert len(engine.seen) == 1
    assert first_told == ("smollm2-001", "MISS", "redis", "12")
    assert second_told == ("", "HIT", "redis", "")
    assert third_told == again_told == ("", "HIT", "nginx", "")
    nothing_in_flight(one, two)


def test_nobody_gets_the_answer_of_another_key(make: Make, redis_server: RedisServer) -> None:
    one, two = make(), make()
    with engines(complete) as (engine,):
        one.serve(engine.address)
        two.serve(engine.address)
        mine = post(one, secret=key(1))
        stored(redis_server, 1)
        others = [post(two, secret=key(2)), post(two)]
        assert [cache(answer) for answer in others] == ["MISS", "MISS"]
        assert mine[2] not in {answer[2] for answer in others}
        stored(redis_server, 3)
        assert (cache(post(two, secret=key(1))), cache(post(one, secret=key(2))), cache(post(one))) == ("HIT",) * 3
        assert len(engine.seen) == 3


def test_an_answer_that_is_for_all_keys_is_for_all_gateways(make: Make, redis_server: RedisServer) -> None:
    rules = Rules({"smollm2": PoolRules(cache="all", share_cache=True)})
    one, two = make(rules), make(rules)
    with engines(complete) as (engine,):
        one.serve(engine.address)
        two.serve(engine.address)
        first = post(one, {}, secret=key(1))
        stored(redis_server, 1)
        assert post(two, {}, secret=key(2))[2] == first[2]


def test_streams_and_what_must_not_be_stored_are_not(make: Make, redis_server: RedisServer) -> None:
    one, two = make(), make()
    with engines(complete) as (engine,):
        one.serve(engine.address)
        two.serve(engine.address)
        for gateway in (one, two):
            assert cache(post(gateway, {**SAME, "stream": True})) == ""
            assert cache(post(gateway, SAME, Cache_Control="no-store")) == ""
            assert cache(post(gateway, {"temperature": 1})) == ""
        assert len(engine.seen) == 6
        post(one)
        stored(redis_server, 1)
        (name,) = redis_server.ask("KEYS", "*")
        assert name.startswith(b"stoker:0123456789ab:answer:")


def test_who_wants_a_fresh_answer_gets_one_and_all_gateways_have_it(make: Make, redis_server: RedisServer) -> None:
    one, two, three = make(), make(), make()
    with engines(complete) as (engine,):
        for gateway in (one, two, three):
            gateway.serve(engine.address)
        old = post(one)
        stored(redis_server, 1)
        (name,) = redis_server.ask("KEYS", "*")
        before = redis_server.ask("GET", name)
        fresh = post(two, Cache_Control="no-cache")
        assert (cache(fresh), told(two)[1:3]) == ("BYPASS", ("BYPASS", "nginx"))
        assert fresh[2] != old[2]
        wait_for(lambda: redis_server.ask("GET", name) != before, 10, "Redis has the fresh one")
        assert post(three)[2] == fresh[2]


def test_it_is_forgotten_when_its_time_is_over_and_not_kept_longer_by_another(
    make: Make, redis_server: RedisServer
) -> None:
    one, two = make(), make()
    with engines(complete) as (engine,):
        one.serve(engine.address)
        two.serve(engine.address)
        first = post(one)
        stored(redis_server, 1)
        (name,) = redis_server.ask("KEYS", "*")
        assert 25_000 < redis_server.ask("PTTL", name) <= 30_000
        redis_server.ask("PEXPIRE", name, 1500)
        assert post(two)[2] == first[2]
        # Of its own nginx would keep it for 30 s.
        answer = wait_for(lambda: (lambda found: found if found[2] != first[2] else None)(post(two)), 10, "it is asked")
        assert cache(answer) in ("EXPIRED", "MISS")
        assert len(engine.seen) == 2


@pytest.mark.parametrize(
    ("answer", "is_stored"),
    [
        pytest.param(lambda it: it.answer(b'"' + b"x" * 10_480 + b'"'), True, id="as large as can be"),
        pytest.param(lambda it: it.answer(b'"' + b"x" * 10_484 + b'"'), False, id="too large"),
        pytest.param(lambda it: it.answer(b"{}", "500 Internal Server Error"), False, id="an error"),
        pytest.param(lambda it: it.answer(b"{}", "203 Non-Authoritative Information"), False, id="another status"),
        pytest.param(lambda it: it.send(b"HTTP/1.1 200 OK\r\n\r\n{}"), False, id="may be cut off"),
        pytest.param(
            lambda it: it.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Encoding: gzip\r\n\r\n{}"),
            False,
            id="compressed for one client",
        ),
    ],
)
def test_what_is_worth_storing(
    make: Make, redis_server: RedisServer, answer: Callable[[Exchange], object], is_stored: bool
) -> None:
    gateway = make(max_answer="0.01MiB")  # 10,485 bytes
    with engines(answer) as (engine,):
        gateway.serve(engine.address)
        answered = post(gateway)
        assert answered[2].startswith((b'"xxx', b"{}"))
        engine.behave = complete
        post(gateway, {**SAME, "seed": 1})
    stored(redis_server, 2 if is_stored else 1)


def test_an_answer_that_breaks_off_is_not_stored(make: Make, redis_server: RedisServer) -> None:
    gateway = make()
    with engines(lambda it: it.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}")) as (engine,):
        gateway.serve(engine.address)
        with pytest.raises(Exception, match="IncompleteRead"):
            post(gateway)
        engine.behave = complete
        assert cache(post(gateway)) == "MISS"
    stored(redis_server, 1)


def test_large_answers_pass_unchanged_and_come_back_so(make: Make, redis_server: RedisServer) -> None:
    one, two = make(), make()
    large = json.dumps({"text": "\u00e9\n" * 120_000}).encode()
    with engines(lambda it: it.answer(large)) as (engine,):
        one.serve(engine.address)
        two.serve(engine.address)
        assert post(one)[2] == large
        stored(redis_server, 1)
        assert post(two)[2] == large
        assert len(engine.seen) == 1
        engine.behave = lambda it: it.answer(large * 3)
        assert post(one, {"seed": 1})[2] == post(two, {"seed": 1})[2] == large * 3


def test_identical_requests_at_the_same_time_go_to_a_replica_once(make: Make) -> None:
    gateway = make()
    go_on = threading.Event()

    def slow(exchange: Exchange) -> None:
        go_on.wait(30)
        complete(exchange)

    with engines(slow) as (engine,):
        gateway.serve(engine.address)
        found: list[Answer] = []
        threads = [threading.Thread(target=lambda: found.append(post(gateway))) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for(lambda: gateway.nginx.in_flight() == {"smollm2": 4}, 10, "all are in flight")
        go_on.set()
        for thread in threads:
            thread.join(30)

        assert len(engine.seen) == 1
        assert sorted(cache(answer) for answer in found) == ["HIT", "HIT", "HIT", "MISS"]


def test_a_full_pool_still_gives_what_another_gateway_was_answered(make: Make, redis_server: RedisServer) -> None:
    rules = Rules({"smollm2": PoolRules(cache="deterministic", max_in_flight=1)})
    one, two = make(rules), make(rules)
    go_on = threading.Event()
    with engines(complete) as (engine,):
        one.serve(engine.address)
        two.serve(engine.address)
        first = post(one)
        stored(redis_server, 1)
        engine.behave = lambda it: (go_on.wait(30), complete(it))
        busy = threading.Thread(target=post, args=(two, {"prompt": "busy"}))
        busy.start()
        wait_for(lambda: len(engine.seen) == 2, 10, "the pool is full")
        full = post(two)
        assert (cache(full), full[2], told(two)[1:3]) == ("HIT", first[2], ("HIT", "redis"))
        assert code_of(post(two, {**SAME, "seed": 1})) == (503, "overloaded")
        assert len(engine.seen) == 2
        go_on.set()
        busy.join(30)


def test_another_replica_is_tried_and_the_log_tells_of_it(make: Make) -> None:
    gateway = make()

    def refuse(exchange: Exchange) -> None:
        exchange.answer(b"{}", "503 Service Unavailable")

    with engines(refuse, complete) as (bad, good):
        gateway.serve(bad.address, good.address)
        answers = [post(gateway, {"seed": number}) for number in range(4)]
        lines = [line(gateway) for _ in range(4 + len(bad.seen))]

    assert [answer[0] for answer in answers] == [200] * 4
    assert len(bad.seen) > 0
    failed = [found for found in lines if "failed" in found]
    assert failed == [{"pool": "smollm2", "failed": "smollm2-001"}] * len(bad.seen)
    whole = [found for found in lines if "failed" not in found]
    assert {(found["replica"], found["cache"], found["layer"]) for found in whole} == {("smollm2-002", "MISS", "redis")}
    assert sum(found["tried"].count(",") for found in whole) == len(bad.seen)


def test_without_a_replica_it_says_so(make: Make) -> None:
    gateway = make()
    with engines(lambda it: it.reset()) as (engine,):
        gateway.serve(engine.address)
        assert code_of(post(gateway)) == (503, "no_replica_answered")
        lines = [line(gateway), line(gateway)]
    assert sorted(found.get("failed", "") for found in lines) == ["", "smollm2-001"]
    assert {found.get("replica", "") for found in lines} == {""}


# Broken


def goes_on(gateway: HotGateway, first: int, count: int = 6) -> None:
    """New requests are answered, and by a replica."""
    answers = [post(gateway, {"seed": first + number}) for number in range(count)]
    assert [cache(answer) for answer in answers] == ["MISS"] * count


def shares_again(one: HotGateway, two: HotGateway, first: int) -> None:
    """Until what one gateway was answered the other has; new requests each time, as each keeps its own."""
    seeds = iter(range(first, first + 10_000))

    def shared() -> bool:
        seed = next(seeds)
        answer = post(one, {"seed": seed})
        return post(two, {"seed": seed})[2] == answer[2]

    wait_for(shared, 20, "answers are shared again")


def test_a_redis_that_was_killed(make: Make, redis_server: RedisServer) -> None:
    one, two = make(timeout=SHORT), make(timeout=SHORT)
    with engines(complete) as (engine,):
        one.serve(engine.address)
        two.serve(engine.address)
        redis_server.kill()
        try:
            goes_on(one, 0)
            goes_on(two, 100)
            assert {told(one) for _ in range(6)} == {("smollm2-001", "MISS", "nginx", "12")}
        finally:
            redis_server.revive()
        shares_again(one, two, 1000)


def test_a_redis_that_says_nothing(make: Make, redis_server: RedisServer) -> None:
    one, two = make(timeout=SHORT), make(timeout=SHORT)
    with engines(complete) as (engine,):
        one.serve(engine.address)
        two.serve(engine.address)
        with redis_server.frozen():
            goes_on(one, 0)
            goes_on(two, 100)
        shares_again(one, two, 1000)


def test_a_service_that_was_killed(make: Make) -> None:
    one, two = make(), make()
    with engines(complete) as (engine,):
        one.serve(engine.address)
        two.serve(engine.address)
        one.signal_service(signal.SIGKILL)
        goes_on(one, 0)
        goes_on(two, 100)
        one.start_service()
        shares_again(one, two, 1000)


def test_a_service_that_says_nothing(make: Make) -> None:
    one, two = make(timeout=SHORT), make()
    with engines(complete) as (engine,):
        one.serve(engine.address)
        two.serve(engine.address)
        one.signal_service(signal.SIGSTOP)
        goes_on(one, 0)
        one.signal_service(signal.SIGCONT)
        shares_again(one, two, 1000)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Remaining: 9\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200", id="half a head"),
        pytest.param(b"\0\1\2\r\n\r\n", id="something else"),
        pytest.param(HEAD, id="a head"),
        pytest.param(HEAD + b'{"choices"', id="half an answer"),
        pytest.param(HEAD.replace(b"100000", b"99999999") + b"x" * 100_000, id="more than may be"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", id="an empty answer"),
        pytest.param(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}", id="an error"),
    ],
)
@pytest.mark.parametrize("stays", [False, True], ids=["closes", "stays"])
def test_a_service_that_talks_nonsense(make: Make, said: bytes, stays: bool) -> None:
    gateway = make(timeout=SHORT)
    gateway.signal_service(signal.SIGKILL)
    path = gateway.nginx.parts.folder / "hot" / "cache.sock"
    path.unlink()
    with engines(complete) as (engine,), socket.socket(socket.AF_UNIX) as listener:
        gateway.serve(engine.address)
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(64)
        listener.settimeout(0.05)
        over = threading.Event()
        talking = threading.Thread(target=talk, args=(listener, said, stays, over))
        talking.start()
        try:
            goes_on(gateway, 0)
        finally:
            over.set()
            talking.join(30)


def talk(listener: socket.socket, said: bytes, stays: bool, over: threading.Event) -> None:
    """Whatever it is asked, that is the answer."""
    kept = []
    while not over.is_set():
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        connection.settimeout(1)
        try:
            connection.recv(65536)
            connection.sendall(said)
        except OSError:
            pass
        if stays:
            kept.append(connection)
        else:
            connection.close()
    for connection in kept:
        connection.close()


def test_not_one_request_is_lost_while_all_of_it_comes_and_goes(make: Make, redis_server: RedisServer) -> None:
    one, two = make(timeout=SHORT), make(timeout=SHORT)
    over = threading.Event()
    statuses: list[int] = []

    def load(gateway: HotGateway, first: int) -> None:
        for seed in range(first, first + 100_000):
            if over.is_set():
                return
            statuses.append(post(gateway, {"seed": seed // 2})[0])  # each once more

    with engines(complete) as (engine,):
        one.serve(engine.address)
        two.serve(engine.address)
        threads = [threading.Thread(target=load, args=(each, 0)) for each in (one, two, one)]
        for thread in threads:
            thread.start()
        for step in (
            lambda: one.signal_service(signal.SIGKILL),
            redis_server.kill,
            one.start_service,
            redis_server.revive,
            lambda: two.signal_service(signal.SIGSTOP),
            lambda: two.signal_service(signal.SIGCONT),
            lambda: None,
        ):
            before = len(statuses)
            wait_for(lambda before=before: len(statuses) >= before + 100, 60, "a hundred more were answered")
            step()
        over.set()
        for thread in threads:
            thread.join(30)

        assert set(statuses) == {200}
        nothing_in_flight(one, two)


def test_who_may_enter_the_folder_of_the_sockets(make: Make) -> None:
    gateway = make()
    folder = gateway.nginx.parts.folder / "hot"

    assert folder.stat().st_mode & 0o007 == 0
    assert {path.name for path in folder.iterdir()} == {"look.sock", "cache.sock"}


def test_the_services_page_is_on_the_status_server(make: Make) -> None:
    assert b"stoker_hotcache_requests" in make().metrics()
