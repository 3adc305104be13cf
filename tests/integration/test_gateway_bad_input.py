"""What a gateway makes of requests that are wrong, rude or deceptive: an error in OpenAI's words, or a clean end.

One nginx for the whole file. After each test nothing is in flight, no worker has died, and the error log has nothing in
it but what the test expects.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from controller.adapters.nginx.rules import PoolRules, Rules
from controller.core.model import GatewayPlan, PoolName, PoolRoutes
from controller.settings import PlanSettings
from tests.fakes.clock import FakeClock
from tests.fakes.engine import Exchange, FakeEngine
from tests.fakes.running_nginx import RunningNginx, parts_in, plan
from tests.integration.gateway_access import digest, give, key, record
from tests.integration.gateway_load import Load
from tests.integration.gateway_raw import Wire, chunked, request
from tests.integration.gateway_watch import Watched, idle, in_flight, watched
from tests.waiting import wait_for

MOST_BYTES = 64 * 1024
CLIENT_TIMEOUT = timedelta(seconds=1)
OTHER = PoolRoutes(PoolName("other"), "other")
RULES = Rules(
    {
        "smollm2": PoolRules(open=False, routing="least_connections", max_in_flight=2, cache="deterministic"),
        "other": PoolRules(open=True, routing="least_connections"),
    },
    (PlanSettings(name="gold", max_body_bytes=2048),),
)
BODY = b'{"model":"smollm2"}'
SECRET = key(1)
AUTH = f"Authorization: Bearer {SECRET}"
HIDDEN = request(b'{"model":"smollm2","hidden":true}', AUTH)  # what is to be smuggled


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with running(tmp_path_factory.mktemp("gateway")) as found:
        yield found


@pytest.fixture
def gateway(place: Watched) -> Iterator[Watched]:
    """The place, and what holds of it after each test."""
    place.engine.behave = Exchange.answer
    place.begin()
    yield place
    place.end(*EXPECTED)


EXPECTED = ("no live upstreams while connecting to upstream", "js exception: the client does not read its stream")


def running(folder: Path) -> AbstractContextManager[Watched]:
    clock, engine = FakeClock(), FakeEngine()
    parts = parts_in(
        folder,
        clock,
        RULES,
        client_timeout=CLIENT_TIMEOUT,
        max_body_bytes=MOST_BYTES,
        queue_timeout=timedelta(seconds=30),
        max_header_bytes=8192,
    )
    nginx = RunningNginx(parts, clock)
    expired = int(time.time()) - 1
    give(
        nginx,
        {
            digest(key(1)): record(1),
            digest(key(2)): record(2, plan="gold"),
            digest(key(3)): record(3, expires=expired),
            digest(key(4)): record(4, models="other"),
        },
    )
    nginx.apply(GatewayPlan((*plan(engine.address, pool=OTHER).pools, *plan(engine.address).pools)))
    return watched(nginx, engine)


def asked(gateway: Watched, data: bytes) -> tuple[int, str]:
    """Status, and code of the error."""
    with Wire(gateway.nginx) as wire:
        said = wire.ask(data)
        assert said is not None
        return said.status, said.code if said.status >= 400 else ""


# Whose it is


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        pytest.param(None, 401, "invalid_api_key", id="none"),
        pytest.param("Authorization:", 401, "invalid_api_key", id="empty"),
        pytest.param("Authorization: Bearer", 401, "invalid_api_key", id="scheme only"),
        pytest.param(f"Authorization: {key(1)}", 401, "invalid_api_key", id="no scheme"),
        pytest.param("Authorization: Basic c2stc3Rva2VyLTE6", 401, "invalid_api_key", id="another scheme"),
        pytest.param(f"Authorization: Bearer {key(1)}, Bearer {key(1)}", 401, "invalid_api_key", id="two in one"),
        pytest.param(f"Authorization: Bearer {key(1)[:-1]}", 401, "invalid_api_key", id="too short"),
        pytest.param(f"Authorization: Bearer {key(1).upper()}", 401, "invalid_api_key", id="upper case"),
        pytest.param(f"Authorization: Bearer sk-stoker-{'x' * 7000}", 401, "invalid_api_key", id="very long"),
        pytest.param(b"Authorization: Bearer sk-stoker-\xff\xfe", 401, "invalid_api_key", id="no UTF-8"),
        pytest.param("Authorization: Bearer #version", 401, "invalid_api_key", id="a word of the table of keys"),
        pytest.param(f"Authorization: Bearer {digest(key(1))}", 401, "invalid_api_key", id="its digest"),
        pytest.param(f"Authorization: Bearer {key(1)}\r\nAuthorization: x", 400, "bad_request", id="two headers"),
        pytest.param(f"Authorization: Bearer {key(3)}", 401, "expired_api_key", id="expired"),
        pytest.param(f"Authorization: Bearer {key(4)}", 403, "model_not_allowed", id="for another model"),
        pytest.param(f"X-Api-Key: {key(1)}", 401, "invalid_api_key", id="another header"),
        pytest.param(f"authorization: bearer   {key(1)}  ", 200, "", id="another case, and spaces"),
    ],
)
def test_who_is_let_in(gateway: Watched, header: str | bytes | None, status: int, code: str) -> None:
    assert asked(gateway, request(BODY, *([] if header is None else [header]))) == (status, code)
    assert len(gateway.engine.seen) == (1 if status == 200 else 0)


def test_what_only_the_gateway_may_say_a_client_says_in_vain(gateway: Watched) -> None:
    claims = ("Pool: other", "User: somebody", "Replica: other-001", "Tried: 127.0.0.1:1", "Cache: HIT", "Key: key_1")
    headers = [f"X-Stoker-{claim}" for claim in claims]

    assert asked(gateway, request(BODY, *headers)) == (401, "invalid_api_key")
    assert asked(gateway, request(b'{"model":"nobody"}', *headers)) == (404, "model_not_found")
    gateway.log()
    for extra in (b"", b',"stream":true', b',"temperature":0'):
        assert asked(gateway, request(b'{"model":"smollm2"%s}' % extra, AUTH, *headers)) == (200, "")
    heads = b"".join(exchange.head for exchange in gateway.engine.seen).lower()
    assert len(gateway.engine.seen) == 3
    assert b"x-stoker-pool: other" not in heads
    assert b"x-stoker-user: somebody" not in heads
    wait_for(lambda: gateway.log().count(b'"pool":"smollm2"') >= 3, 10, "the log")
    assert b'"pool":"other"' not in gateway.log()


def test_a_key_is_told_nobody(gateway: Watched) -> None:
    """Neither the engine, nor who reads logs, nor who sees an error."""
    gateway.engine.behave = Exchange.reset
    bodies = (BODY, b'{"model":"smollm2","stream":true}', b'{"model":"smollm2","seed":1}', b'{"model":"x"}', b"[")
    told = b""
    for body in bodies:
        with Wire(gateway.nginx) as wire:
            said = wire.ask(request(body, AUTH, f"X-User-Id: {SECRET}"))
            assert said is not None
            assert said.status >= 400
            told += said.body + str(said.headers).encode()
    gateway.engine.behave = Exchange.answer
    assert asked(gateway, request(BODY, AUTH)) == (200, "")

    assert len(gateway.engine.seen) >= 4
    wait_for(lambda: b'"status":"200"' in gateway.log(), 10, "the log")
    for text in (told, gateway.log(), gateway.nginx.error_log().encode()):
        assert SECRET.encode() not in text
        assert digest(SECRET).encode() not in text
    heads = b"".join(exchange.head for exchange in gateway.engine.seen)
    assert b"authorization" not in heads.lower()
    gateway.end("while reading (response header from )?upstream")
    gateway.begin()


# Bodies


def fill(size: int) -> bytes:
    """A body of that size."""
    return b'{"model":"smollm2","p":"%s"}' % (b"x" * (size - 26))


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(b"", 400, "invalid_json", id="empty"),
        pytest.param(b"model=smollm2", 400, "invalid_json", id="a form"),
        pytest.param(b'"smollm2"', 400, "invalid_json", id="a string"),
        pytest.param(b'[{"model":"smollm2"}]', 400, "invalid_json", id="a list"),
        pytest.param(BODY + b"{}", 400, "invalid_json", id="something after it"),
        pytest.param(BODY + b"\0", 400, "invalid_json", id="NUL after it"),
        pytest.param(b'{"model":"smollm2","a":"\0"}', 400, "invalid_json", id="NUL in a string"),
        pytest.param(b"\xef\xbb\xbf" + BODY, 400, "invalid_json", id="byte order mark"),
        pytest.param(BODY.decode().encode("utf-16"), 400, "invalid_json", id="UTF-16"),
        pytest.param(b'{"model":"smollm2","a":"\xff"}', 400, "invalid_json", id="a byte that UTF-8 has not"),
        pytest.param(b'{"model":"smollm2","a":"\xc3"}', 400, "invalid_json", id="half a character"),
        pytest.param(b'{"model":"smollm2","a":"\xf0\x9f\x98"}', 400, "invalid_json", id="three quarters of one"),
        pytest.param(b'{"model":"smollm2","a":"\xed\xa0\x80"}', 400, "invalid_json", id="a surrogate in UTF-8"),
        pytest.param(b'{"model":"smollm2","a":"\xc0\xaf"}', 400, "invalid_json", id="overlong"),
        pytest.param(b'{"model":"smollm2","a":' + b"[" * 20_000, 400, "invalid_json", id="deep, without an end"),
        pytest.param(b'{"model":"smollm2","a":%s%s}' % (b"[" * 9000, b"]" * 9000), 400, "invalid_json", id="deep"),
        pytest.param(b'{"a":' * 5000 + BODY + b"}" * 5000, 400, "invalid_json", id="deep objects"),
        pytest.param(b'{"model":"smollm2","n":NaN}', 400, "invalid_json", id="NaN"),
        pytest.param(b'{"model":null}', 400, "model_missing", id="model null"),
        pytest.param(b'{"model":["smollm2"]}', 400, "model_missing", id="model a list"),
        pytest.param(b'{"model":{"toString":"smollm2"}}', 400, "model_missing", id="model an object"),
        pytest.param(b'{"model":"smollm2","model":7}', 400, "model_missing", id="the last one counts"),
        pytest.param(b'{"__proto__":{"model":"smollm2"}}', 400, "model_missing", id="prototype"),
        pytest.param(b'{"model":"smollm2","model":"x"}', 404, "model_not_found", id="the last one counts here, too"),
        pytest.param(b'{"model":"\\ud800"}', 404, "model_not_found", id="lone surrogate in the model"),
        pytest.param(b'{"model":"smollm2\\u0000"}', 404, "model_not_found", id="NUL in the model"),
        pytest.param(b'{"model":"smollm2\\n"}', 404, "model_not_found", id="line break in the model"),
        pytest.param(b'{"model":"%s"}' % (b"smollm2" * 5000), 404, "model_not_found", id="long model"),
        pytest.param(b'{"model":"smollm2 smollm2 open -1"}', 404, "model_not_found", id="rules in the model"),
        pytest.param(b'{"model":"$stoker_key ${request}"}', 404, "model_not_found", id="variables in the model"),
        pytest.param(b'{"model":"default"}', 404, "model_not_found", id="a word of nginx"),
        pytest.param(b'{"model":""}', 404, "model_not_found", id="no name"),
        pytest.param(fill(MOST_BYTES + 1), 413, "request_too_large", id="too large"),
        pytest.param(fill(MOST_BYTES), 200, "", id="as large as may be"),
        pytest.param(b'{"model":"x","model":"smollm2"}', 200, "", id="two models, of which the last is known"),
        pytest.param(b'{"mod\\u0065l":"smollm2"}', 200, "", id="escapes in a name"),
        pytest.param(b'{"model":"smollm2","user":"\\ud800"}', 200, "", id="lone surrogate in the user"),
        pytest.param(b'{"model":"smollm2","user":"\\u0000\\r\\nX-A: b"}', 200, "", id="line break in the user"),
        pytest.param(b'{"model":"smollm2","user":{"a":1},"seed":1e999}', 200, "", id="a number without end"),
        pytest.param(b'{"model":"smollm2","temperature":-1e999,"n":1e-999}', 200, "", id="numbers without end"),
        pytest.param(b'{"model":"smollm2","stream":"true","stream_options":7}', 200, "", id="stream is a string"),
        pytest.param(b'{"model":"smollm2","stream":true,"stream_options":[1]}', 200, "", id="options are a list"),
        pytest.param(b'{"model":"smollm2","\\ud800":1,"a":"\xef\xbf\xbd"}', 200, "", id="a replacement character"),
        pytest.param(b'{"constructor":1,"toString":2,"model":"smollm2"}', 200, "", id="names of methods"),
    ],
)
def test_what_a_body_says(gateway: Watched, body: bytes, status: int, code: str) -> None:
    assert asked(gateway, request(body, AUTH)) == (status, code)
    if len(body) <= MOST_BYTES:
        pieces = request(b"", AUTH, "Transfer-Encoding: chunked", length=False) + chunked(*([body] if body else []))
        assert asked(gateway, pieces) == (status, code)
    assert len(gateway.engine.seen) == (2 if status == 200 else 0) - (status == 200 and b"seed" in body)
    for exchange in gateway.engine.seen:
        assert exchange.body.endswith(body[1:]), "the engine gets it as it is"


@pytest.mark.parametrize("user", [r"a\n", r"a\r\nX-Evil: 1", r"a\u0000", r"\u00e4", "a b", "", "a" * 65])
def test_no_odd_name_of_a_user_is_in_a_header(gateway: Watched, user: str) -> None:
    body = b'{"model":"smollm2","stream":true,"user":"%s"}' % user.encode()
    assert asked(gateway, request(body, AUTH)) == (200, "")
    (exchange,) = gateway.engine.seen
    (said,) = [line for line in exchange.head.split(b"\r\n") if line.lower().startswith(b"x-stoker-user:")]
    value = said.partition(b": ")[2]
    assert value.startswith(b"key-") if user == "" else len(value) == 64
    assert b"evil" not in exchange.head.lower()


def test_a_body_in_very_small_pieces_is_the_same(gateway: Watched) -> None:
    """Its framing is larger than what nginx keeps in memory."""
    head = request(b"", AUTH, "Transfer-Encoding: chunked", length=False)
    for letter in (b"x", b"y"):
        body = b'{"model":"smollm2","temperature":0,"p":"%s"}' % (letter * 40_000)
        assert asked(gateway, head + chunked(*(bytes([byte]) for byte in body))) == (200, "")
        assert gateway.engine.seen[-1].body == body
    assert len(gateway.engine.seen) == 2, "the answer to one is not the answer to the other"

    body = fill(MOST_BYTES + 1)
    with Wire(gateway.nginx) as wire:
        said = wire.ask(head + chunked(*(bytes([byte]) for byte in body)))
    assert said is not None
    assert (said.status, said.code) == (413, "request_too_large")


def test_what_is_announced_as_too_large_is_refused_before_it_comes(gateway: Watched) -> None:
    for header in (f"Content-Length: {MOST_BYTES + 1}", "Content-Length: 9000000000000000000"):
        assert asked(gateway, request(b"", AUTH, header, length=False)) == (413, "request_too_large")
    pieces = request(b"", AUTH, "Transfer-Encoding: chunked", length=False)
    assert asked(gateway, pieces + b"7fffffff\r\n" + BODY) == (413, "request_too_large")


def test_a_plan_allows_less_however_the_body_comes(gateway: Watched) -> None:
    gold, body = f"Authorization: Bearer {key(2)}", fill(2049)
    assert asked(gateway, request(body, gold)) == (413, "request_too_large")
    pieces = request(b"", gold, "Transfer-Encoding: chunked", length=False) + chunked(*(bytes([one]) for one in body))
    assert asked(gateway, pieces) == (413, "request_too_large")
    assert gateway.engine.seen == []
    assert asked(gateway, request(fill(2048), gold)) == (200, "")


# Slow ones


def test_who_does_not_come_to_an_end_is_cut_off(gateway: Watched) -> None:
    pieces = request(b"", AUTH, "Transfer-Encoding: chunked", length=False)
    begun = {
        "half a request line": b"POST /v1/chat/comp",
        "half of the headers": b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nX-A: ",
        "half a body": request(BODY, AUTH)[:-3],
        "no body": request(b"", AUTH, "Content-Length: 10", length=False),
        "no end of a chunk": pieces + b"13\r\n" + BODY[:5],
        "no end of the chunks": pieces + b"13\r\n" + BODY + b"\r\n",
        "no end of a chunk's size": pieces + b"1",
    }
    wires = {name: Wire(gateway.nginx) for name in begun}
    for name, wire in wires.items():
        wire.send(begun[name])
    for name, wire in wires.items():
        with wire:
            assert wire.answer() is None, name
    assert gateway.engine.seen == []


def test_who_leaves_in_the_middle_of_a_request_leaves_nothing_behind(gateway: Watched) -> None:
    for data in (request(BODY, AUTH)[:-3], request(BODY, AUTH)[:40]):
        for end in (Wire.reset, lambda wire: wire.socket.close()):
            wire = Wire(gateway.nginx)
            wire.send(data)
            end(wire)
    assert asked(gateway, request(BODY, AUTH)) == (200, "")


def worker_memory(nginx: RunningNginx) -> int:
    """Bytes of all workers."""
    return sum(psutil.Process(pid).memory_info().rss for pid in nginx.workers())


@pytest.mark.parametrize("options", [b"", b',"stream_options":{"include_usage":true}'], ids=["metered", "asked for"])
def test_who_stops_reading_a_stream_frees_its_replica(gateway: Watched, options: bytes) -> None:
    freed = threading.Event()

    def flood(exchange: Exchange) -> None:
        exchange.begin_stream()
        try:
            while True:
                exchange.connection.sendall(b"data: %s\n\n" % (b"x" * 4000))
        except OSError:
            freed.set()

    gateway.engine.behave = flood
    before = worker_memory(gateway.nginx)
    with Wire(gateway.nginx) as wire:
        wire.send(request(b'{"model":"smollm2","stream":true%s}' % options, AUTH))
        assert freed.wait(30), "the replica is free"
        wait_for(lambda: idle(gateway.nginx), 20, "nothing is in flight")
        assert worker_memory(gateway.nginx) - before < 48 * 2**20, "nginx did not keep what nobody read"


def test_who_does_not_read_an_answer_is_cut_off(gateway: Watched) -> None:
    gateway.engine.behave = lambda exchange: exchange.answer(b"x" * 30_000_000)
    with Wire(gateway.nginx) as wire:
        wire.send(request(BODY, AUTH))
        wait_for(lambda: gateway.engine.seen, 10, "the replica has it")
        wait_for(lambda: idle(gateway.nginx), 20, "nothing is in flight")


@pytest.mark.parametrize(
    "body",
    [BODY, b'{"model":"smollm2","stream":true}', b'{"model":"smollm2","temperature":0,"seed":5}'],
    ids=["direct", "stream", "kept"],
)
def test_who_leaves_while_waiting_takes_no_room_with_it(gateway: Watched, body: bytes) -> None:
    go_on = threading.Event()

    def hold(exchange: Exchange) -> None:
        go_on.wait(30)
        exchange.answer()

    gateway.engine.behave = hold
    first = [Wire(gateway.nginx) for _ in range(2)]
    for wire in first:
        wire.send(request(BODY, AUTH))
    wait_for(lambda: len(gateway.engine.seen) == 2, 10, "the pool is full")
    waiting = [Wire(gateway.nginx) for _ in range(4)]
    for wire in waiting:
        wire.send(request(body, AUTH))
    wait_for(lambda: in_flight(gateway.nginx)["waiting"]["smollm2"] == 4, 10, "four wait")
    waiting[0].reset()
    for wire in waiting[1:]:
        wire.socket.close()
    wait_for(lambda: in_flight(gateway.nginx)["pools"]["smollm2"] == 2, 15, "nobody waits, before anybody is served")

    go_on.set()
    for wire in first:
        with wire:
            said = wire.answer()
            assert said is not None
            assert said.status == 200
    wait_for(lambda: idle(gateway.nginx), 20, "nothing is in flight")
    gateway.engine.behave = Exchange.answer
    assert len(gateway.engine.seen) == 2, "nobody works for those who left"
    assert [asked(gateway, request(BODY, AUTH))[0] for _ in range(3)] == [200] * 3, "all room is there again"


def test_who_leaves_a_request_that_may_be_kept_finds_its_answer_when_he_comes_again(gateway: Watched) -> None:
    go_on = threading.Event()

    def hold(exchange: Exchange) -> None:
        go_on.wait(30)
        exchange.answer(b'{"n":1}')

    gateway.engine.behave = hold
    body = b'{"model":"smollm2","seed":17}'
    with Wire(gateway.nginx) as wire:
        wire.send(request(body, AUTH))
        wait_for(lambda: gateway.engine.seen, 10, "the replica has it")
    go_on.set()

    with Wire(gateway.nginx) as wire:
        said = wire.ask(request(body, AUTH))
    assert said is not None
    assert (said.status, said.headers["x-cache"], said.body) == (200, "HIT", b'{"n":1}')
    assert len(gateway.engine.seen) == 1


def test_no_room_is_lost_when_many_leave_while_waiting(gateway: Watched) -> None:
    """Each at another moment: some just when it would be their turn."""
    with Load(gateway.nginx, 24, leave_ratio=0.6, ask=lambda number: (BODIES[number % 3], HEADERS_OF_KEY)) as load:
        load.await_more(3000)
        outcomes = load.finish()

    assert set(outcomes) <= {200, 503, "left"}
    assert min(outcomes[200], outcomes["left"]) > 500
    wait_for(lambda: idle(gateway.nginx), 20, f"nothing is in flight: {in_flight(gateway.nginx)}")


BODIES = (BODY, b'{"model":"smollm2","stream":true}', b'{"model":"smollm2","seed":3}')
HEADERS_OF_KEY = {"Authorization": f"Bearer {SECRET}"}


# Headers


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(["X-A: " + "y" * 9000], id="one that is too long"),
        pytest.param(["X-" + "a" * 9000 + ": y"], id="a name that is too long"),
        pytest.param([f"X-{number}: {'y' * 100}" for number in range(2000)], id="too many"),
        pytest.param([f"X-{number}: {'y' * 7000}" for number in range(8)], id="too much in all"),
    ],
)
def test_headers_have_a_limit(gateway: Watched, headers: list[str]) -> None:
    assert asked(gateway, request(BODY, AUTH, *headers)) == (431, "headers_too_large")
    assert gateway.engine.seen == []


def test_headers_that_nobody_has_asked_for_do_no_harm(gateway: Watched) -> None:
    odd = ["X-A: \xff\xfe", "X-User-Id: \xff\xc3", "X-Request-Id: a\tb", "Cache-Control: \xff", "X-B:", "Cookie: ;=;"]
    body = b'{"model":"smollm2","temperature":0}'
    assert asked(gateway, request(body, AUTH, *(line.encode("latin-1") for line in odd))) == (200, "")
    for line in ("If-Match: x", "If-None-Match: *", "If-Modified-Since: never", "Range: bytes=0-1", "TE: trailers"):
        assert asked(gateway, request(body, AUTH, line)) == (200, ""), line


# Where one request ends and the next begins


def pieces(*headers: str | bytes, body: bytes = BODY) -> bytes:
    """A body in chunks under these headers."""
    return request(b"", AUTH, *headers, length=False) + chunked(body)


CHUNKS = pieces("Transfer-Encoding: chunked")
BOTH = f"Content-Length: {len(chunked(BODY))}"
REFUSED = {
    "length and chunks": pieces("Transfer-Encoding: chunked", BOTH),
    "chunks and length": pieces(BOTH, "Transfer-Encoding: chunked"),
    "length 0 and chunks": pieces("Content-Length: 0", "Transfer-Encoding: chunked"),
    "two lengths": request(BODY, AUTH, "Content-Length: 0"),
    "the same length twice": request(BODY, AUTH, f"Content-Length: {len(BODY)}"),
    "a list of lengths": request(BODY, AUTH, "Content-Length: 19, 19", length=False),
    "+": request(BODY, AUTH, "Content-Length: +19", length=False),
    "-": request(BODY, AUTH, "Content-Length: -1", length=False),
    "hexadecimal": request(BODY, AUTH, "Content-Length: 0x13", length=False),
    "a space within": request(BODY, AUTH, "Content-Length: 1 9", length=False),
    "a space before the colon": request(BODY, AUTH, "Content-Length : 19", length=False),
    "a length beyond all": request(BODY, AUTH, "Content-Length: 99999999999999999999", length=False),
    "no length": request(BODY, AUTH, "Content-Length:", length=False),
    "xchunked": pieces("Transfer-Encoding: xchunked"),
    "identity": pieces("Transfer-Encoding: identity", BOTH),
    "gzip, chunked": pieces("Transfer-Encoding: gzip, chunked"),
    "chunked, chunked": pieces("Transfer-Encoding: chunked, chunked"),
    "chunked;x": pieces("Transfer-Encoding: chunked;x"),
    "quoted": pieces('Transfer-Encoding: "chunked"'),
    "twice": pieces("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "tab": pieces("Transfer-Encoding:\tchunked"),
    "vertical tab": pieces("Transfer-Encoding: \x0bchunked"),
    "space before the colon": pieces("Transfer-Encoding : chunked"),
    "NUL": pieces("Transfer-Encoding: chunked\0"),
    "folded": pieces("Transfer-Encoding:\r\n chunked"),
    "a folded header": request(BODY, AUTH, "X-A: b\r\n c: d"),
    "chunks in HTTP/1.0": CHUNKS.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "CR alone": request(BODY, AUTH, "X-A: b\rX-B: c"),
    "NUL in a header": request(BODY, AUTH, "X-A: b\0c"),
    "a space in a name": request(BODY, AUTH, "X A: b"),
    "two hosts": request(BODY, AUTH, "Host: other"),
    "a host with a space": request(BODY, AUTH).replace(b"Host: gateway", b"Host: a b"),
    "NUL in the path": request(BODY, AUTH, path="/v1/chat/completions\0"),
    "NUL in the path, encoded": request(BODY, AUTH, path="/v1/chat/completions%00"),
    "a path that climbs out": request(BODY, AUTH, path="/../v1/chat/completions"),
    "no path": request(BODY, AUTH, path="v1/chat/completions"),
    "a method in lower case": request(BODY, AUTH, method="post"),
    "HTTP/3.0": request(BODY, AUTH).replace(b"HTTP/1.1", b"HTTP/3.0"),
    "HTTP/1.1x": request(BODY, AUTH).replace(b"HTTP/1.1", b"HTTP/1.1x"),
    "HTTP/2 without TLS": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a chunk's size that is none": CHUNKS.replace(b"\r\n13\r\n", b"\r\n0x13\r\n"),
    "a chunk's size beyond all": CHUNKS.replace(b"\r\n13\r\n", b"\r\nffffffffffffffff13\r\n"),
    "a chunk that is longer": CHUNKS.replace(b"\r\n13\r\n", b"\r\n12\r\n"),
    "chunks that end with LF": request(b"", AUTH, "Transfer-Encoding: chunked", length=False)
    + b"13\n"
    + BODY
    + b"\n0\n\n",
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in REFUSED.items()])
def test_what_could_be_read_in_two_ways_is_refused(gateway: Watched, data: bytes) -> None:
    with Wire(gateway.nginx) as wire:
        said = wire.ask(data + HIDDEN)
        assert said is not None
        assert said.status in (400, 501, 505)
        assert said.code in ("bad_request", "not_implemented", "http_version_not_supported")
        assert said.headers["connection"] == "close"
        assert wire.rest() == b"", "what follows is no request"
    assert gateway.engine.seen == []


TAKEN = {
    "spaces around a length": request(BODY, AUTH, "Content-Length:    19   ", length=False),
    "zeros before a length": request(BODY, AUTH, "Content-Length: 00000019", length=False),
    "CHUNKED": pieces("Transfer-Encoding: CHUNKED"),
    "an underscore": request(BODY, AUTH, "Transfer_Encoding: chunked", "Content_Length: 0"),
    "chunks with extensions": CHUNKS.replace(b"\r\n13\r\n", b'\r\n13;a="b"\r\n'),
    "chunks with a trailer": CHUNKS[:-2] + b"Content-Length: 5\r\nX-Stoker-Pool: x\r\n\r\n",
    "LF alone": request(BODY, AUTH).replace(b"\r\n", b"\n"),
    "an absolute address": request(BODY, AUTH, path="http://elsewhere:99/v1/chat/completions"),
    "a path with dots": request(BODY, AUTH, path="/v1/./chat/../chat/completions"),
    "a path with escapes": request(BODY, AUTH, path="/v1/%63hat/completions"),
    "a path with a fragment": request(BODY, AUTH, path="/v1/chat/completions?a=b#c"),
    "an upgrade": request(BODY, AUTH, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA"),
    "a header to drop": request(BODY, AUTH, "Connection: Content-Length, X-A", "X-A: b"),
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in TAKEN.items()])
def test_what_can_be_read_in_one_way_only_is_read_so(gateway: Watched, data: bytes) -> None:
    with Wire(gateway.nginx) as wire:
        said = wire.ask(data + request(b"", method="GET", path="/healthz"))
        assert said is not None
        assert said.status == 200
        after = wire.answer()
        assert after is not None
        assert after.body == b"ok\n", "the next request is the next request"
    (exchange,) = gateway.engine.seen
    head = exchange.head.lower()
    assert exchange.body == BODY
    assert head.count(b"content-length:") == 1
    assert b"content-length: 19" in head
    assert b"transfer" not in head
    assert b"upgrade" not in head
    assert head.count(b"\nhost:") == 1


def test_a_request_in_the_body_of_another_is_a_body(gateway: Watched) -> None:
    body = b'{"model":"smollm2","p":"\\r\\n\\r\\n"}\r\n\r\n' + HIDDEN
    assert asked(gateway, request(body, AUTH)) == (400, "invalid_json")
    assert asked(gateway, pieces("Transfer-Encoding: chunked", body=body)) == (400, "invalid_json")
    assert gateway.engine.seen == []


# HTTP as it may be


def test_requests_that_come_at_once_are_answered_in_their_order(gateway: Watched) -> None:
    gateway.engine.behave = lambda exchange: exchange.answer(exchange.body)
    bodies = [b'{"model":"smollm2","n":%d}' % number for number in range(6)]
    refused = request(b'{"model":"nobody"}', AUTH)
    models = request(b"", AUTH, method="GET", path="/v1/models")
    with Wire(gateway.nginx) as wire:
        wire.send(b"".join(request(body, AUTH) + refused + models for body in bodies))
        for body in bodies:
            answers = [wire.answer() for _ in range(3)]
            assert [said and said.status for said in answers] == [200, 404, 200]
            assert answers[0] is not None
            assert answers[0].body == body


def test_http_1_0_is_answered_and_closed(gateway: Watched) -> None:
    for data in (request(BODY, AUTH), request(BODY, AUTH).replace(b"Host: gateway\r\n", b"")):
        with Wire(gateway.nginx) as wire:
            said = wire.ask(data.replace(b"HTTP/1.1", b"HTTP/1.0"))
            assert said is not None
            assert (said.status, said.headers["connection"]) == (200, "close")
            assert wire.rest() == b""
    assert asked(gateway, request(BODY, AUTH).replace(b"Host: gateway\r\n", b""))[0] == 400, "1.1 must name a host"


def test_who_asks_before_he_sends_is_told_to_go_on(gateway: Watched) -> None:
    data = request(BODY, AUTH, "Expect: 100-continue")
    with Wire(gateway.nginx) as wire:
        said = wire.ask(data[: -len(BODY)])
        assert said is not None
        assert said.status == 100
        said = wire.ask(BODY)
        assert said is not None
        assert said.status == 200
    large = request(b"", AUTH, "Expect: 100-continue", "Content-Length: 9999999", length=False)
    assert asked(gateway, large) == (413, "request_too_large")
    assert b"expect" not in gateway.engine.seen[0].head.lower(), "nginx has answered that"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_completions_are_posted(gateway: Watched, method: str) -> None:
    with Wire(gateway.nginx) as wire:
        said = wire.ask(request(BODY, AUTH, method=method), head=method == "HEAD")
        assert said is not None
        assert said.status == (400 if method == "CONNECT" else 405)
        if method not in ("HEAD", "CONNECT"):
            assert said.code == "method_not_allowed"
        if method not in ("TRACE", "CONNECT"):  # which nginx answers before it looks at the path
            assert said.headers["allow"] == "POST"
    assert gateway.engine.seen == []


def test_models_are_got_and_looked_at(gateway: Watched) -> None:
    with Wire(gateway.nginx) as wire:
        head = wire.ask(request(b"", AUTH, method="HEAD", path="/v1/models"), head=True)
        got = wire.ask(request(b"", AUTH, method="GET", path="/v1/models"))
        assert head is not None
        assert got is not None
        assert head.headers["content-length"] == str(len(got.body))
        for method in ("POST", "DELETE"):
            said = wire.ask(request(b"", AUTH, method=method, path="/v1/models/smollm2"))
            assert said is not None
            assert (said.status, said.code, said.headers["allow"]) == (405, "method_not_allowed", "GET, HEAD")
