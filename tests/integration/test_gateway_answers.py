"""What becomes of answers: kept for a while, counted in tokens, told in the log."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.nginx.rules import PoolRules, Rules
from controller.settings import PlanSettings
from tests.fakes.clock import FakeClock
from tests.fakes.engine import Exchange, engines
from tests.fakes.running_nginx import RunningNginx, parts_in, plan
from tests.integration.gateway_access import ask, code_of, digest, gateway, give, key, record
from tests.waiting import wait_for

RULES = Rules(
    {"smollm2": PoolRules(cache="deterministic", cache_s=30, routing="least_connections")},
    (PlanSettings(name="gold", tokens_per_minute=1000),),
)
SAME = {"temperature": 0, "messages": [{"role": "user", "content": "hello"}]}
USAGE = {"prompt_tokens": 12, "completion_tokens": 34, "prompt_tokens_details": {"cached_tokens": 3}}


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[RunningNginx]:
    clock = FakeClock()
    running = RunningNginx(parts_in(tmp_path, clock, RULES), clock)
    give(running, {digest(key(1)): record(1, "gold"), digest(key(2)): record(2)})
    yield running
    running.stop()


@pytest.fixture
def log(nginx: RunningNginx) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", nginx.parts.ports.edge_log))
        receiver.settimeout(10)
        yield receiver


def line(log: socket.socket) -> dict[str, Any]:
    """The next line of the access log."""
    text = log.recv(4096)
    found: dict[str, Any] = json.loads(text[text.index(b"{") :])
    return found


def complete(exchange: Exchange) -> None:
    exchange.answer(json.dumps({"choices": [], "text": 'says "usage":{"prompt_tokens":7}', "usage": USAGE}).encode())


# Kept


def test_a_deterministic_request_is_answered_once(nginx: RunningNginx) -> None:
    with engines(complete) as (engine,):
        nginx.apply(plan(engine.address))
        answers = [ask(nginx, None, SAME) for _ in range(3)]
        assert [answer[1]["X-Cache"] for answer in answers] == ["MISS", "HIT", "HIT"]
        assert len({answer[2] for answer in answers}) == 1
        assert len({answer[1]["X-Request-Id"] for answer in answers}) == 3
        assert len(engine.seen) == 1

        for other in ({}, {**SAME, "temperature": 0.5}, {**SAME, "messages": []}, {**SAME, "stream": True}):
            assert ask(nginx, None, other)[1].get("X-Cache") in (None, "MISS")
        assert len(engine.seen) == 5
        assert ask(nginx, None, {"seed": 7})[1]["X-Cache"] == "MISS"
        assert ask(nginx, None, {"seed": 7})[1]["X-Cache"] == "HIT"


def test_nobody_gets_the_answer_of_another_key(nginx: RunningNginx) -> None:
    with engines(complete) as (engine,):
        nginx.apply(plan(engine.address))
        caches = [ask(nginx, secret, SAME)[1]["X-Cache"] for secret in (None, key(1), key(2), key(1), key(2), "EMPTY")]

    assert caches == ["MISS", "MISS", "MISS", "HIT", "HIT", "HIT"]


def test_what_must_not_be_stored_is_not(nginx: RunningNginx) -> None:
    with engines(complete) as (engine,):
        nginx.apply(plan(engine.address))
        for _ in range(2):
            assert "X-Cache" not in ask(nginx, None, SAME, Cache_Control="no-store")[1]
        assert ask(nginx, None, SAME)[1]["X-Cache"] == "MISS"
        assert ask(nginx, None, SAME, Cache_Control="no-cache")[1]["X-Cache"] == "BYPASS"
        assert ask(nginx, None, SAME)[1]["X-Cache"] == "HIT"
        assert len(engine.seen) == 4


def test_an_error_is_not_kept(nginx: RunningNginx) -> None:
    with engines(lambda it: it.answer(b"{}", "500 Internal Server Error")) as (engine,):
        nginx.apply(plan(engine.address))
        assert [ask(nginx, None, SAME)[0] for _ in range(2)] == [500, 500]
        engine.behave = complete
        assert ask(nginx, None, SAME)[0] == 200


def test_identical_requests_at_the_same_time_go_to_a_replica_once(nginx: RunningNginx) -> None:
    go_on = threading.Event()

    def slow(exchange: Exchange) -> None:
        go_on.wait(30)
        complete(exchange)

    with engines(slow) as (engine,):
        nginx.apply(plan(engine.address))
        found: list[tuple[int, bytes]] = []
        threads = [threading.Thread(target=lambda: found.append(ask(nginx, None, SAME)[::2])) for _ in range(6)]
        for thread in threads:
            thread.start()
        wait_for(lambda: nginx.in_flight() == {"smollm2": 6}, 10, "all are in flight")
        go_on.set()
        for thread in threads:
            thread.join(30)

        assert len(engine.seen) == 1
        assert (len(found), len(set(found)), found[0][0]) == (6, 1, 200)


def test_a_full_pool_still_gives_what_is_kept(tmp_path: Path) -> None:
    rules = Rules({"smollm2": PoolRules(cache="all", max_in_flight=1)})
    with gateway(tmp_path, rules) as nginx:
        go_on = threading.Event()
        with engines(complete) as (engine,):
            nginx.apply(plan(engine.address))
            assert ask(nginx, None, SAME)[1]["X-Cache"] == "MISS"
            engine.behave = lambda it: (go_on.wait(30), complete(it))
            busy = threading.Thread(target=ask, args=(nginx, None, {"prompt": "busy"}))
            busy.start()
            wait_for(lambda: len(engine.seen) == 2, 10, "the pool is full")
            assert ask(nginx, None, SAME)[1]["X-Cache"] == "HIT"
            assert code_of(ask(nginx, None, {"prompt": "new"})) == (503, "overloaded")
            go_on.set()
            busy.join(30)


# Counted


def test_the_tokens_of_an_answer_are_in_the_log(nginx: RunningNginx, log: socket.socket) -> None:
    with engines(complete) as (engine,):
        nginx.apply(plan(engine.address))
        answer = ask(nginx, key(1), {"temperature": 1})
        told = line(log)
        assert (told["key"], told["plan"], told["tokens_in"], told["tokens_out"]) == (
            "key_000000000001",
            "gold",
            "12",
            "34",
        )
        assert (told["replica"], told["cache"], told["refused"]) == ("smollm2-001", "", "")
        assert answer[1]["X-RateLimit-Limit-Tokens"] == answer[1]["X-RateLimit-Remaining-Tokens"] == "1000"
        assert ask(nginx, key(1), {"temperature": 1})[1]["X-RateLimit-Remaining-Tokens"] in ("954", "1000")
        line(log)

        for cache, tokens in (("MISS", "12"), ("HIT", "")):
            ask(nginx, None, SAME)
            told = line(log)
            assert (told["cache"], told["tokens_in"], told["layer"]) == (cache, tokens, "nginx")


def test_what_was_refused_is_in_the_log_with_its_cause(nginx: RunningNginx, log: socket.socket) -> None:
    nginx.ask("GET", "/nowhere")
    assert line(log)["refused"] == "path"
    nginx.ask("POST", "/v1/elsewhere", b"{}")
    assert line(log)["refused"] == "path"
    nginx.post(b"[")
    assert line(log)["refused"] == "body"
    nginx.post(b'{"model":"x"}')
    assert line(log)["refused"] == "model_unknown"
    nginx.post()
    told = line(log)
    assert (told["refused"], told["pool"], told["status"]) == ("no_replica", "smollm2", "503")


def events(*objects: dict[str, Any], gap: bytes = b"\n\n") -> list[bytes]:
    return [b"data: " + json.dumps(one).encode() + gap for one in objects] + [b"data: [DONE]" + gap]


CHUNK = {"choices": [{"delta": {"content": 'a "usage" of words'}}]}
LAST: dict[str, Any] = {"choices": [], "usage": USAGE}


@pytest.mark.parametrize("gap", [b"\n\n", b"\r\n\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("cut", [None, 1, 7, 100], ids=lambda cut: f"pieces of {cut}")
def test_the_usage_that_only_the_gateway_asked_for_does_not_reach_the_client(
    nginx: RunningNginx, log: socket.socket, cut: int | None, gap: bytes
) -> None:
    pieces = events(CHUNK, CHUNK, LAST, gap=gap)

    def stream(exchange: Exchange) -> None:
        assert json.loads(exchange.body)["stream_options"] == {"include_usage": True}
        exchange.begin_stream()
        text = b"".join(pieces)
        for start in range(0, len(text), cut or len(text)):
            exchange.send(text[start : start + (cut or len(text))])

    with engines(stream) as (engine,):
        nginx.apply(plan(engine.address))
        _, _, body = ask(nginx, key(1), {"stream": True})
        told = line(log)

    assert body == b"".join(events(CHUNK, CHUNK, gap=gap))
    assert (told["tokens_in"], told["tokens_out"]) == ("12", "34")


def test_an_answer_that_is_no_stream_stays_as_it_is(nginx: RunningNginx, log: socket.socket) -> None:
    with engines(complete) as (engine,):
        nginx.apply(plan(engine.address))
        assert json.loads(ask(nginx, key(1), {"stream": True})[2])["usage"] == USAGE
        assert line(log)["tokens_in"] == "12"


def test_the_usage_that_the_client_asked_for_reaches_it(nginx: RunningNginx, log: socket.socket) -> None:
    pieces = b"".join(events({**CHUNK, "usage": None}, LAST))

    def stream(exchange: Exchange) -> None:
        exchange.begin_stream()
        exchange.send(pieces)

    with engines(stream) as (engine,):
        nginx.apply(plan(engine.address))
        sent = {"stream": True, "stream_options": {"include_usage": True}}
        assert ask(nginx, key(1), sent)[2] == pieces
        told = line(log)
        assert json.loads(engine.seen[0].body) == {"model": "smollm2", **sent}

    assert (told["tokens_in"], told["tokens_out"]) == ("12", "34")


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("count", [1, 30])
def test_who_leaves_a_stream_early_pays_for_about_what_came(
    nginx: RunningNginx, log: socket.socket, count: int, asked: bool
) -> None:
    def stream(exchange: Exchange) -> None:
        exchange.begin_stream()
        for piece in events(*[CHUNK] * count)[:-1]:
            exchange.send(piece)
        exchange.client_left(30)

    body = {"model": "smollm2", "stream": True, **({"stream_options": {"include_usage": True}} if asked else {})}
    with engines(stream) as (engine,), contextlib.closing(nginx.connect()) as connection:
        nginx.apply(plan(engine.address))
        headers = {"Authorization": f"Bearer {key(1)}"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body).encode(), headers)
        answer = connection.getresponse()
        came = b""
        while came.count(b"data:") < count:
            came += answer.read1()
        answer.close()
        connection.close()
        told = line(log)

    assert int(told["tokens_in"]) > 0
    assert max(1, count - 8) < int(told["tokens_out"]) + 1 <= count + 1


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False, "x": 1}])
def test_a_body_is_changed_as_little_as_can_be(nginx: RunningNginx, options: dict[str, Any] | None) -> None:
    with engines(Exchange.answer) as (engine,):
        nginx.apply(plan(engine.address))
        text = b'\n { "model":"smollm2", "stream":true, "n": 1.0, "big": 12345678901234567890 }'
        nginx.post(text)
        assert engine.seen[0].body == text.replace(b"{", b'{"stream_options":{"include_usage":true},', 1)
        ask(nginx, None, {"stream": True, "stream_options": options})
        sent = json.loads(engine.seen[1].body)["stream_options"]

    assert sent == {**(options or {}), "include_usage": True}
