"""The hub: what is rendered, for whom, and what they are told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from starlette.types import Message

from controller.api.access import Caller
from controller.api.app import create_app
from controller.api.deps import Seen, Sources
from controller.api.web import live, stream
from controller.api.web.stream import Stream
from controller.api.web.texts import Texts
from controller.core.errors import TransientError
from controller.core.people import Role
from tests.fakes.big_fleet import BigFleet
from tests.waiting import wait_for

ADMIN = Caller("state-directory", Role.ADMIN, "file", "127.0.0.1")


class Watched:
    """An application over a small fleet, and a view that shows what it is given."""

    def __init__(self) -> None:
        fleet = BigFleet(pools=2, nodes=1)
        fleet.step(2)
        self.fleet, self.rendered = fleet, 0
        self.shown: dict[str, str] = {"a": '<p id="a">1</p>', "b": '<p id="b">1</p>'}
        self.frame: dict[str, str] = {}
        self.seen: Seen | None = fleet.seen()
        self.app = FastAPI()
        self.app.state.sources = replace(
            fleet.sources(), latest=lambda: self.seen and replace(self.seen), token="secret"
        )
        self.hub = self.app.state.live = live.Hub(self.app)

    def tick(self) -> None:
        """Another look of the controller."""
        assert self.seen is not None
        self.seen = replace(self.seen, snapshot=replace(self.seen.snapshot))

    def render(self, sources: Sources, params: Mapping[str, str], texts: Texts) -> Mapping[str, str]:
        self.rendered += 1
        return dict(self.shown)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    made = Watched()
    monkeypatch.setitem(live._views, "test", made.render)
    monkeypatch.setitem(live._views, live.SHELL, lambda sources, params, texts: dict(made.frame))
    monkeypatch.setattr(live, "_LOOK_S", 0.01)
    return made


@asynccontextmanager
async def reader(watched: Watched, seen: str = "", who: Caller = ADMIN) -> AsyncIterator[list[tuple[str, Any]]]:
    """A stream that is being read: what came so far."""
    came: list[tuple[str, Any]] = []
    gone = asyncio.Event()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            event, data = message["body"].decode().strip().split("\n", 1)
            came.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))

    stream = Stream(watched.hub, live.Key("test", (), "en"), seen, who)
    task = asyncio.create_task(stream({"type": "http"}, receive, send))
    try:
        yield came
    finally:
        gone.set()
        with suppress(asyncio.CancelledError):
            await task


async def arrives(came: list[tuple[str, Any]], event: str, count: int = 1) -> Any:
    """The data of the so-manieth event of that name."""
    async with asyncio.timeout(10):
        while len(found := [data for name, data in came if name == event]) < count:
            await asyncio.sleep(0.005)
    return found[count - 1]


def test_only_what_changed_is_sent(watched: Watched) -> None:
    async def scene() -> None:
        async with reader(watched) as came:
            assert await arrives(came, "whole") == watched.shown
            watched.shown = {"a": '<p id="a">2</p>', "b": '<p id="b">1</p>'}
            watched.tick()
            assert await arrives(came, "parts") == {"a": '<p id="a">2</p>'}
            watched.shown = {"a": '<p id="a">2</p>'}
            watched.tick()
            assert await arrives(came, "parts", 2) == {"b": None}

    asyncio.run(scene())


def test_a_page_that_has_everything_gets_nothing(watched: Watched) -> None:
    async def scene() -> None:
        async with reader(watched, live.digest(watched.shown)) as came:
            await arrives(came, "beat")
            watched.tick()
            watched.shown = {**watched.shown, "c": '<p id="c">1</p>'}
            assert await arrives(came, "parts") == {"c": '<p id="c">1</p>'}

    asyncio.run(scene())


def test_many_readers_share_one_rendering(watched: Watched) -> None:
    async def scene() -> None:
        async with reader(watched) as first, reader(watched) as second, reader(watched) as third:
            for came in (first, second, third):
                await arrives(came, "whole")
            before = watched.rendered
            watched.shown = {"a": '<p id="a">9</p>', "b": '<p id="b">1</p>'}
            watched.tick()
            for came in (first, second, third):
                assert await arrives(came, "parts") == {"a": '<p id="a">9</p>'}
            assert watched.rendered == before + 1
            assert watched.hub.streams == 3
        assert watched.hub.streams == 0

    asyncio.run(scene())


def test_nobody_takes_all_the_streams(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_MOST_OF_ONE", 2)
    monkeypatch.setattr(stream, "_MOST_STREAMS", 4)
    by_token = replace(ADMIN, how="token")

    async def refused(who: Caller) -> HTTPException:
        with pytest.raises(HTTPException) as told:
            async with reader(watched, who=who):
                pass
        return told.value

    async def scene() -> None:
        async with AsyncExitStack() as first:
            for _ in range(2):
                await arrives(await first.enter_async_context(reader(watched)), "whole")
            answer = await refused(ADMIN)
            assert (answer.status_code, answer.detail) == (
                429,
                "state-directory watches 2 pages already, as many as one may; close some",
            )
            async with AsyncExitStack() as second:
                for who in (replace(ADMIN, name="ada"), replace(ADMIN, name="eve")):
                    await arrives(await second.enter_async_context(reader(watched, who=who)), "whole")
                assert (await refused(replace(ADMIN, name="bob"))).status_code == 503
                assert watched.hub.streams == 4
            async with reader(watched, who=by_token) as came:  # the same name by other means
                await arrives(came, "end")  # as nobody knows that token
        assert (watched.hub.streams, dict(watched.hub._open)) == (0, {})
        async with reader(watched) as came:
            await arrives(came, "whole")

    asyncio.run(scene())


def test_streams_that_begin_at_the_same_time_are_counted_before_any_is_answered(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_MOST_OF_ONE", 3)

    async def one(gone: asyncio.Event) -> None:
        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            await asyncio.sleep(0)

        await Stream(watched.hub, live.Key("test", (), "en"), "", ADMIN)({"type": "http"}, receive, send)

    async def scene() -> None:
        gone = asyncio.Event()
        tasks = [asyncio.create_task(one(gone)) for _ in range(5)]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        assert {type(task.exception()) for task in done} == {HTTPException}
        assert watched.hub.streams == 3
        gone.set()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(end, HTTPException) for end in ended) == 2
        assert watched.hub.streams == 0

    asyncio.run(scene())


def test_a_reader_that_breaks_off_gives_its_place_back(watched: Watched) -> None:
    async def broken(message: Message) -> None:
        raise OSError("the reader is gone")

    async def silent() -> Message:
        await asyncio.Event().wait()
        return {}

    async def scene() -> None:
        with pytest.raises(OSError, match="the reader is gone"):
            await Stream(watched.hub, live.Key("test", (), "en"), "", ADMIN)({"type": "http"}, silent, broken)
        assert watched.hub.streams == 0

    asyncio.run(scene())


def test_a_refused_stream_is_an_answer(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_MOST_OF_ONE", 0)
    with TestClient(create_app(watched.app.state.sources), headers={"Authorization": "Bearer secret"}) as client:
        answer = client.get("/live?view=test")
    assert (answer.status_code, "as many as one may" in answer.text) == (429, True)


def test_a_view_that_fails_is_tried_again(watched: Watched) -> None:
    async def scene() -> None:
        async with reader(watched) as came:
            await arrives(came, "whole")
            good = watched.shown
            watched.shown = None  # type: ignore[assignment]
            watched.tick()
            before = watched.rendered
            await asyncio.to_thread(wait_for, lambda: watched.rendered > before, 10, "it is rendered")
            watched.shown = {**good, "a": '<p id="a">3</p>'}
            watched.tick()
            assert await arrives(came, "parts") == {"a": '<p id="a">3</p>'}

    asyncio.run(scene())


def test_a_view_that_fails_keeps_its_parts_and_gets_the_frame_s(watched: Watched) -> None:
    async def scene() -> None:
        async with reader(watched) as came:
            await arrives(came, "whole")
            watched.shown = None  # type: ignore[assignment]
            watched.frame = {"state": '<p id="state">away</p>'}
            watched.tick()
            assert await arrives(came, "parts") == watched.frame

    asyncio.run(scene())


def test_the_stream_ends_with_the_session(watched: Watched) -> None:
    async def scene() -> None:
        async with reader(watched, who=Caller("ada", Role.VIEWER, "session", "", digest="ended")) as came:
            assert await arrives(came, "end") == {"why": "logged out"}

    asyncio.run(scene())


def test_what_several_pages_ask_at_a_time_is_asked_once(watched: Watched) -> None:
    asked: list[int] = []
    may = threading.Event()

    def ask() -> bool:
        asked.append(1)
        return may.wait(10)

    async def scene() -> None:
        pages = [asyncio.create_task(watched.hub.once("ada", ask)) for _ in range(3)]
        await asyncio.to_thread(wait_for, lambda: asked, 10, "the question")
        pages[0].cancel()  # the first one that asked leaves
        await asyncio.sleep(0)
        may.set()
        assert await asyncio.gather(*pages[1:]) == [True, True]
        assert asked == [1]
        assert await watched.hub.once("ada", ask)
        assert asked == [1, 1]

    asyncio.run(scene())


def test_whoever_asks_with_others_hears_why_there_is_no_answer(watched: Watched) -> None:
    def ask() -> bool:
        raise TransientError("the database is away")

    async def scene() -> None:
        found = await asyncio.gather(*(watched.hub.once("ada", ask) for _ in range(2)), return_exceptions=True)
        assert [type(one) for one in found] == [TransientError, TransientError]

    asyncio.run(scene())


def test_the_stream_ends_with_the_controller(watched: Watched) -> None:
    async def scene() -> None:
        async with reader(watched) as came:
            await arrives(came, "whole")
            watched.hub.stopping = lambda: True
            assert await arrives(came, "end") == {"why": "stopping"}

    asyncio.run(scene())


def test_a_beat_tells_how_it_stands(watched: Watched) -> None:
    async def scene() -> None:
        async with reader(watched) as came:
            beat = await arrives(came, "beat")
            assert watched.seen is not None
            assert (beat["tick"], beat["unknown"], beat["leads"]) == (watched.seen.snapshot.tick, [], True)

    asyncio.run(scene())
