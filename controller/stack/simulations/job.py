"""What a process that simulates is told, and what it says: JSON on its input, lines of JSON on its output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from controller.simulate.profile import Profile
from controller.simulate.setup import Setup
from controller.simulate.synthetic import Synthetic


@dataclass(frozen=True, slots=True)
class File:
    """An upload: where it lies, and what its owner calls it."""

    path: Path
    called: str


@dataclass(frozen=True, slots=True)
class Job:
    """One trace, and the policies that play it. Without a live one the trace is only read, and told about."""

    trace: Synthetic | Profile | File
    live: Setup | None = None
    changed: Setup | None = None
    compare: tuple[str, ...] = ()
    priced: bool = False  # whether a price was given


@dataclass(frozen=True, slots=True)
class Said:
    """One line: how far it is, or how it ended."""

    playing: str = ""
    progress: float = 0.0  # 0..1 of everything
    done: str | None = None  # JSON of a `ResultOut` or a `TraceOut`
    refused: str | None = None  # in one sentence


JOB: TypeAdapter[Job] = TypeAdapter(Job)
SAID: TypeAdapter[Said] = TypeAdapter(Said)
