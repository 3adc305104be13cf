"""What the launcher knows of an engine.

An engine is a child process. It gets the launcher's environment and STOKER_LAUNCHER_PID, must die with that
process, and says on its stdout, one JSON object per line:

    {"listening": PORT}   it answers the public at this port
    {"draining": PORT}    after SIGTERM: the public is refused; its health and counters are at this loopback port
    {"failed": "..."}     a sentence, before it exits with an error

After SIGTERM it finishes what is in flight, however long that takes, and exits 0; the launcher owns the deadline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


class EngineSilent(Exception):
    """The engine gave no usable answer in time."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What an engine says of its work. `tokens_total` counts tokens of requests that still run, too.

    `steps` grows with each pass through the model, also while a prompt is read and no token comes; None: not told.
    """

    in_flight: int
    waiting: int
    tokens_total: int
    steps: int | None = None


Get = Callable[[str], str]
"""Fetches a path from the engine. Raises `EngineSilent`."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One kind of engine. `read_counters` raises `EngineSilent`, also for an answer that it cannot read."""

    command: tuple[str, ...]
    health_path: str  # answers 200 as soon as requests are taken
    read_counters: Callable[[Get], Counters]
