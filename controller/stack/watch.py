"""Follows what the controller reports: a live table on a terminal, a line for each change anywhere else."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

from rich.console import Console
from rich.live import Live

from controller.settings import Settings
from controller.stack import api_client, view
from controller.stack.api_client import Seen
from controller.stack.restarts import Restarts

_PAUSE_S = 0.5
_LOOK_EVERY_S = 1.0


class Screen(Protocol):
    """Shows what was seen."""

    def show(self, seen: Seen) -> None:
        """Replace what is shown. Does not block."""
        ...


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._before = Seen()

    def show(self, seen: Seen) -> None:
        for line in view.changes(self._before, seen, datetime.now(UTC)):
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._before = seen


class _Table:
    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, seen: Seen) -> None:
        self._live.update(view.table(seen, datetime.now(UTC)), refresh=True)


@contextmanager
def screen(console: Console) -> Iterator[Screen]:
    """What fits the console, for the length of the body."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    live = Live(console=console, auto_refresh=False)
    live.start()
    try:
        yield _Table(live)
    finally:
        with contextlib.suppress(OSError):  # the terminal was closed
            live.stop()


def until_ready(settings: Settings, token: str, shown: Screen, restarts: Restarts, timeout_s: float) -> bool:
    """Show what happens until every pool has its floor of ready replicas; False where that took too long.

    Raises:
        Trouble: a program ends again and again, or somebody stopped it all.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        restarts.look()
        seen = api_client.look(settings, token)
        if seen is not None:
            shown.show(seen)
            if seen.ready():
                return True
        time.sleep(_PAUSE_S)
    return False


def while_true(condition: Callable[[], bool], settings: Settings, token: str, shown: Screen) -> None:
    """Show what happens for as long as `condition` holds; it is asked once a second."""
    while condition():
        seen = api_client.look(settings, token)
        if seen is not None:
            shown.show(seen)
        time.sleep(_LOOK_EVERY_S)
