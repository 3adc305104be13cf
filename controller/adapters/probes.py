"""Prober over HTTP: one background thread with an event loop, one task per replica at its own fixed pace.

The pace must not depend on the ticks (three failures 1 s apart are three seconds, however slow a tick is), and
one hung replica must not delay the probes of the others.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime

import aiohttp

from controller.core.model import LauncherPhase, ProbeHistory, ProbeTarget, ReplicaId
from controller.ports import Clock

_MAX_BODY = 64 * 1024
_STOP_TIMEOUT_S = 5.0


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
    failure of one that has passed before: the moments in which a tick may have something to do.
    """

    def __init__(self, clock: Clock, on_change: Callable[[], None]) -> None:
        self._clock, self._on_change = clock, on_change
        self._watched: dict[ReplicaId, _Watched] = {}
        self._session: aiohttp.ClientSession | None = None
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
                _cancel(old)
                del watched[replica]
        new = [_Watched(target) for replica, target in wanted.items() if replica not in watched]
        for entry in new:
            watched[entry.target.replica] = entry
            entry.task = asyncio.create_task(self._follow(entry))
        self._watched = watched
        return new

    async def _shut(self) -> None:
        tasks = [watched.task for watched in self._watched.values() if watched.task is not None]
        for watched in self._watched.values():
            _cancel(watched)
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _follow(self, watched: _Watched) -> None:
        """Probe one target at a fixed pace, until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while True:
                self._fold(watched, await self._ask(watched.target))
                due = max(due + watched.target.interval_s, loop.time())
                await asyncio.sleep(due - loop.time())
        finally:
            if not watched.first.done():
                watched.first.set_result(None)

    async def _ask(self, target: ProbeTarget) -> ProbeHistory:
        if self._session is None:
            # A connection of its own for each probe: one that is kept open says nothing about new ones.
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector)
        timeout = aiohttp.ClientTimeout(total=target.timeout_s)
        try:
            url = f"http://{target.address}{target.path}"
            async with self._session.get(url, timeout=timeout, allow_redirects=False) as answer:
                body = await _whole(answer.content)
                return read_answer(answer.status, body, target.path, self._clock.now())
        except TimeoutError:
            return ProbeHistory(self._clock.now(), False, 1, f"no answer within {target.timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:  # whatever a replica may answer
            return ProbeHistory(self._clock.now(), False, 1, f"no answer: {type(error).__name__}")

    def _fold(self, watched: _Watched, result: ProbeHistory) -> None:
        before = watched.history
        in_a_row = before.in_a_row + 1 if before is not None and before.ok == result.ok else 1
        watched.history = _counted(result, in_a_row)
        flipped = before is not None and before.ok != result.ok
        first = not watched.first.done()
        if first:
            watched.first.set_result(None)
        if (result.ok and (flipped or first)) or (not result.ok and watched.served):
            self._on_change()
        watched.served = watched.served or result.ok


async def _whole(content: aiohttp.StreamReader) -> bytes:
    """Everything up to the end or the limit; `read(n)` alone stops at the first segment."""
    body = b""
    while len(body) < _MAX_BODY and (piece := await content.read(_MAX_BODY - len(body))):
        body += piece
    return body


def _cancel(watched: _Watched) -> None:
    if watched.task is not None:
        watched.task.cancel()


def _counted(result: ProbeHistory, in_a_row: int) -> ProbeHistory:
    return ProbeHistory(
        result.at,
        result.ok,
        in_a_row,
        result.detail,
        result.phase,
        result.in_flight,
        result.waiting,
        result.last_token_at,
    )


def read_answer(status: int, body: bytes, path: str, at: datetime) -> ProbeHistory:
    """One answer -> one result with `in_a_row` 1. Whatever is not what a launcher says is a failure with its why."""
    if status != 200:
        return ProbeHistory(at, False, 1, f"answered {status}")
    if path != "/status":
        return ProbeHistory(at, True, 1)
    try:
        said = json.loads(body)
        phase = LauncherPhase(said["phase"])
        answering = said["answering"] is True
        in_flight, waiting = _count(said.get("in_flight")), _count(said.get("waiting"))
        last = said.get("last_token_at")
        last_token_at = datetime.fromisoformat(last) if isinstance(last, str) else None
        # JSON may hold half a character, which neither a log nor a database takes.
        detail = str(said.get("detail") or "")[:500].encode("utf-8", "replace").decode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ProbeHistory(at, False, 1, "the launcher's status is not what it should be")
    ok = phase is LauncherPhase.READY and answering
    if not detail and not ok:
        detail = "the engine does not answer" if phase is LauncherPhase.READY else f"the launcher is {phase.value}"
    return ProbeHistory(at, ok, 1, detail, phase, in_flight, waiting, last_token_at)


def _count(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
