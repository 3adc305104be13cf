"""Waits between two drills until the pool is whole and nothing moves in it."""

from __future__ import annotations

import threading
import time

from controller.settings import Settings
from controller.stack import api_client
from controller.stack.drill.refusal import Pool, not_whole
from controller.stack.trouble import Trouble

FOR_S = 5.0  # at least so long without a move
_PAUSE_S = 0.5


def wait(settings: Settings, token: str, pool: str, timeout_s: float) -> None:
    """Blocks until nothing has moved for 5 s. Raises `Trouble` where that takes longer than `timeout_s`."""
    quiet, until_s = _Quiet(settings, token, pool), time.monotonic() + timeout_s
    while not quiet.ask():
        if time.monotonic() > until_s:
            raise Trouble(f"{quiet.why or 'it does not come to rest'} (waited for {timeout_s:.0f} s)")
        threading.Event().wait(_PAUSE_S)


class _Quiet:
    def __init__(self, settings: Settings, token: str, pool: str) -> None:
        self._settings, self._token, self._pool = settings, token, pool
        self._since_s = time.monotonic()
        self.why = "the controller does not answer"

    def ask(self) -> bool:
        """Whether it has been quiet for long enough by now."""
        seen = api_client.look(self._settings, self._token)
        if seen is not None:
            self.why = not_whole(Pool.of(self._pool, seen.pools, seen.replicas)) or ""
        if self.why:
            self._since_s = time.monotonic()
        return time.monotonic() - self._since_s >= FOR_S
