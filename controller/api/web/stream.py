"""/live: the stream of one page, by server-sent events."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from controller.api.access import VIEWER, Caller, CallerDep, holds
from controller.api.web import live
from controller.api.web.live import Channel, Fragments, Hub, Key, Reader, message
from controller.api.web.texts import chosen
from controller.core.errors import TransientError

router = APIRouter(include_in_schema=False)
_SLOW_S = 20.0  # who takes nothing for so long is let go
_MOST_STREAMS, _MOST_OF_ONE = 200, 20
_MOST_PARAMS, _LONGEST = 12, 300


class Stream(Response):
    """One reader's. It never has more under way than the newest parts, and who takes nothing is let go."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, key: Key, seen: str, who: Caller) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._hub, self._key, self._seen, self._who = hub, key, seen, who
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Until it ends by itself or the reader goes. 429 and 503 where there are too many."""
        reader = (self._who.name, self._who.how)
        _require_room(self._hub, reader)
        with self._hub.opened(reader):  # nothing waits in between, so not one too many gets in
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._until_the_end(receive, send)

    async def _until_the_end(self, receive: Receive, send: Send) -> None:
        told, gone = asyncio.create_task(self._tell(send)), asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait((told, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            told.cancel()
            failed, _ = await asyncio.gather(told, gone, return_exceptions=True)
        if isinstance(failed, Exception) and not isinstance(failed, TimeoutError):
            raise failed

    async def _tell(self, send: Send) -> None:
        async with self._hub.reading(self._key) as channel:
            known = live.digest(channel.parts) == self._seen
            await self._follow(send, channel, channel.number if known else -1)
        why = "stopping" if self._hub.stopping() else "logged out"
        await _send(send, message("end", {"why": why}))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, send: Send, channel: Channel, number: int) -> None:
        """Whoever reads has the parts of that number; -1: none."""
        hub, clock = self._hub, asyncio.get_running_loop().time
        sent: Fragments = channel.parts if number >= 0 else {}
        due = clock()  # of the next beat
        while not hub.stopping():
            if (clock() >= due or channel.number != number) and not await self._may():
                return
            if clock() >= due:
                await _send(send, hub.beat())
                due = (clock() // live.BEAT_S + 1) * live.BEAT_S  # the same for all: one wake-up serves them
            if channel.number != number:
                text = channel.since(number, sent)
                number, sent = channel.number, channel.parts
                await _send(send, text)
            await _until(channel.news, due - clock())

    async def _may(self) -> bool:
        """Whether the one who reads is still let in: a session may have ended. While the database is away nobody can
        say so, and the page is needed more than ever."""
        who = self._who
        try:
            return who.how == "file" or await self._hub.once(who.digest, lambda: holds(self._hub.sources(), who))
        except TransientError:
            return True


def _require_room(hub: Hub, reader: Reader) -> None:
    if hub.streams_of(reader) >= _MOST_OF_ONE:
        raise HTTPException(429, f"{reader[0]} watches {_MOST_OF_ONE} pages already, as many as one may; close some")
    if hub.streams >= _MOST_STREAMS:
        raise HTTPException(503, f"{_MOST_STREAMS} pages are watching already; close some, or come back later")


async def _until(news: asyncio.Event, seconds: float) -> None:
    """Something happened, or that time has passed."""
    try:
        async with asyncio.timeout(max(seconds, 0)):
            await news.wait()
    except TimeoutError:
        pass


async def _send(send: Send, text: bytes) -> None:
    async with asyncio.timeout(_SLOW_S):
        await send({"type": "http.response.body", "body": text, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@router.get("/live", dependencies=[VIEWER])
async def stream(request: Request, who: CallerDep, view: str = live.SHELL, seen: str = "") -> Stream:
    """The stream of a view; what it is asked for are the other parameters."""
    hub: Hub = request.app.state.live
    needed = live.needed_for(view)
    if needed is None:
        raise HTTPException(404, "there is no such view")
    if not who.may(needed):
        raise HTTPException(403, f"this needs the role {needed}, and {who.name} is {who.role}")
    params = sorted((name, value) for name, value in request.query_params.items() if name not in ("view", "seen"))
    if len(params) > _MOST_PARAMS or any(len(value) > _LONGEST for _, value in params):
        raise HTTPException(422, "these are too many or too long parameters")
    texts = chosen(request.cookies.get("lang"), request.headers.get("accept-language", ""))
    return Stream(hub, Key(view, tuple(params), texts.language), seen, who)
