"""The service between nginx and Redis, on a real Redis: what it keeps, what it refuses, and that it never waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from gateway.hotcache.answers import FAILURES, Answers, Limits, connect
from gateway.hotcache.secret import Refused, read_url
from gateway.hotcache.service import Service
from tests.redis import RedisServer

KEY, OTHER = "0a" * 32, "1b" * 32
JSON = {"Content-Type": "application/json"}
MOST = 1000

Case = Callable[[httpx.AsyncClient], Awaitable[None]]


@pytest.fixture(scope="module", params=[False, True], ids=["single", "cluster"])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    running = RedisServer(cluster=request.param)
    yield running
    running.close()


@pytest.fixture(autouse=True)
def _empty(server: RedisServer) -> None:
    server.ask("FLUSHALL")


@asynccontextmanager
async def service(
    server: RedisServer, instance: str = "0123456789ab", timeout_s: float = 5.0
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service that has reached Redis. It rests for no time worth waiting for."""
    client = connect(server.url, cluster="cluster_enabled:1" in str(server.ask("INFO", "cluster")))
    answers = Answers(client, instance, Limits(timeout_s, MOST, rest_s=0.02))
    tending = asyncio.create_task(answers.tend())
    transport = httpx.ASGITransport(app=Service(answers))
    async with httpx.AsyncClient(transport=transport, base_url="http://hot") as asking:
        await until(asking, 404)
        yield asking
    tending.cancel()
    await answers.close()


async def until(asking: httpx.AsyncClient, status: int) -> None:
    """Until a look at a key that nobody has gives that."""
    async with asyncio.timeout(20):
        while (await asking.get(f"/answers/{'ff' * 32}")).status_code != status:
            await asyncio.sleep(0.01)


def run(server: RedisServer, case: Case, **options: float) -> None:
    """Have a service, and that done with it."""

    async def body() -> None:
        async with service(server, **options) as asking:
            await case(asking)

    asyncio.run(body())


def test_what_was_stored_comes_back_with_its_type_and_the_time_that_it_has_left(server: RedisServer) -> None:
    async def case(asking: httpx.AsyncClient) -> None:
        body = b'{"text": "caf\xc3\xa9\\n"}\n\n'
        stored = await asking.put(f"/answers/{KEY}?ttl=30", content=body, headers={"Content-Type": "text/x; a=b"})
        found = await asking.get(f"/answers/{KEY}")
        assert (stored.status_code, found.status_code, found.content) == (204, 200, body)
        assert found.headers["content-type"] == "text/x; a=b"
        assert found.headers["content-length"] == str(len(body))
        assert 28 <= int(found.headers["x-remaining"]) <= 30
        assert (await asking.get(f"/answers/{OTHER}")).status_code == 404

    run(server, case)


def test_redis_forgets_it_in_time(server: RedisServer) -> None:
    async def case(asking: httpx.AsyncClient) -> None:
        await asking.put(f"/answers/{KEY}?ttl=30", content=b"{}", headers=JSON)
        name = f"stoker:0123456789ab:answer:{KEY}"
        assert 29_000 < server.ask("PTTL", name) <= 30_000
        server.ask("PEXPIRE", name, 1)
        async with asyncio.timeout(20):
            while (await asking.get(f"/answers/{KEY}")).status_code != 404:
                await asyncio.sleep(0.01)

    run(server, case)


def test_the_last_second_is_a_whole_one(server: RedisServer) -> None:
    async def case(asking: httpx.AsyncClient) -> None:
        await asking.put(f"/answers/{KEY}?ttl=1", content=b"{}", headers=JSON)
        found = await asking.get(f"/answers/{KEY}")
        assert (found.status_code, found.headers["x-remaining"]) == (200, "1")

    run(server, case)


def test_a_value_that_does_not_end_is_not_ours(server: RedisServer) -> None:
    async def case(asking: httpx.AsyncClient) -> None:
        server.ask("SET", f"stoker:0123456789ab:answer:{KEY}", "text/plain\nfor ever")
        assert (await asking.get(f"/answers/{KEY}")).status_code == 404

    run(server, case)


@pytest.mark.parametrize(("size", "status", "found"), [(MOST, 204, 200), (MOST + 1, 413, 404), (0, 400, 404)])
def test_only_what_is_small_enough_is_stored(server: RedisServer, size: int, status: int, found: int) -> None:
    async def case(asking: httpx.AsyncClient) -> None:
        assert (await asking.put(f"/answers/{KEY}?ttl=30", content=b"x" * size, headers=JSON)).status_code == status
        assert (await asking.get(f"/answers/{KEY}")).status_code == found

    run(server, case)


def test_what_a_gateway_with_a_larger_limit_has_stored_is_no_answer_here(server: RedisServer) -> None:
    async def case(asking: httpx.AsyncClient) -> None:
        value = "application/json\n" + "x" * (MOST + 1)
        server.ask("SET", f"stoker:0123456789ab:answer:{KEY}", value, "EX", 30)
        assert (await asking.get(f"/answers/{KEY}")).status_code == 404

    run(server, case)


def test_installations_on_one_redis_do_not_see_each_other(server: RedisServer) -> None:
    async def case() -> None:
        async with (
            service(server, "a" * 12) as one,
            service(server, "b" * 12) as two,
            service(server, "a" * 12) as same,
        ):
            await one.put(f"/answers/{KEY}?ttl=30", content=b"{}", headers=JSON)
            statuses = [(await asking.get(f"/answers/{KEY}")).status_code for asking in (one, two, same)]
            assert statuses == [200, 404, 200]

    asyncio.run(case())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/answers/abc", 404),
        ("GET", f"/answers/{KEY.upper()}", 404),
        ("GET", f"/answers/{KEY}0", 404),
        ("GET", "/", 404),
        ("DELETE", f"/answers/{KEY}", 405),
        ("PUT", f"/answers/{KEY}", 400),
        ("PUT", f"/answers/{KEY}?ttl=0", 400),
        ("PUT", f"/answers/{KEY}?ttl=86401", 400),
        ("PUT", f"/answers/{KEY}?ttl=1s", 400),
    ],
)
def test_what_it_does_not_understand(server: RedisServer, method: str, path: str, status: int) -> None:
    async def case(asking: httpx.AsyncClient) -> None:
        assert (await asking.request(method, path, content=b"{}")).status_code == status
        assert server.ask("DBSIZE") == 0

    run(server, case)


def test_a_redis_that_says_nothing_is_given_a_rest_and_asked_again(server: RedisServer) -> None:
    async def case(asking: httpx.AsyncClient) -> None:
        with server.frozen():
            for _ in range(FAILURES):
                assert (await asking.get(f"/answers/{KEY}")).status_code == 503
            assert (await asking.get(f"/answers/{KEY}")).status_code == 503
            assert (await asking.put(f"/answers/{KEY}?ttl=9", content=b"{}")).status_code == 503
            assert "stoker_hotcache_available 0.0" in (await asking.get("/metrics")).text
        await until(asking, 404)
        assert (await asking.put(f"/answers/{KEY}?ttl=9", content=b"{}")).status_code == 204
        assert (await asking.get(f"/answers/{KEY}")).status_code == 200

    run(server, case, timeout_s=0.2)


def test_a_redis_that_died_and_came_back_empty(server: RedisServer) -> None:
    async def case(asking: httpx.AsyncClient) -> None:
        await asking.put(f"/answers/{KEY}?ttl=30", content=b"{}", headers=JSON)
        server.kill()
        try:
            await until(asking, 503)
        finally:
            server.revive()
        await until(asking, 404)
        assert (await asking.get(f"/answers/{KEY}")).status_code == 404

    run(server, case)


def test_a_redis_that_is_full_is_still_looked_into(server: RedisServer) -> None:
    async def case(asking: httpx.AsyncClient) -> None:
        await asking.put(f"/answers/{KEY}?ttl=30", content=b"{}", headers=JSON)
        server.ask("CONFIG", "SET", "maxmemory", "1")
        try:
            for _ in range(2 * FAILURES):
                assert (await asking.put(f"/answers/{OTHER}?ttl=30", content=b"{}")).status_code == 503
            assert (await asking.get(f"/answers/{KEY}")).status_code == 200
        finally:
            server.ask("CONFIG", "SET", "maxmemory", "0")

    run(server, case)


def test_it_counts_what_it_does(server: RedisServer) -> None:
    async def case(asking: httpx.AsyncClient) -> None:
        await asking.get(f"/answers/{KEY}")
        await asking.put(f"/answers/{KEY}?ttl=30", content=b"{}")
        await asking.get(f"/answers/{KEY}")
        await asking.put(f"/answers/{KEY}?ttl=30", content=b"x" * (MOST + 1))
        page = (await asking.get("/metrics")).text
        counts = {"hit": ("get", 1), "stored": ("put", 1), "too_large": ("put", 1)}
        for result, (operation, count) in counts.items():
            line = f'stoker_hotcache_requests_total{{operation="{operation}",result="{result}"}} {count}.0'
            assert line in page
        assert 'stoker_hotcache_seconds_count{operation="put"} 2.0' in page
        assert "stoker_hotcache_available 1.0" in page

    run(server, case)


def test_the_url_is_what_its_file_holds(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("rediss://user:hunter2@cache:6380/1\n")
    file.chmod(0o400)

    assert read_url(file) == "rediss://user:hunter2@cache:6380/1"


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        pytest.param("redis://:hunter2@cache", 0o640, "others than its owner may use it (mode 0640)", id="for a group"),
        pytest.param("http://:hunter2@cache", 0o600, "holds no URL redis://", id="another protocol"),
        pytest.param("redis://:hunter2@cache\nx", 0o600, "alone on one line", id="two lines"),
        pytest.param(None, 0o600, "cannot be read: No such file or directory", id="missing"),
    ],
)
def test_a_file_that_cannot_be_the_secrets_place(tmp_path: Path, text: str | None, mode: int, said: str) -> None:
    file = tmp_path / "url"
    if text is not None:
        file.write_text(text)
        file.chmod(mode)

    with pytest.raises(Refused) as refused:
        read_url(file)

    assert said in str(refused.value)
    assert str(refused.value).startswith(f"{file}: ")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("cluster", [False, True])
def test_a_url_that_is_malformed_is_not_repeated(cluster: bool) -> None:
    with pytest.raises(Refused, match="malformed") as refused:
        connect("redis://:x@cache:hunter2/0", cluster=cluster)

    assert "hunter2" not in str(refused.value)
