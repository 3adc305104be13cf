"""What users see through a real nginx: answers, retries, streams, reloads."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from controller.adapters.nginx import NginxGateway, prepare
from controller.adapters.nginx.rules import PoolRules, Rules
from controller.core.errors import GatewayRejected, GatewayUnavailable
from controller.core.model import Address, GatewayPlan, PoolName, PoolRoutes, ReplicaId, Server
from tests.fakes.clock import FakeClock
from tests.fakes.engine import Behaviour, Exchange, FakeEngine, black_hole, engines
from tests.fakes.running_nginx import POOL, RunningNginx, free_port, parts_in, plan
from tests.integration.gateway_access import gateway
from tests.waiting import wait_for

BODY = b'{"model":"smollm2"}'
OTHER = PoolRoutes(PoolName("other"), "org/Other:1b")


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[RunningNginx]:
    clock = FakeClock()
    running = RunningNginx(parts_in(tmp_path, clock), clock)
    yield running
    running.stop()


def error_of(answer: tuple[int, dict[str, str], bytes]) -> dict[str, object]:
    """The OpenAI error object of an answer."""
    assert answer[1]["Content-Type"] == "application/json"
    error: dict[str, object] = json.loads(answer[2])["error"]
    assert {"message", "type", "param", "code"} == set(error)
    return error


def reset(exchange: Exchange) -> None:
    exchange.reset()


def loading(exchange: Exchange) -> None:
    exchange.answer(b'{"error":{"message":"Loading model"}}', "503 Service Unavailable")


# Answers of the gateway itself


def test_an_empty_pool_asks_to_come_again(nginx: RunningNginx) -> None:
    answer = nginx.post()

    assert (answer[0], answer[1]["Retry-After"]) == (503, "5")
    assert error_of(answer)["code"] == "no_replica_ready"
    assert error_of(answer)["type"] == "server_error"


def test_health_is_answered_without_replicas_and_the_models_are_those_that_are_up(nginx: RunningNginx) -> None:
    assert nginx.ask("GET", "/healthz")[2] == b"ok\n"
    assert json.loads(nginx.ask("GET", "/v1/models")[2]) == {"object": "list", "data": []}
    nginx.apply(plan(Address("127.0.0.1", 9)))
    assert json.loads(nginx.ask("GET", "/v1/models")[2]) == {
        "object": "list",
        "data": [{"id": "smollm2", "object": "model", "created": 0, "owned_by": "stoker"}],
    }
    assert json.loads(nginx.ask("GET", "/v1/models/smollm2")[2])["id"] == "smollm2"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        pytest.param("GET", "/", None, 404, "not_found", id="unknown path"),
        pytest.param("GET", "/_error/503", None, 404, "not_found", id="internal path"),
        pytest.param("POST", "/v1/../metrics", BODY, 404, "not_found", id="path that climbs out"),
        pytest.param("GET", "/v1/chat/completions", None, 405, "method_not_allowed", id="GET of a completion"),
        pytest.param("POST", "/v1/models", BODY, 405, "method_not_allowed", id="POST of the models"),
        pytest.param("GET", "/v1/models/nobody", None, 404, "model_not_found", id="unknown model"),
        pytest.param("POST", "/v1/completions", b"x" * 3000, 413, "request_too_large", id="too large"),
    ],
)
def test_refusals_are_error_objects(
    tmp_path: Path, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    clock = FakeClock()
    nginx = RunningNginx(parts_in(tmp_path, clock, max_body_bytes=2048), clock)
    try:
        answer = nginx.ask(method, path, body)
    finally:
        nginx.stop()

    assert answer[0] == status
    assert error_of(answer)["code"] == code


def test_a_request_that_is_no_http_gets_an_error_object(nginx: RunningNginx) -> None:
    connection = nginx.connect()
    connection.connect()
    connection.sock.sendall(b"\x01\x02 nonsense\r\n\r\n")
    answer = connection.sock.recv(65536)
    connection.close()

    assert b" 400 " in answer
    assert b'"code":"bad_request"' in answer


def test_the_status_server_answers_two_things_only(nginx: RunningNginx) -> None:
    assert nginx.in_flight() == {"smollm2": 0}
    assert nginx.parts.process().generation()
    assert nginx.ask("GET", "/in_flight")[0] == 404
    assert nginx.ask("GET", "/generation")[0] == 404


# Which pool


def two_pools(first: FakeEngine, second: FakeEngine) -> GatewayPlan:
    return GatewayPlan((*plan(first.address, pool=OTHER).pools, *plan(second.address).pools))


def test_the_model_names_the_pool(nginx: RunningNginx) -> None:
    with engines(lambda it: it.answer(b"other"), lambda it: it.answer(b"smol")) as (other, smol):
        nginx.apply(two_pools(other, smol))

        assert nginx.post(b'{"model":"smollm2"}')[2] == b"smol"
        assert nginx.post(b'{"model":"org/Other:1b","n":1}')[2] == b"other"
        big = json.dumps({"messages": ["x" * 4_000_000], "model": "smollm2"}).encode()
        assert nginx.post(big)[2] == b"smol"
        assert smol.seen[-1].body == big


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(b'{"model":"SMOLLM2"}', 404, "model_not_found", id="another case is another model"),
        pytest.param(b'{"model":"\\"; drop"}', 404, "model_not_found", id="odd characters"),
        pytest.param(b'{"messages":[]}', 400, "model_missing", id="no model"),
        pytest.param(b'{"model":7}', 400, "model_missing", id="model is a number"),
        pytest.param(b"[1]", 400, "invalid_json", id="no object"),
        pytest.param(b"null", 400, "invalid_json", id="null"),
        pytest.param(b"model=smollm2", 400, "invalid_json", id="no JSON"),
        pytest.param(b'{"model":"\xff"}', 400, "invalid_json", id="no UTF-8"),
        pytest.param(b'{"model":' + b"[" * 40 + b"]" * 40 + b"}", 400, "invalid_json", id="nested deeply"),
        pytest.param(None, 400, "invalid_json", id="no body"),
    ],
)
def test_with_two_pools_the_model_must_be_known(
    nginx: RunningNginx, body: bytes | None, status: int, code: str
) -> None:
    nginx.apply(GatewayPlan((OTHER, POOL)))

    answer = nginx.ask("POST", "/v1/chat/completions", body)

    assert answer[0] == status
    error = error_of(answer)
    assert (error["code"], error["type"]) == (code, "invalid_request_error")
    if status == 404:
        assert "org/Other:1b, smollm2" in str(error["message"])


def test_what_the_engine_gets(nginx: RunningNginx) -> None:
    with engines(Exchange.answer) as (engine,):
        nginx.apply(plan(engine.address))
        headers = {"Authorization": "Bearer a-secret", "X-Request-Id": "mine-1", "X-Stoker-Pool": "other"}
        headers["Cookie"] = "stoker_session_8000=of-the-dashboard"
        connection = nginx.connect()
        connection.request("POST", "/v1/chat/completions?q=%41", BODY, headers)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["X-Request-Id"]) == (200, "mine-1")
        connection.close()

    head = engine.seen[-1].head
    assert head.startswith(b"POST /v1/chat/completions?q=%41 HTTP/1.1\r\n")
    assert b"Connection: close" in head
    assert b"X-Request-Id: mine-1" in head
    assert b"a-secret" not in head
    assert b"cookie" not in head.lower()
    assert engine.seen[-1].body == BODY


@pytest.mark.parametrize("cache", ["off", "all"])
@pytest.mark.parametrize("sent", ["{}", '{"stream":true}', '{"stream":true,"stream_options":{"include_usage":true}}'])
def test_no_engine_gets_a_cookie(tmp_path: Path, cache: str, sent: str) -> None:
    with (
        gateway(tmp_path, Rules({"smollm2": PoolRules(cache=cache, cache_s=30)})) as nginx,
        engines(Exchange.answer) as (engine,),
    ):
        nginx.apply(plan(engine.address))
        connection = nginx.connect()
        body = json.dumps({"model": "smollm2", **json.loads(sent)})
        connection.request("POST", "/v1/chat/completions", body, {"Cookie": "a=b", "X-Mine": "c"})
        assert connection.getresponse().status == 200
        connection.close()

    head = engine.seen[-1].head.lower()
    assert b"x-mine: c" in head
    assert b"cookie" not in head


def test_a_replica_on_ipv6(nginx: RunningNginx) -> None:
    engine = FakeEngine(host="::1")
    try:
        nginx.apply(plan(engine.address))
        assert nginx.post()[0] == 200
    finally:
        engine.close()


def test_what_the_engine_says_passes_untouched(nginx: RunningNginx) -> None:
    with engines(lambda it: it.answer(b"engine's own words", "500 Internal Server Error")) as (engine,):
        nginx.apply(plan(engine.address, Address("127.0.0.1", free_port())))

        assert {nginx.post()[2] for _ in range(4)} == {b"engine's own words"}
    assert len(engine.seen) == 4


# Another try


def test_a_refused_connection_is_tried_elsewhere(nginx: RunningNginx) -> None:
    with engines(Exchange.answer) as (engine,):
        nginx.apply(plan(Address("127.0.0.1", free_port()), engine.address))

        assert [nginx.post()[0] for _ in range(6)] == [200] * 6


def test_a_connection_time_out_is_tried_elsewhere(nginx: RunningNginx) -> None:
    with engines(Exchange.answer) as (engine,), black_hole() as silent:
        nginx.apply(plan(silent, engine.address))

        assert [nginx.post()[0] for _ in range(4)] == [200] * 4


@pytest.mark.parametrize("trouble", [reset, loading, lambda it: None], ids=["reset", "loading", "closed"])
def test_a_post_that_got_no_byte_is_tried_elsewhere(nginx: RunningNginx, trouble: Behaviour) -> None:
    body = b'{"model":"smollm2","prompt":"' + b"x" * 300_000 + b'"}'
    with engines(trouble, Exchange.answer) as (broken, healthy):
        nginx.apply(plan(broken.address, healthy.address))

        assert [nginx.post(body)[0] for _ in range(6)] == [200] * 6

    assert broken.seen
    assert {exchange.body for exchange in healthy.seen} == {body}


def test_a_frozen_replica_that_is_killed_is_tried_elsewhere(nginx: RunningNginx) -> None:
    killed = threading.Event()

    def freeze(exchange: Exchange) -> None:
        killed.wait(30)
        exchange.reset()

    with engines(freeze, Exchange.answer) as (frozen, healthy):
        nginx.apply(plan(frozen.address, healthy.address))
        clients = _Clients(nginx, 6)
        wait_for(lambda: frozen.seen and nginx.in_flight()["smollm2"] == len(frozen.seen), 10, "requests hang")
        killed.set()

        assert clients.statuses() == [200] * 6


def test_a_stream_that_began_is_not_tried_again(nginx: RunningNginx) -> None:
    def half(exchange: Exchange) -> None:
        exchange.begin_stream()
        exchange.send(b"data: 1\n\n")
        exchange.reset()

    with engines(half, half) as (one, two):
        nginx.apply(plan(one.address, two.address))
        connection = nginx.connect()
        connection.request("POST", "/v1/chat/completions", BODY)
        answer = connection.getresponse()
        assert answer.status == 200
        connection.close()

        wait_for(lambda: nginx.in_flight() == {"smollm2": 0}, 10, "the request is over")
        assert len(one.seen) + len(two.seen) == 1


def test_when_all_replicas_fail_the_answer_says_when_to_come_again(nginx: RunningNginx) -> None:
    nginx.apply(plan(*(Address("127.0.0.1", free_port()) for _ in range(2))))

    answer = nginx.post()

    assert (answer[0], answer[1]["Retry-After"]) == (503, "5")
    assert error_of(answer)["code"] == "no_replica_answered"
    with engines(Exchange.answer) as (engine,):
        nginx.apply(plan(engine.address))
        assert nginx.post()[0] == 200


def test_when_all_replicas_load_their_own_answer_passes(nginx: RunningNginx) -> None:
    with engines(loading, loading) as (one, two):
        nginx.apply(plan(one.address, two.address))

        assert nginx.post()[::2] == (503, b'{"error":{"message":"Loading model"}}')


def test_a_replica_that_never_answers_is_a_504(tmp_path: Path) -> None:
    clock = FakeClock()
    nginx = RunningNginx(parts_in(tmp_path, clock, read_timeout=timedelta(milliseconds=200)), clock)
    with engines(lambda it: it.client_left(20)) as (engine,):
        nginx.apply(plan(engine.address))
        answer = nginx.post()
    nginx.stop()

    assert (answer[0], answer[1]["Retry-After"]) == (504, "5")
    assert error_of(answer)["code"] == "replica_timeout"


# Streams


def test_bytes_arrive_before_the_engine_is_done(nginx: RunningNginx) -> None:
    go_on = threading.Event()

    def stream(exchange: Exchange) -> None:
        exchange.begin_stream()
        exchange.send(b"data: 1\n\n")
        go_on.wait(30)
        exchange.send(b"data: 2\n\n")

    with engines(stream) as (engine,):
        nginx.apply(plan(engine.address))
        connection = nginx.connect()
        connection.request("POST", "/v1/chat/completions", BODY)
        answer = connection.getresponse()

        assert answer.read(9) == b"data: 1\n\n"
        go_on.set()
        assert answer.read() == b"data: 2\n\n"
        connection.close()


def test_a_client_that_leaves_frees_its_replica(nginx: RunningNginx) -> None:
    begun, left = threading.Event(), list[bool]()

    def wait(exchange: Exchange) -> None:
        begun.set()
        left.append(exchange.client_left(20))

    with engines(wait) as (engine,):
        nginx.apply(plan(engine.address))
        connection = nginx.connect()
        connection.request("POST", "/v1/chat/completions", BODY)
        assert begun.wait(10), "nginx counts it before it has asked the engine, which would never hear of it"
        assert nginx.in_flight() == {"smollm2": 1}
        connection.close()

        wait_for(lambda: left == [True], 10, "the replica is free")
        wait_for(lambda: nginx.in_flight() == {"smollm2": 0}, 10, "nothing is in flight")


def test_a_stream_survives_reloads_and_the_removal_of_its_replica(nginx: RunningNginx) -> None:
    go_on = threading.Event()

    def stream(exchange: Exchange) -> None:
        exchange.begin_stream()
        exchange.send(b"1")
        go_on.wait(30)
        exchange.send(b"2")

    with engines(stream, Exchange.answer) as (old, new):
        nginx.apply(plan(old.address))
        connection = nginx.connect()
        connection.request("POST", "/v1/chat/completions", BODY)
        answer = connection.getresponse()
        for wanted in (plan(old.address, new.address), plan(new.address)):
            nginx.apply(wanted)
            assert nginx.in_flight() == {"smollm2": 1}
        assert nginx.post()[0] == 200
        go_on.set()
        assert answer.read() == b"12"
        connection.close()

        wait_for(lambda: nginx.in_flight() == {"smollm2": 0}, 10, "nothing is in flight")


# Plans


def test_an_equal_plan_touches_nothing(nginx: RunningNginx) -> None:
    wanted = plan(Address("127.0.0.1", 9))
    nginx.apply(wanted)
    conf = nginx.parts.folder / "nginx.conf"
    before = (nginx.settled(), conf.stat().st_mtime_ns, conf.read_bytes())

    nginx.apply(wanted)

    assert (nginx.workers(), conf.stat().st_mtime_ns, conf.read_bytes()) == before


def test_a_refused_plan_is_told_in_nginx_words_and_leaves_no_trace(nginx: RunningNginx) -> None:
    with engines(Exchange.answer) as (engine,):
        nginx.apply(plan(engine.address))
        before = (nginx.settled(), sorted(os.listdir(nginx.parts.folder)), nginx.error_log())
        nginx.clock.advance(60)

        with pytest.raises(GatewayRejected, match=r'invalid port in upstream "127\.0\.0\.1:99999"'):
            nginx.gateway.apply(plan(Address("127.0.0.1", 99999)))

        assert (nginx.workers(), sorted(os.listdir(nginx.parts.folder)), nginx.error_log()) == before
        assert nginx.post()[0] == 200


def test_two_changes_within_two_seconds_are_one_reload(nginx: RunningNginx) -> None:
    nginx.apply(plan(Address("127.0.0.1", 9)))
    workers = nginx.settled()
    later = plan(Address("127.0.0.1", 9), Address("127.0.0.1", 10))

    nginx.clock.advance(1)
    assert nginx.gateway.apply(later).retry_at == nginx.clock.now() + timedelta(seconds=1)
    assert nginx.workers() == workers
    nginx.clock.advance(1)
    assert nginx.gateway.apply(later).applied == later


def test_a_master_that_does_not_listen_gets_its_old_file_back(nginx: RunningNginx) -> None:
    first, second = plan(Address("127.0.0.1", 9)), plan(Address("127.0.0.1", 10))
    nginx.apply(first)
    conf = nginx.parts.folder / "nginx.conf"
    before = conf.read_bytes()
    nginx.clock.advance(60)
    os.kill(nginx.pid, signal.SIGSTOP)
    try:
        with pytest.raises(GatewayUnavailable, match="did not take"):
            nginx.gateway.apply(second)
    finally:
        os.kill(nginx.pid, signal.SIGCONT)

    assert conf.read_bytes() == before
    assert nginx.gateway.state().applied == first
    nginx.apply(second)


def test_three_hundred_replicas(nginx: RunningNginx) -> None:
    crowd = [Address(f"2001:db8::{number:x}", 65000) for number in range(1, 300)]

    nginx.apply(GatewayPlan((*plan(*crowd, pool=OTHER).pools, *plan(Address("127.0.0.1", 9)).pools)))

    assert nginx.error_log() == ""


def test_a_hundred_pools(nginx: RunningNginx) -> None:
    pools = tuple(PoolRoutes(PoolName(f"pool-{i:03}"), f"model-{i:03}-" + "x" * 100) for i in range(100))

    nginx.apply(GatewayPlan(pools))

    assert len(nginx.in_flight()) == 100
    assert json.loads(nginx.ask("GET", f"/v1/models/{pools[99].model}")[2])["id"] == pools[99].model
    assert error_of(nginx.post(json.dumps({"model": pools[99].model}).encode()))["code"] == "no_replica_ready"


# Death and rebirth


@pytest.mark.parametrize("orphans_too", [True, False], ids=["all of it", "its master"])
def test_a_killed_nginx_comes_back_with_its_last_plan(nginx: RunningNginx, orphans_too: bool) -> None:
    with engines(Exchange.answer) as (engine,):
        nginx.apply(plan(engine.address))

        nginx.kill(orphans_too=orphans_too)
        nginx.start()

        assert nginx.post()[0] == 200
        assert nginx.gateway.state().applied == plan(engine.address)
        nginx.apply(plan(engine.address, engine.address))


def test_a_stream_survives_the_death_of_the_master(nginx: RunningNginx) -> None:
    go_on = threading.Event()

    def stream(exchange: Exchange) -> None:
        exchange.begin_stream()
        exchange.send(b"the beginning, ")
        go_on.wait(30)
        exchange.send(b"the end")

    with engines(stream) as (engine,):
        nginx.apply(plan(engine.address))
        connection = nginx.connect()
        connection.request("POST", "/v1/chat/completions", BODY)
        answer = connection.getresponse()
        nginx.kill(orphans_too=False)
        nginx.start()
        go_on.set()
        assert answer.read() == b"the beginning, the end"
        connection.close()


def test_prepare_keeps_the_servers_of_the_pools_that_remain(nginx: RunningNginx) -> None:
    nginx.apply(GatewayPlan((*plan(Address("127.0.0.1", 9), pool=OTHER).pools, *plan(Address("127.0.0.1", 9)).pools)))
    nginx.stop()

    prepare(nginx.parts, [PoolRoutes(POOL.pool, "renamed")])
    nginx.start()

    renamed = PoolRoutes(POOL.pool, "renamed", (Server(ReplicaId("smollm2-001"), Address("127.0.0.1", 9)),))
    assert NginxGateway(nginx.parts).state().applied == GatewayPlan((renamed,))


def test_prepare_says_what_nginx_says(tmp_path: Path) -> None:
    with pytest.raises(GatewayRejected, match="bind"):
        prepare(parts_in(tmp_path, FakeClock(), host="192.0.2.1"), [POOL])


class _Clients:
    """Clients that each send one request, all at once."""

    def __init__(self, nginx: RunningNginx, count: int) -> None:
        self._statuses: list[int] = []
        self._threads = [threading.Thread(target=lambda: self._statuses.append(nginx.post()[0])) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def statuses(self) -> list[int]:
        """Of all of them, once they are done."""
        for thread in self._threads:
            thread.join()
        return self._statuses
