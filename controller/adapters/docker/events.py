"""Follows an engine's events, and notices when the link to the engine is gone.

A stream of events says nothing for hours, on a dead link too. So one that was silent for 8 s is opened anew, from the
last event on: that fails where the engine is gone.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from controller.core.errors import PermanentError, TransientError

SILENCE_S = 8.0
_RECONNECT_S = 1.0
_SPACING_S = 0.02
_JOIN_S = 2.0
_HEARD = ("oom", "die", "start")
_CODE = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """What happened to a container: oom, die or start. `exit_code` of one that died; None where it is not said."""

    action: str
    container: str
    exit_code: int | None = None


class EventStream(Protocol):
    """Lines of JSON. Iteration ends when the engine closes it, the link breaks, or after `SILENCE_S` without a line."""

    def __iter__(self) -> Iterator[bytes]: ...

    def cancel(self) -> None:
        """End the iteration soon. From any thread."""
        ...

    def close(self) -> None:
        """Give the connection back. From the thread that iterates."""
        ...


class Bell:
    """Calls `on_ring` soon after `ring`, from a thread of its own. Many rings at once are one call, and none blocks."""

    def __init__(self, on_ring: Callable[[], None], name: str) -> None:
        self._on_ring = on_ring
        self._rung, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def ring(self) -> None:
        """Never blocks."""
        self._rung.set()

    def close(self) -> None:
        """No more calls. Waits at most 2 s for one that runs."""
        self._closing.set()
        self._rung.set()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        while True:
            self._rung.wait()
            if self._closing.is_set():
                return
            self._rung.clear()
            self._on_ring()
            self._closing.wait(_SPACING_S)


class EventFollower:
    """Rings for each event of one engine and each time that the link to it breaks or comes back.

    `open_stream` is given the time of the last event in the engine's words, or None, and raises TransientError or
    PermanentError. `hear` is told of each event of these kinds before the bell rings, from the follower's thread.
    """

    def __init__(self, open_stream: Callable[[str | None], EventStream], hear: Callable[[EngineEvent], None]) -> None:
        self._open, self._hear = open_stream, hear
        self._closing = threading.Event()
        self._stream: EventStream | None = None
        self._bell: Bell | None = None
        self._thread: threading.Thread | None = None

    def start(self, on_event: Callable[[], None], name: str) -> None:
        """Follow until `close`. Once."""
        self._bell = Bell(on_event, f"docker-wake-{name}")
        arguments = (self._bell,)
        self._thread = threading.Thread(target=self._run, args=arguments, name=f"docker-events-{name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop. Blocks for at most 4 s; a call to an engine that hangs just now is left to its time-out."""
        self._closing.set()
        if self._stream is not None:
            self._stream.cancel()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
        if self._bell is not None:
            self._bell.close()

    def _run(self, bell: Bell) -> None:
        last: bytes = b""
        open_before = True
        while not self._closing.is_set():
            try:
                stream = self._open(_time_of(last))
            except (TransientError, PermanentError):
                if open_before:
                    bell.ring()  # let a tick see that the engine went away
                open_before = False
                self._closing.wait(_RECONNECT_S)
                continue
            open_before = True
            last = self._follow(stream, bell) or last

    def _follow(self, stream: EventStream, bell: Bell) -> bytes:
        """Until the stream ends; its last line. Takes at least 1 s: an engine that ends it at once is not rushed at."""
        self._stream = stream
        began, last = monotonic(), b""
        try:
            if self._closing.is_set():  # `close` saw no stream yet
                return last
            bell.ring()  # whatever happened until now went unheard
            for line in stream:
                if not line:
                    continue
                last = line
                event = _event_of(line)
                if event is not None:
                    self._hear(event)
                bell.ring()
        finally:
            self._stream = None
            stream.close()
        self._closing.wait(max(0.0, began + _RECONNECT_S - monotonic()))
        return last


def _event_of(line: bytes) -> EngineEvent | None:
    """What it says, where it says one of those."""
    said = _read(line)
    actor = said.get("Actor")
    actor = actor if isinstance(actor, dict) else {}
    action, container = said.get("Action", said.get("status")), actor.get("ID", said.get("id"))
    if action not in _HEARD or not isinstance(container, str):
        return None
    told = actor.get("Attributes")
    code = str(told.get("exitCode", "")) if isinstance(told, dict) else ""
    return EngineEvent(str(action), container, int(code) if _CODE.fullmatch(code) else None)


def _time_of(line: bytes) -> str | None:
    """When the event was, in seconds with nine digits; None where it does not say."""
    nanoseconds = _read(line).get("timeNano")
    if not isinstance(nanoseconds, int):
        return None
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"


def _read(line: bytes) -> dict[str, object]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
