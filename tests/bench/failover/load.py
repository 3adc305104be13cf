"""Starts the load's process and reads what it saw."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.bench.failover.figures import Request

_DRAIN_S = 30.0  # a request has a time-out of 20 s


@dataclass(frozen=True)
class LoadSettings:
    """`limit` and `seconds` bound the load of one trial, whatever happens to the rest."""

    clients: int = 8
    tokens: int = 12
    limit: int = 5000
    seconds: float = 400.0


class Load:
    """Asks the gateway at `url` from the beginning of the `with` until `finish`, or until its end."""

    def __init__(self, url: str, settings: LoadSettings, folder: Path) -> None:
        self._seen = folder / "requests.jsonl"
        numbers = {name: str(value) for name, value in vars(settings).items()}
        options = [part for name, value in numbers.items() for part in (f"--{name}", value)]
        self._command = [sys.executable, "-m", "tests.bench.failover.client", url, *options]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Load:
        with self._seen.open("wb") as seen:
            self._process = subprocess.Popen(self._command, stdout=seen, start_new_session=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def finish(self) -> list[Request]:
        """Ask no more, and give all that was asked once the last of it has ended. Blocks for at most 30 s."""
        assert self._process is not None
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_DRAIN_S)
        return [Request(**json.loads(line)) for line in self._seen.read_text().splitlines()]
