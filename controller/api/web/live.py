"""Live pages: each view is rendered once a tick and language for all who watch it, and only what changed is sent.

A browser opens at most 6 connections to a host over HTTP/1.1, and a stream takes one: a page that is hidden for a while
gives its own back.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from fastapi import FastAPI

from controller.api.deps import LEADS, Sources
from controller.api.history import patience
from controller.api.web.texts import Texts, catalogs
from controller.core.people import Role

log = logging.getLogger("controller.live")

Fragments: TypeAlias = Mapping[str, str]  # the HTML of elements by their id
Params: TypeAlias = Mapping[str, str]
Reader: TypeAlias = tuple[str, str]  # a name, and how that one came
Render: TypeAlias = Callable[[Sources, Params, Texts], Fragments]
SHELL = "shell"  # what every page has
BEAT_S = 5.0
_LOOK_S = 0.2
_PAGE_S = 1.0  # for which a page waits for Prometheus; what is missing comes by itself
_views: dict[str, Render] = {}
_needs: dict[str, Role] = {}


def view(name: str, render: Render, needs: Role = Role.VIEWER) -> None:
    """What a page shows of now. `render` gives whole elements by their id, the same for every role that may see it; it
    may block."""
    _views[name], _needs[name] = render, needs


def needed_for(name: str) -> Role | None:
    """The role that this view asks for; None: there is none of that name."""
    return _needs.get(name, Role.VIEWER) if name in _views else None


def parts_of(
    sources: Sources, name: str, params: Params, texts: Texts, frames: dict[str, Fragments] | None = None
) -> Fragments:
    """Of that view, and of the frame of all pages; `frames` has it by language, once it was rendered.

    With `frames` it is one of many that are rendered in turn, and waits for no number of Prometheus.
    """
    before = patience.set(_PAGE_S if frames is None else 0.0)
    frames = {} if frames is None else frames
    try:
        if texts.language not in frames:
            frames[texts.language] = _views[SHELL](sources, {}, texts)
        frame = frames[texts.language]
        return frame if name == SHELL else {**frame, **_views[name](sources, params, texts)}
    finally:
        patience.reset(before)


def digest(parts: Fragments) -> str:
    """Tells a page whether it has what there is."""
    return hashlib.sha256("\0".join(f"{name}\0{html}" for name, html in parts.items()).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Key:
    """What readers share: a view, what it is asked for, and the language."""

    name: str
    params: tuple[tuple[str, str], ...]
    language: str


class Channel:
    """The newest parts of a view, and the message that brings whoever had the last ones up to them."""

    def __init__(self) -> None:
        self.parts: Fragments = {}
        self.number = 0  # grows with each change
        self.readers = 0
        self.news = asyncio.Event()
        self._message = b""

    def put(self, parts: Fragments) -> None:
        """They are these now. Whoever reads is told if they are others."""
        if parts != self.parts:
            self._message = message("parts", changes(self.parts, parts))
            self.parts, self.number = parts, self.number + 1
            self.tell()

    def tell(self) -> None:
        """Wake whoever reads."""
        self.news.set()
        self.news = asyncio.Event()

    def since(self, number: int, sent: Fragments) -> bytes:
        """What is new to somebody who has these, of that number: the same for nearly all, so it is written once.

        Of number -1 nobody knows what is on the page: it gets all, and has to look for what is there no more.
        """
        if number < 0:
            return message("whole", self.parts)
        return self._message if number == self.number - 1 else message("parts", changes(sent, self.parts))


def changes(before: Fragments, after: Fragments) -> dict[str, str | None]:
    """What makes the one the other; None: it is gone."""
    changed: dict[str, str | None] = {name: html for name, html in after.items() if before.get(name) != html}
    return changed | {name: None for name in before if name not in after}


def message(event: str, data: object) -> bytes:
    """As it goes over the wire."""
    return f"event: {event}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


class Hub:
    """Renders what is watched whenever there is a new tick, and lets the readers know. Lives in one event loop."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._channels: dict[Key, Channel] = {}
        self._task: asyncio.Task[None] | None = None
        self._open: Counter[Reader] = Counter()
        self._asked: dict[str, asyncio.Task[bool]] = {}
        self.stopping: Callable[[], bool] = lambda: False

    @property
    def streams(self) -> int:
        """How many are open."""
        return self._open.total()

    def streams_of(self, reader: Reader) -> int:
        """How many of them are this one's."""
        return self._open[reader]

    @contextmanager
    def opened(self, reader: Reader) -> Iterator[None]:
        """A stream of this one's is open."""
        self._open[reader] += 1
        try:
            yield
        finally:
            self._open[reader] -= 1
            self._open += Counter()  # who has none left is forgotten

    async def once(self, name: str, ask: Callable[[], bool]) -> bool:
        """What `ask` says, in a thread of its own. Whoever wants to know the same meanwhile is told, too."""
        asked = self._asked.get(name)
        if asked is None:
            asked = self._asked[name] = asyncio.create_task(asyncio.to_thread(ask))
            asked.add_done_callback(lambda _: self._asked.pop(name))
        return await asyncio.shield(asked)  # one that leaves takes nothing from the others

    def sources(self) -> Sources:
        """Those of now: a controller may begin to lead."""
        sources = self._app.state.sources
        assert isinstance(sources, Sources)
        return sources

    @asynccontextmanager
    async def reading(self, key: Key) -> AsyncIterator[Channel]:
        """It has its parts, and for as long as somebody reads it, it is rendered."""
        channel = self._channels.setdefault(key, Channel())
        channel.readers += 1
        try:
            if not channel.parts:
                channel.put(await self._rendered(key, {}))
            if self._task is None or self._task.done():
                self._task = asyncio.get_running_loop().create_task(self._watch())
            yield channel
        finally:
            channel.readers -= 1
            if not channel.readers:
                self._channels.pop(key, None)

    async def _rendered(self, key: Key, frames: dict[str, Fragments]) -> Fragments:
        """In a thread of its own: the event loop answers others meanwhile."""
        texts = catalogs()[key.language]
        return await asyncio.to_thread(parts_of, self.sources(), key.name, dict(key.params), texts, frames)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        seen, due = self._sign(), loop.time() + BEAT_S
        while self._channels and not self.stopping():
            await asyncio.sleep(_LOOK_S)
            sign = self._sign()
            if all(now is then for now, then in zip(sign, seen, strict=True)) and loop.time() < due:
                continue
            seen, due = sign, loop.time() + BEAT_S
            frames: dict[str, Fragments] = {}
            for key, channel in list(self._channels.items()):
                (parts,) = await asyncio.gather(self._rendered(key, frames), return_exceptions=True)
                if isinstance(parts, BaseException):  # the next look tries again; the others are told of theirs
                    log.error("view %s was not rendered", key.name, exc_info=parts)
                    channel.put({**channel.parts, **frames.get(key.language, {})})  # its top says why, as far as known
                else:
                    channel.put(parts)
        for channel in self._channels.values():
            channel.tell()

    def _sign(self) -> tuple[object, ...]:
        """Other objects than before: there may be something new."""
        sources = self.sources()
        seen = sources.latest()
        return (seen and seen.snapshot, sources, sources.healthy())

    def beat(self) -> bytes:
        """What a reader is told every few seconds, whether or not anything changed."""
        sources = self.sources()
        seen = sources.latest()
        told = {
            "at": sources.now().isoformat(timespec="milliseconds"),
            "tick": seen.snapshot.tick if seen else None,
            "ticked": seen.snapshot.at.isoformat(timespec="milliseconds") if seen else None,
            "unknown": list(seen.snapshot.unknown) if seen else [],
            "leads": sources.lead() == LEADS,
        }
        return message("beat", told)
