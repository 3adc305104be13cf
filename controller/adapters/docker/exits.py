"""Which containers the engine told of as dead, before its list has them so.

dockerd 20.10, which Debian 12 has, sends `die`, then takes the container's network apart, and only then writes down
what its list reads: 60 ms later on a quiet machine, more on a busy one. A tick that comes for the event would find it
running, and the next one comes after a whole interval. Newer ones write first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

_MOST = 1000
_BELIEVED_S = 15.0  # over the list: by then it has it, or the container was started again unheard


class Exits:
    """By container id."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._died: dict[str, tuple[int, float]] = {}  # its exit code, and when; in order, the oldest first

    def died(self, container: str, exit_code: int) -> None:
        """There was an event. From any thread."""
        with self._lock:
            self._died.pop(container, None)
            self._died[container] = (exit_code, self._now())
            if len(self._died) > _MOST:
                del self._died[next(iter(self._died))]

    def started(self, container: str) -> None:
        """There was an event: it runs again. From any thread."""
        with self._lock:
            self._died.pop(container, None)

    def exit_code(self, container: str) -> int | None:
        """Of one that is dead, whatever the list says; None: the list is right."""
        with self._lock:
            code, at = self._died.get(container, (None, 0.0))
        return code if self._now() - at < _BELIEVED_S else None
