"""Which drill runs, as a file of the state directory tells: whoever wants to end it finds its process there."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from controller.adapters.process import born


@dataclass(frozen=True, slots=True)
class Runs:
    """A drill's id and its process, known by its number and when it was `born`. `asked`: a controller began it."""

    id: str
    pid: int
    began: str
    asked: bool

    def dump(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    def lives(self) -> bool:
        """Whether that process still runs."""
        with suppress(psutil.Error, OSError):
            zombie = psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE
            return not zombie and born(self.pid) == self.began
        return False

    def end(self) -> None:
        """It undoes what it did, and ends."""
        if self.lives():
            with suppress(OSError):
                os.kill(self.pid, signal.SIGTERM)


def runs_now(root: Path) -> Runs | None:
    """The drill that runs with this state directory."""
    runs = last(root)
    return runs if runs is not None and runs.lives() else None


def last(root: Path) -> Runs | None:
    """The drill that began last, whether it still runs or not."""
    try:
        found = json.loads((root / "drill.json").read_text(encoding="utf-8"))
        return Runs(str(found["id"]), int(found["pid"]), str(found["began"]), bool(found["asked"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None
