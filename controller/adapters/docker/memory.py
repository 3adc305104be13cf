"""In which containers the kernel killed for memory: heard of while they run, asked of once when they have exited."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic

from controller.core.errors import RuntimeRejected, RuntimeUnavailable

_MOST_HEARD = 1000
_BUDGET_S = 1.0  # of one list; who is left over is asked at the next one


class MemoryDeaths:
    """By container id, which is never used twice. `ask` is the engine's own word on one that exited."""

    def __init__(self, ask: Callable[[str], bool]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._heard: dict[str, None] = {}  # in order, the oldest first
        self._told: dict[str, bool] = {}

    def hear(self, container: str) -> None:
        """There was an event. From any thread."""
        with self._lock:
            self._heard[container] = None
            if len(self._heard) > _MOST_HEARD:
                del self._heard[next(iter(self._heard))]

    def learn(self, exited: Sequence[str]) -> None:
        """Ask of those of these that were not asked of yet. Blocks for at most about 3 s; what fails is left for later.

        Others are forgotten. For one thread at a time.
        """
        self._told = {container: self._told[container] for container in exited if container in self._told}
        deadline = monotonic() + _BUDGET_S
        for container in exited:
            if container in self._told:
                continue
            if monotonic() > deadline:
                return
            try:
                self._told[container] = self._ask(container)
            except RuntimeRejected:
                self._told[container] = False  # it is gone meanwhile
            except RuntimeUnavailable:
                return

    def killed(self, container: str) -> bool:
        """Whether there was one in it, as far as is known."""
        return container in self._heard or self._told.get(container, False)
