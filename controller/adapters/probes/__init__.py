"""Prober over HTTP: one background thread with an event loop, one task per replica at its own fixed pace.

The pace must not depend on the ticks (three failures 1 s apart are three seconds, however slow a tick is), and
one hung replica must not delay the probes of the others.

A probe is one GET on a connection of its own: one that is kept open says nothing about new ones. For a thousand of
them a second a client library is too slow by half, so the few lines of HTTP that this takes are here.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from controller.adapters.probes.answer import read_answer as read_answer
from controller.core.model import ProbeHistory, ProbeTarget, ReplicaId
from controller.ports import Clock

_MAX_ANSWER = 64 * 1024
_STATUS = "/status"
_STOP_TIMEOUT_S = 5.0
_GATHER_S = 0.01
_LATE_S = 0.05  # a loop that is later than this was kept from running: that is no fault of a replica
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(slots=True)
class _Watched:
    """A target with its task and its newest result. `first` is done once there is one."""

    target: ProbeTarget
    task: asyncio.Task[None] | None = None
    history: ProbeHistory | None = None
    served: bool = False  # it has passed a probe
    first: Future[None] = field(default_factory=Future)


class HttpProber:
    """GET on each target; 200 within its time-out is a pass, and a launcher must also say that it is ready.

    `on_change` is called from the prober's thread when a replica passes for the first time or again, and at each
    failure of one that has passed before: the moments in which a tick may have something to do. It must not block.
    """

    def __init__(self, clock: Clock, on_change: Callable[[], None]) -> None:
        self._clock, self._on_change = clock, on_change
        self._watched: dict[ReplicaId, _Watched] = {}
        self._waking = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="prober", daemon=True)
        self._thread.start()

    def probe(self, targets: Sequence[ProbeTarget]) -> Mapping[ReplicaId, ProbeHistory]:
        """See `Prober.probe`."""
        changed = asyncio.run_coroutine_threadsafe(self._watch(targets), self._loop)
        for watched in changed.result():
            watched.first.result()
        known = self._watched
        return {target.replica: history for target in targets if (history := known[target.replica].history) is not None}

    def close(self) -> None:
        """See `Prober.close`."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(_STOP_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_TIMEOUT_S)
        self._loop.close()

    async def _watch(self, targets: Sequence[ProbeTarget]) -> list[_Watched]:
        """Watch exactly these; the new ones, whose first result is still to come."""
        wanted = {target.replica: target for target in targets}
        watched = dict(self._watched)
        for replica, old in self._watched.items():
            if wanted.get(replica) != old.target:
                if old.task is not None:
                    old.task.cancel()
                del watched[replica]
        new = [_Watched(target) for replica, target in wanted.items() if replica not in watched]
        due = self._loop.time()
        for entry in new:
            watched[entry.target.replica] = entry
            entry.task = asyncio.create_task(self._follow(entry, due))
        self._watched = watched
        return new

    async def _shut(self) -> None:
        tasks = [watched.task for watched in self._watched.values() if watched.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, watched: _Watched, due: float) -> None:
        """Probe one target at a fixed pace, until cancelled. `due`: when the first probe was asked for."""
        loop, target = asyncio.get_running_loop(), watched.target
        try:
            self._fold(watched, await self._ask(target, due))
            # Those that came together are spread over the second, lest each wait for all others every time.
            due += target.interval_s * random.uniform(0.5, 1)
            while True:
                due = max(due, loop.time())
                await asyncio.sleep(due - loop.time())
                self._fold(watched, await self._ask(target, loop.time()))
                due += target.interval_s
        finally:
            if not watched.first.done():
                watched.first.set_result(None)

    async def _ask(self, target: ProbeTarget, began: float) -> ProbeHistory:
        try:
            exchange = _Exchange(target, began + target.timeout_s)
        except OSError as error:
            return ProbeHistory(self._clock.now(), False, 1, f"no answer: {type(error).__name__}")
        try:
            status, body = await exchange.answer
        except TimeoutError:
            return ProbeHistory(self._clock.now(), False, 1, f"no answer within {target.timeout_s:g} s")
        except (OSError, ValueError) as error:
            return ProbeHistory(self._clock.now(), False, 1, f"no answer: {type(error).__name__}")
        finally:
            exchange.close()
        return read_answer(status, body, target.path, self._clock.now())

    def _fold(self, watched: _Watched, result: ProbeHistory) -> None:
        before = watched.history
        in_a_row = before.in_a_row + 1 if before is not None and before.ok == result.ok else 1
        # Of a launcher that gives no answer the newest token that it told of is still worth knowing.
        token_at = before.last_token_at if before is not None and result.phase is None else result.last_token_at
        watched.history = replace(result, in_a_row=in_a_row, last_token_at=token_at)
        flipped = before is not None and before.ok != result.ok
        if first := not watched.first.done():
            watched.first.set_result(None)
        if (result.ok and (flipped or first)) or (not result.ok and watched.served):
            self._wake()
        watched.served = watched.served or result.ok

    def _wake(self) -> None:
        """One call for all that changes within 10 ms: a node that is lost fails hundreds of probes at once."""
        if not self._waking:
            self._waking = True
            self._loop.call_later(_GATHER_S, self._call)

    def _call(self) -> None:
        self._waking = False
        self._on_change()


class _Exchange:
    """One GET. `answer`: status and body, or TimeoutError at `until` (of the loop's time), OSError or ValueError."""

    def __init__(self, target: ProbeTarget, until: float) -> None:
        self._loop, self._target, self._until = asyncio.get_running_loop(), target, until
        self.answer: asyncio.Future[tuple[int, bytes]] = self._loop.create_future()
        self._read = b""
        # Names are refused: to look one up would hold up everybody's probes.
        host, port = target.address.host, target.address.port
        family, kind, _, _, where = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)[0]
        self._socket = socket.socket(family, kind)
        self._socket.setblocking(False)
        self._number = self._socket.fileno()  # the loop puts a socket itself into words each time it looks for it
        self._timer = self._loop.call_at(until, self._over, False)
        if self._socket.connect_ex(where) == 0:  # on one machine it is there at once
            self._connected()
        else:
            self._loop.add_writer(self._number, self._connected)

    def close(self) -> None:
        """Let go of everything. The loop is told first: the number of a closed socket is soon another's."""
        self._timer.cancel()
        self._loop.remove_writer(self._number)
        self._loop.remove_reader(self._number)
        self._socket.close()

    def _connected(self) -> None:
        self._loop.remove_writer(self._number)
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            if code != 0:
                raise OSError(code, os.strerror(code))
            host = f"Host: {self._target.address}\r\nConnection: close"
            self._socket.send(f"GET {self._target.path} HTTP/1.1\r\n{host}\r\n\r\n".encode())
        except OSError as error:
            self._fail(error)
        else:
            self._loop.add_reader(self._number, self._readable)

    def _readable(self) -> None:
        try:
            piece = self._socket.recv(_MAX_ANSWER)
            self._read += piece
            answer = _read_http(self._read, not piece or len(self._read) >= _MAX_ANSWER, self._target.path == _STATUS)
        except BlockingIOError:
            return
        except (OSError, ValueError) as error:
            self._fail(error)
        else:
            if answer is not None and not self.answer.done():
                self.answer.set_result(answer)

    def _over(self, prolonged: bool) -> None:
        """The time is over; once it gets longer, by as much as the loop itself was kept from running."""
        late = self._loop.time() - self._until
        if late > _LATE_S and not prolonged:
            self._timer = self._loop.call_later(min(late, self._target.timeout_s), self._over, True)
        else:
            self._fail(TimeoutError())

    def _fail(self, error: Exception) -> None:
        self._loop.remove_reader(self._number)
        if not self.answer.done():
            self.answer.set_exception(error)


def _read_http(said: bytes, at_end: bool, with_body: bool) -> tuple[int, bytes] | None:
    """Status and body, once they are whole. `with_body`: it matters. Raises ValueError for what is no HTTP."""
    head, blank, body = said.partition(_END_OF_HEAD)
    status = _STATUS_LINE.match(said)
    if status is None and (at_end or blank):
        raise ValueError("no HTTP")
    if status is None or not (blank or at_end):
        return None
    announced = _LENGTH.search(head + b"\r\n")
    whole = not with_body or (announced is not None and len(body) >= int(announced[1]))
    return (int(status[1]), body) if whole or at_end else None
