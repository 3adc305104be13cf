"""The hub: what is rendered, for whom, and what they are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import Message

from controller.api.access import Caller
from controller.api.deps import Seen, Sources
from controller.api.web import live
from controller.api.web.stream import Stream
from controller.api.web.texts import Texts
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
    monkeypatch.setitem(live._views, live.SHELL, lambda sources, params, texts: {})
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


def test_the_stream_ends_with_the_session(watched: Watched) -> None:
    async def scene() -> None:
        async with reader(watched, who=Caller("ada", Role.VIEWER, "session", "", digest="ended")) as came:
            assert await arrives(came, "end") == {"why": "logged out"}

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
