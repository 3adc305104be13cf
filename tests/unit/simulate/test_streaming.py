"""One streamed request, against a server on a real socket."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from controller.simulate.calibrate import Effort, calibrate
from controller.simulate.errors import ModelError
from controller.simulate.streaming import CalibrateError, HttpClient, Server, Timed, first_model, server_at, stream
from tests.fakes.engine import Behaviour, Exchange, FakeEngine, engines


def chunk(text: str | None = None, **more: object) -> bytes:
    choices = [] if text is None else [{"index": 0, "delta": {"content": text}}]
    return b"data: " + json.dumps({"choices": choices, **more}).encode() + b"\n\n"


def usage(prompt: int, output: int) -> bytes:
    return chunk(usage={"prompt_tokens": prompt, "completion_tokens": output})


def streams(*pieces: bytes) -> Behaviour:
    """Answers every request with these."""

    def behave(exchange: Exchange) -> None:
        exchange.begin_stream()
        for piece in pieces:
            exchange.send(piece)

    return behave


@contextmanager
def serving(behave: Behaviour) -> Iterator[tuple[FakeEngine, Server]]:
    with engines(behave) as [engine]:
        yield engine, replace(server_at(f"http://{engine.address}/v1", time.monotonic() + 60), model="m", patience_s=10)


def test_an_answer_is_timed_and_counted() -> None:
    role = b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}\n\n'
    with serving(streams(role, b": a comment\n\n", chunk("a"), chunk("b"), usage(7, 5), b"data: [DONE]\n\n")) as (
        engine,
        server,
    ):
        found = stream(server, "a prompt", 5)

    assert (found.prompt_tokens, found.output_tokens, len(found.token_at_s)) == (7, 5, 2)
    assert found.sent_at_s <= found.token_at_s[0] <= found.token_at_s[1]
    assert found.first_token_s == found.token_at_s[0] - found.sent_at_s
    head, body = engine.seen[0].head, json.loads(engine.seen[0].body)
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert (body["model"], body["max_tokens"], body["stream"]) == ("m", 5, True)
    assert body["messages"] == [{"role": "user", "content": "a prompt"}]


def test_without_usage_the_pieces_are_counted() -> None:
    with serving(streams(chunk("a"), chunk("b"), chunk("c"))) as (_, server):
        found = stream(server, "a prompt", 5)

    assert (found.prompt_tokens, found.output_tokens) == (None, 3)


def test_reasoning_is_text_too() -> None:
    thought = b'data: {"choices": [{"delta": {"reasoning_content": "hm"}}]}\n\n'
    with serving(streams(thought, chunk("a"))) as (_, server):
        assert stream(server, "a prompt", 5).output_tokens == 2


def refuses(exchange: Exchange) -> None:
    exchange.answer(b'{"error": {"message":\n "the prompt is too long"}}', "400 Bad Request")


@pytest.mark.parametrize(
    ("behave", "sentence"),
    [
        pytest.param(refuses, 'answers 400: {"error": {"message": "the prompt is too long"}};', id="an error"),
        pytest.param(streams(), "streams no token", id="nothing"),
        pytest.param(streams(chunk(""), b"data: [DONE]\n\n"), "streams no token", id="no text"),
        pytest.param(streams(b"data: hello\n\n"), "streams what is no part of a chat", id="no JSON"),
        pytest.param(streams(b"data: [1]\n\n"), "streams what is no part of a chat", id="no object"),
        pytest.param(streams(b'data: {"choices": [{}]}\n\n'), "streams what is no part of a chat", id="no delta"),
        pytest.param(Exchange.reset, "gives no whole answer", id="a reset"),
        pytest.param(lambda exchange: None, "gives no whole answer", id="a hang-up"),
    ],
)
def test_a_bad_answer_is_a_sentence(behave: Behaviour, sentence: str) -> None:
    with serving(behave) as (_, server), pytest.raises(CalibrateError) as refused:
        stream(server, "a prompt", 5)

    assert sentence in str(refused.value)
    assert str(server) in str(refused.value)


def test_a_silent_server_is_not_waited_for_for_ever() -> None:
    def silent(exchange: Exchange) -> None:
        exchange.client_left(30)

    with (
        serving(silent) as (_, server),
        pytest.raises(CalibrateError, match="gives no whole answer: nothing came in time"),
    ):
        stream(replace(server, patience_s=0.05), "a prompt", 5)


def test_nobody_listens() -> None:
    with engines(Exchange.answer) as [engine]:
        address = engine.address
    with pytest.raises(CalibrateError, match="Connection refused; start the server, or give its address"):
        stream(server_at(str(address), time.monotonic() + 60), "a prompt", 5)


def test_time_is_up_before_and_within_an_answer() -> None:
    with serving(streams(chunk("a"))) as (_, server):
        for times in ([60.0], [0.0, 0.0, 61.0]):  # at the connection; at the sending, at the connection, at a piece
            clock = iter(times)
            late = replace(server, deadline_at_s=60.0, clock=lambda clock=clock: next(clock, 61.0))
            with pytest.raises(CalibrateError, match="measuring takes too long"):
                stream(late, "a prompt", 5)


def test_streams_at_once_really_are() -> None:
    arrived: list[Exchange] = []

    def together(exchange: Exchange) -> None:
        arrived.append(exchange)
        if len(arrived) == 3:  # nobody is answered before the last one is here
            for other in list(arrived):
                streams(chunk("a"), chunk("b"))(other)
                other.connection.shutdown(2)
        else:
            exchange.client_left(30)

    with serving(together) as (engine, server):
        found = HttpClient(server).at_once(["x", "y", "z"], 5)

    assert [one.output_tokens for one in found] == [2, 2, 2]
    assert {json.loads(one.body)["messages"][0]["content"] for one in engine.seen} == {"x", "y", "z"}


def test_the_second_comes_once_the_first_decodes() -> None:
    first: list[Exchange] = []

    def behave(exchange: Exchange) -> None:
        if first:
            streams(chunk("prompt"))(exchange)
            first[0].send(chunk("b"))
            first[0].connection.shutdown(2)
            return
        first.append(exchange)
        streams(chunk("a"))(exchange)
        exchange.client_left(30)

    with serving(behave) as (_, server):
        decoding, prompt = HttpClient(server).beside("x", 9, "y")

    assert (decoding.output_tokens, prompt.output_tokens) == (2, 1)
    assert decoding.token_at_s[0] <= prompt.sent_at_s


def test_a_first_stream_that_fails_holds_up_nobody() -> None:
    with serving(refuses) as (_, server), pytest.raises(CalibrateError, match="answers 400"):
        HttpClient(server).beside("x", 9, "y")


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://host/llm/v1", "http://host:80/llm"),
        ("https://host", "https://host:443"),
    ],
)
def test_addresses(url: str, server: str) -> None:
    assert str(server_at(url, 0.0)) == server


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "http://host:port", "http://host:99999"])
def test_no_address(url: str) -> None:
    with pytest.raises(CalibrateError, match="is no address of a server; give one such as"):
        server_at(url, 0.0)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data": []}', b'{"data": [{"id": 5}]}'])
def test_a_server_without_models(body: bytes) -> None:
    with (
        serving(lambda exchange: exchange.answer(body)) as (_, server),
        pytest.raises(CalibrateError, match="lists no model under /v1/models"),
    ):
        first_model(server)


class Scripted:
    """A model server that answers everything at once; its counts are those of the words."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, exchange: Exchange) -> None:
        if exchange.head.startswith(b"GET"):
            exchange.answer(b'{"data": [{"id": "tiny"}]}')
            return
        body = json.loads(exchange.body)
        words, tokens = len(body["messages"][0]["content"].split()), body["max_tokens"]
        self.asked.append(body["model"])
        streams(*[chunk("a")] * tokens, usage(words, tokens), b"data: [DONE]\n\n")(exchange)


def test_a_whole_measurement_asks_the_first_model() -> None:
    """The times of such a server say nothing, so that they may well be refused; what it is asked is what counts."""
    server, told = Scripted(), list[str]()
    with engines(server) as [engine]:
        outcome = attempt(lambda: calibrate(f"http://{engine.address}", told.append, Effort(repeats=1, streams=2)))

    assert set(server.asked) == {"tiny"}
    assert len(server.asked) >= 4
    assert told[0] == "short prompts, 1 of 1"
    assert outcome is None or "measure" in outcome or "must be a number between" in outcome


def attempt(measure: Callable[[], object]) -> str | None:
    try:
        measure()
    except (CalibrateError, ModelError) as error:
        return str(error)
    return None


def test_a_timed_answer_knows_its_first_token() -> None:
    assert Timed(1.0, (1.5, 2.0), None, 2).first_token_s == 0.5
