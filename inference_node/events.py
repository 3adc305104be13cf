"""What can happen to a launcher. Threads and signal handlers put these; the main thread takes them one by one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineListening:
    """The engine takes connections."""

    port: int


@dataclass(frozen=True, slots=True)
class EngineHealthy:
    """Its health path answered 200."""


@dataclass(frozen=True, slots=True)
class EngineWarm:
    """It made a real token."""


@dataclass(frozen=True, slots=True)
class WarmUpFailed:
    """It made none."""

    why: str


@dataclass(frozen=True, slots=True)
class EngineDraining:
    """It refuses the public; health and counters are at this port of the loopback."""

    port: int


@dataclass(frozen=True, slots=True)
class EngineFailed:
    """It says why it is about to exit."""

    why: str


@dataclass(frozen=True, slots=True)
class EngineExited:
    """Its process is gone. Negative: the signal that ended it."""

    code: int


@dataclass(frozen=True, slots=True)
class StopRequested:
    """SIGTERM or SIGINT."""


Event = (
    EngineListening
    | EngineHealthy
    | EngineWarm
    | WarmUpFailed
    | EngineDraining
    | EngineFailed
    | EngineExited
    | StopRequested
)
