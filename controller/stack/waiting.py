"""Waits for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

_PAUSE_S = 0.05


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Ask until it is true, for at most about `timeout_s`; whether it became true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE_S)
    return True
