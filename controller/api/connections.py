"""The controller's connections: how many may be open, and for how long one may keep us waiting for a request.

Each takes a file of the process, as do Docker, nginx and the database. Were there no bound, whoever opens connections
and says nothing would take the last of them, and nothing would be healed any more. uvicorn has no time-out for the
head of a request, and its `limit_concurrency` would refuse everybody; hence these:

- A part of the files is kept free for everything else. Who comes when all places are taken is closed at once.
- The head of the first request must be there within 10 s of the connection's begin, TLS included; that of a later one
  within 10 s of its first byte; its body a minute later, whether or not it was answered meanwhile. Bytes that drip in
  do not begin the time anew. An answer may take as long as it likes.
- A peer that acknowledges nothing, or has no room for what we send, is given up after a minute, by the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

_MOST, _SHARE_FREE = 4096, 4  # one of so many files is not for connections
_WAVES = 8  # asyncio accepts a whole backlog at once, and a few of them before the first one is closed
_BACKLOG = 2048  # uvicorn's own
_DEAF_MS = 60_000


def take_files(complain: Callable[[str], None]) -> int:
    """Let this process open as many files as it may, and say how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        complain(
            f"the limit of open files stays at {soft} and was to be {hard} ({error}); raise it where the controller is "
            "started, with LimitNOFILE= of systemd or `ulimit -n`"
        )
        return soft
    return hard


@dataclass
class Room:
    """The places for connections, and how long each waits for a request: `head_s`, `body_s`. Lives in one event loop.

    `complain` is told once that all places are taken, and again after half of them were free.
    """

    most: int
    complain: Callable[[str], None]
    head_s: float = 10.0
    body_s: float = 60.0
    tls: ssl.SSLContext | None = None
    taken: int = field(default=0, init=False)
    _told: bool = field(default=False, init=False)

    def enter(self) -> bool:
        """Take a place, if there is one."""
        if self.taken < self.most:
            self.taken += 1
            return True
        if not self._told:
            self.complain(f"{self.most} connections are open, which is all there may be; new ones are closed at once")
            self._told = True
        return False

    def leave(self) -> None:
        """Give a place back."""
        self.taken -= 1
        self._told = self._told and self.taken > self.most // 2

    def protocol(self, **told: Any) -> asyncio.Protocol:
        """What uvicorn makes for each connection that it accepts."""
        return _Entrance(self, Patient(self, **told))


def room_for(files: int, complain: Callable[[str], None]) -> Room:
    """Places in a process that may open so many files."""
    unbounded = files == resource.RLIM_INFINITY
    return Room(_MOST if unbounded else min(_MOST, files - files // _SHARE_FREE), complain)


def backlog_for(files: int, room: Room) -> int:
    """How many connections may wait to be accepted, so that all of them at once still leave files."""
    unbounded = files == resource.RLIM_INFINITY
    return _BACKLOG if unbounded else max(1, min(_BACKLOG, (files - room.most) // _WAVES))


def serve_in(room: Room, config: uvicorn.Config) -> None:
    """Let uvicorn serve in this room. TLS is then the room's: uvicorn's would begin before a connection is counted."""
    config.http = cast(Any, room.protocol)  # it takes whatever makes a protocol
    config.load()
    room.tls, config.ssl = config.ssl, None


def give_up_the_deaf(listening: socket.socket) -> None:
    """Let connections that this socket will accept, and which inherit it, end when their peer takes nothing."""
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAF_MS)


class Patient(H11Protocol):
    """uvicorn's protocol, which waits for the head of a request, but not forever."""

    def __init__(self, room: Room, **told: Any) -> None:
        super().__init__(**told)
        self._room = room
        self._timer: asyncio.TimerHandle | None = None
        self.until = 0.0  # of the first head, by the loop's clock

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """It has its place already."""
        super().connection_made(transport)
        self._timer = self.loop.call_at(self.until, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Its place is free."""
        self._stop()
        self._room.leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Where nobody was asked for anything, the time of the next request begins."""
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._timer = self.loop.call_later(self._room.head_s, self.transport.abort)
        super().data_received(data)

    def handle_events(self) -> None:
        """With the head of a request its time is over, and that of its body begins; or that is over, too."""
        before, body = self.cycle, self.conn.their_state is h11.SEND_BODY
        super().handle_events()
        after = self.conn.their_state is h11.SEND_BODY
        if self.cycle is not before or (body and not after):
            self._stop()
            if after:
                self._timer = self.loop.call_later(self._room.body_s, self.transport.abort)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Entrance(asyncio.Protocol):
    """Takes a place for the connection, speaks TLS where that is spoken, and hands it over to the protocol inside."""

    def __init__(self, room: Room, inside: Patient) -> None:
        self._room, self._inside = room, inside
        self._early = b""  # a request may come with the last part of the handshake
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing was read of it yet."""
        assert isinstance(transport, asyncio.Transport)
        loop = asyncio.get_running_loop()
        self._inside.until = loop.time() + self._room.head_s
        if not self._room.enter():
            transport.abort()
        elif self._room.tls is None:
            self._hand_over(transport)
        else:
            transport.pause_reading()  # what comes is for TLS
            self._task = loop.create_task(self._shake_hands(transport, self._room.tls))

    def data_received(self, data: bytes) -> None:
        """Decrypted, and not handed over yet."""
        self._early += data

    async def _shake_hands(self, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        loop, seconds = asyncio.get_running_loop(), self._room.head_s
        secure: asyncio.Transport | None = None
        try:
            # Whoever speaks no TLS, or speaks it too slowly, is closed without a word, as asyncio does it.
            with contextlib.suppress(OSError):
                secure = await loop.start_tls(
                    transport,
                    self,
                    context,
                    server_side=True,
                    ssl_handshake_timeout=seconds,
                    ssl_shutdown_timeout=seconds,
                )
        finally:
            if secure is None or transport.is_closing():
                secure = None
                self._room.leave()
        if secure is not None:
            self._hand_over(secure)

    def _hand_over(self, transport: asyncio.Transport) -> None:
        transport.set_protocol(self._inside)
        self._inside.connection_made(transport)
        if self._early:
            self._inside.data_received(self._early)
