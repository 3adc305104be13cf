"""The client that users have, against the gateway: what it returns, what it raises, what it does by itself."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from controller.adapters.nginx.rules import PoolRules, Rules
from controller.core.model import GatewayPlan, PoolName, PoolRoutes
from controller.settings import PlanSettings
from tests.fakes.clock import FakeClock
from tests.fakes.engine import Exchange, FakeEngine, engines
from tests.fakes.running_nginx import RunningNginx, parts_in, plan
from tests.integration.gateway_access import control, digest, give, key, record
from tests.integration.gateway_llama import LIMIT, USAGE, WORDS, llama, loading
from tests.integration.gateway_watch import idle
from tests.waiting import wait_for

TEXT = "".join(WORDS)
ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Count."}]
EMPTY = PoolRoutes(PoolName("empty"), "org/Empty:1b")
PLAIN, FEW, TOKENS, EXPIRED, ELSEWHERE = range(5)
RULES = Rules(
    {
        "smollm2": PoolRules(open=False, aliases=("gpt-small",), max_in_flight=4),
        "empty": PoolRules(open=False),
    },
    (
        PlanSettings(name="few", requests_per_second=1),
        PlanSettings(name="tokens", requests_per_second=1000, tokens_per_minute=10_000),
    ),
)


@pytest.fixture(scope="module")
def engine() -> Iterator[FakeEngine]:
    with engines(llama) as (engine,):
        yield engine


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, engine: FakeEngine) -> Iterator[RunningNginx]:
    running = started(tmp_path_factory.mktemp("openai"))
    running.apply(GatewayPlan((*plan(pool=EMPTY).pools, *plan(engine.address).pools)))
    yield running
    running.stop()


def started(folder: Path) -> RunningNginx:
    clock = FakeClock()
    nginx = RunningNginx(parts_in(folder, clock, RULES, queue_timeout=timedelta(milliseconds=200)), clock)
    give(
        nginx,
        {
            digest(key(PLAIN)): record(PLAIN),
            digest(key(FEW)): record(FEW, plan="few"),
            digest(key(TOKENS)): record(TOKENS, plan="tokens"),
            digest(key(EXPIRED)): record(EXPIRED, expires=int(time.time()) - 1),
            digest(key(ELSEWHERE)): record(ELSEWHERE, models="org/Empty:1b"),
        },
    )
    return nginx


@pytest.fixture
def behave(engine: FakeEngine) -> Iterator[FakeEngine]:
    """The engine, which is llama.cpp again after the test."""
    engine.seen.clear()
    yield engine
    engine.behave = llama


def address(nginx: RunningNginx) -> str:
    return f"http://127.0.0.1:{nginx.parts.ports.gateway}/v1"


def opened(nginx: RunningNginx, number: int = PLAIN, *, retries: int = 0, timeout_s: float = 20) -> OpenAI:
    return OpenAI(base_url=address(nginx), api_key=key(number), max_retries=retries, timeout=timeout_s)


@pytest.fixture
def client(nginx: RunningNginx) -> Iterator[OpenAI]:
    with opened(nginx) as client:
        yield client


# What it returns


def test_a_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="smollm2", messages=ASK)

    assert answer.choices[0].message.content == TEXT
    assert answer.usage is not None
    assert answer.usage.total_tokens == USAGE["total_tokens"]
    assert answer._request_id


def test_a_completion(client: OpenAI) -> None:
    answer = client.completions.create(model="gpt-small", prompt="Count.")

    assert answer.choices[0].text == TEXT
    assert answer.usage is not None
    assert answer.usage.completion_tokens == len(WORDS)


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_embeddings(client: OpenAI, encoding: str | None) -> None:
    options = {} if encoding is None else {"encoding_format": encoding}
    answer = client.embeddings.create(model="smollm2", input=["a", "abc"], extra_body=options)

    found = [one.embedding for one in answer.data]
    if encoding != "base64":
        assert found == [[1.0, 0.5], [3.0, 0.5]]
    assert answer.usage.prompt_tokens == 2


def test_the_models(client: OpenAI, nginx: RunningNginx) -> None:
    assert {model.id for model in client.models.list()} == {"smollm2", "gpt-small"}
    assert client.models.retrieve("gpt-small").owned_by == "stoker"
    with opened(nginx, ELSEWHERE) as other:
        assert [model.id for model in other.models.list()] == []
        assert other.models.retrieve("org/Empty:1b").id == "org/Empty:1b"


def test_a_stream_has_words_and_nothing_else(client: OpenAI, behave: FakeEngine) -> None:
    with client.chat.completions.create(model="smollm2", messages=ASK, stream=True) as stream:
        chunks = list(stream)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert [chunk.usage for chunk in chunks] == [None] * len(chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert json.loads(behave.seen[0].body)["stream_options"] == {"include_usage": True}, "the gateway counts them"


def test_a_stream_ends_with_its_usage_where_that_is_asked_for(client: OpenAI) -> None:
    options: openai.types.chat.ChatCompletionStreamOptionsParam = {"include_usage": True}
    with client.chat.completions.create(model="smollm2", messages=ASK, stream=True, stream_options=options) as stream:
        *chunks, last = list(stream)

    assert all(chunk.choices for chunk in chunks)
    assert (last.choices, last.usage and last.usage.total_tokens) == ([], USAGE["total_tokens"])


def test_a_stream_of_a_plain_completion(client: OpenAI) -> None:
    with client.completions.create(model="smollm2", prompt="Count.", stream=True) as stream:
        assert "".join(chunk.choices[0].text for chunk in stream) == TEXT


def test_a_stream_that_announces_its_length_ends(client: OpenAI, behave: FakeEngine) -> None:
    """Less reaches the client than that: the usage, which it has not asked for, is taken out."""
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n'
    text = chunk + b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\ndata: [DONE]\n\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(text)
    behave.behave = lambda exchange: exchange.send(head + text)
    with client.chat.completions.create(model="smollm2", messages=ASK, stream=True) as stream:
        assert [chunk.choices[0].delta.content for chunk in stream] == ["one"]


def test_a_stream_that_breaks_off_does_not_look_complete(client: OpenAI, behave: FakeEngine) -> None:
    def half(exchange: Exchange) -> None:
        exchange.begin_stream()
        exchange.send(b'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n')
        exchange.reset()

    behave.behave = half
    words: list[str | None] = []
    stream = client.chat.completions.create(model="smollm2", messages=ASK, stream=True)
    with stream, pytest.raises(openai.APIConnectionError):
        words.extend(chunk.choices[0].delta.content for chunk in stream)
    assert words == ["one"]
    assert len(behave.seen) == 1, "what has begun is not begun anew"


# What it raises


def ask(model: Any = "smollm2", text: str = "Count.", **body: object) -> Callable[[OpenAI], object]:
    message: ChatCompletionMessageParam = {"role": "user", "content": text}
    return lambda client: client.chat.completions.create(model=model, messages=[message], extra_body=body)


@pytest.mark.parametrize(
    ("number", "act", "kind", "code", "param"),
    [
        pytest.param(9, ask(), openai.AuthenticationError, "invalid_api_key", None, id="unknown key"),
        pytest.param(EXPIRED, ask(), openai.AuthenticationError, "expired_api_key", None, id="expired key"),
        pytest.param(
            ELSEWHERE, ask(), openai.PermissionDeniedError, "model_not_allowed", "model", id="another's model"
        ),
        pytest.param(PLAIN, ask("nobody"), openai.NotFoundError, "model_not_found", "model", id="unknown model"),
        pytest.param(PLAIN, ask(model=7), openai.BadRequestError, "model_missing", "model", id="model is a number"),
        pytest.param(PLAIN, ask(text=LIMIT), openai.BadRequestError, "400", None, id="what the engine says"),
        pytest.param(PLAIN, ask("org/Empty:1b"), openai.InternalServerError, "no_replica_ready", None, id="no replica"),
        pytest.param(
            PLAIN,
            lambda client: client.models.retrieve("nobody"),
            openai.NotFoundError,
            "model_not_found",
            "model",
            id="a model that is not there",
        ),
        pytest.param(
            PLAIN, lambda client: client.files.list(), openai.NotFoundError, "not_found", None, id="what there is not"
        ),
    ],
)
def test_errors(
    nginx: RunningNginx,
    number: int,
    act: Callable[[OpenAI], object],
    kind: type[openai.APIStatusError],
    code: str,
    param: str | None,
) -> None:
    with opened(nginx, number) as client, pytest.raises(kind) as raised:
        act(client)

    assert (raised.value.code, raised.value.param) == (code, param)
    assert raised.value.message
    assert raised.value.request_id
    assert key(number) not in str(raised.value)


def test_errors_of_a_stream_come_before_it(nginx: RunningNginx) -> None:
    with opened(nginx, 9) as client, pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model="smollm2", messages=ASK, stream=True)


def test_too_many_requests(nginx: RunningNginx) -> None:
    with opened(nginx, FEW) as client, pytest.raises(openai.RateLimitError) as raised:
        [ask()(client) for _ in range(5)]

    assert (raised.value.code, raised.value.type) == ("rate_limit_exceeded", "requests")
    assert raised.value.response.headers["retry-after"] == "1"


def test_a_replica_that_loads(client: OpenAI, behave: FakeEngine) -> None:
    behave.behave = loading
    with pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model="smollm2", messages=ASK)

    assert raised.value.status_code == 503


def test_a_client_that_gives_up_frees_its_replica(nginx: RunningNginx, behave: FakeEngine) -> None:
    left: list[bool] = []
    behave.behave = lambda exchange: left.append(exchange.client_left(20))
    with opened(nginx, timeout_s=0.3) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="smollm2", messages=ASK)

    wait_for(lambda: left == [True], 10, "the replica is free")
    wait_for(lambda: idle(nginx), 10, "nothing is in flight")


def test_a_stream_that_is_closed_early_frees_its_replica(
    client: OpenAI, nginx: RunningNginx, behave: FakeEngine
) -> None:
    left: list[bool] = []

    def endless(exchange: Exchange) -> None:
        exchange.begin_stream()
        exchange.send(b'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n')
        left.append(exchange.client_left(20))

    behave.behave = endless
    with client.chat.completions.create(model="smollm2", messages=ASK, stream=True) as stream:
        assert next(iter(stream)).choices[0].delta.content == "one"

    wait_for(lambda: left == [True], 10, "the replica is free")
    wait_for(lambda: idle(nginx), 10, "nothing is in flight")


# What it does by itself


class Sleep:
    """The client's module `time`, but that what the client waits for happens while it would sleep."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
        self.seconds: list[float] = []
        self._happens = happens
        monkeypatch.setattr("openai._base_client.time", self)

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        """In no time."""
        self.seconds.append(seconds)
        self._happens()


def test_it_comes_again_when_it_is_told_to_and_is_served(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    nginx = started(tmp_path)
    sleep = Sleep(monkeypatch, lambda: nginx.apply(plan(engine.address)))
    try:
        with opened(nginx, retries=1) as client:
            answer = client.chat.completions.with_raw_response.create(model="smollm2", messages=ASK)
    finally:
        nginx.stop()

    assert answer.parse().choices[0].message.content == TEXT
    assert answer.retries_taken == 1
    assert sleep.seconds == [5], "as Retry-After says"


def test_it_waits_for_its_tokens(nginx: RunningNginx, monkeypatch: pytest.MonkeyPatch) -> None:
    def block(version: str, blocks: dict[str, str]) -> None:
        assert control(nginx, "POST", "/blocks", {"version": version, "blocks": blocks})[0] == 200

    sleep = Sleep(monkeypatch, lambda: block("2", {}))
    block("1", {f"key_{TOKENS:012x}": f"{int(time.time()) + 40} minute"})
    with opened(nginx, TOKENS, retries=2) as client:
        answer = client.chat.completions.with_raw_response.create(model="smollm2", messages=ASK)

    assert (answer.status_code, answer.retries_taken) == (200, 1)
    assert len(sleep.seconds) == 1
    assert 30 <= sleep.seconds[0] <= 40


def test_it_does_not_come_again_where_that_is_of_no_use(nginx: RunningNginx, monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = Sleep(monkeypatch, lambda: None)
    with opened(nginx, 9, retries=3) as client, pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model="smollm2", messages=ASK)
    with opened(nginx, retries=3) as client, pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=ASK)

    assert sleep.seconds == []


def test_headers(nginx: RunningNginx) -> None:
    with opened(nginx, TOKENS) as client:
        raw = client.chat.completions.with_raw_response
        answer = raw.create(model="smollm2", messages=ASK, extra_headers={"X-Request-Id": "mine-1"})
        wait_for(lambda: idle(nginx), 10, "its tokens are counted")
        again = raw.create(model="smollm2", messages=ASK)

    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["x-ratelimit-limit-requests"] == "1000"
    assert answer.headers["x-ratelimit-limit-tokens"] == "10000"
    assert answer.headers["x-ratelimit-reset-tokens"].endswith("s")
    assert int(again.headers["x-ratelimit-remaining-tokens"]) < 10_000
    assert again.headers["x-request-id"] not in ("", "mine-1")
    assert not [name for name in answer.headers if name.startswith("x-stoker")]


def test_a_user_keeps_his_replica(tmp_path: Path) -> None:
    nginx = started(tmp_path)

    def replicas(client: OpenAI) -> set[int]:
        before = [len(engine.seen) for engine in running]
        for number in range(12):
            client.chat.completions.create(model="smollm2", messages=ASK, user=f"user {number}")
        return {place for place, engine in enumerate(running) if len(engine.seen) > before[place]}

    with engines(*[llama] * 4) as running:
        nginx.apply(plan(*(engine.address for engine in running)))
        with opened(nginx) as client:
            assert len(replicas(client)) > 1, "the body names twelve"
            tenant = client.with_options(default_headers={"X-User-Id": "acme"})
            found = replicas(tenant)
            assert len(found) == 1
            assert replicas(tenant) == found
    nginx.stop()


def test_many_at_once_without_threads(nginx: RunningNginx, behave: FakeEngine) -> None:
    async def one(client: AsyncOpenAI, number: int) -> str:
        if number % 2 == 0:
            answer = await client.chat.completions.create(model="smollm2", messages=ASK)
            return answer.choices[0].message.content or ""
        stream = await client.chat.completions.create(model="smollm2", messages=ASK, stream=True)
        async with stream:
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def everybody() -> list[str]:
        async with AsyncOpenAI(base_url=address(nginx), api_key=key(PLAIN), max_retries=6, timeout=20) as client:
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.create(model="nobody", messages=ASK)
            return await asyncio.gather(*(one(client, number) for number in range(20)))

    assert asyncio.run(everybody()) == [TEXT] * 20
    wait_for(lambda: idle(nginx), 10, "nothing is in flight")


def test_a_full_pool_is_an_error_that_a_client_comes_back_from(
    nginx: RunningNginx, behave: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def hold(exchange: Exchange) -> None:
        go_on.wait(30)
        llama(exchange)

    def end() -> None:
        go_on.set()
        wait_for(lambda: idle(nginx), 20, "there is room")

    behave.behave = hold
    sleep = Sleep(monkeypatch, end)
    with opened(nginx) as first, opened(nginx, retries=1) as client:
        threads = [threading.Thread(target=ask(), args=(first,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(behave.seen) == 4, 10, "the pool is full")
        answer = client.chat.completions.create(model="smollm2", messages=ASK)
        for thread in threads:
            thread.join()

    assert answer.choices[0].message.content == TEXT
    assert sleep.seconds == [5]
