"""Starts the load's process and reads what it saw."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from controller.stack.trouble import Trouble
from tests.bench.failover.figures import Request

# A request that two faults hit one after the other takes long; whether it fails is the question, not when we lose
# patience. The time-out of the common clients is longer still.
PATIENCE_S = 60.0
_LIMIT = 1_000_000  # the time bounds it


class Load:
    """Asks the gateway at `url` from the beginning of the `with` until `finish`, for `seconds` at most."""

    def __init__(self, url: str, clients: int, seconds: float, folder: Path) -> None:
        self._path = folder / "requests.jsonl"
        bounds = ["--limit", str(_LIMIT), "--seconds", str(seconds), "--patience", str(PATIENCE_S)]
        options = ["--clients", str(clients), "--tokens", "12", *bounds]
        self._command = [sys.executable, "-m", "tests.bench.failover.client", url, *options]
        self._process: subprocess.Popen[bytes] | None = None
        self._read_to = 0
        self.ended: list[Request] = []

    def __enter__(self) -> Load:
        with self._path.open("wb") as seen:
            self._process = subprocess.Popen(self._command, stdout=seen, start_new_session=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def look(self) -> list[Request]:
        """All that have ended so far. Raises `Trouble` where the clients ended by themselves."""
        self._read()
        if self._process is not None and (code := self._process.poll()) is not None:
            raise Trouble(f"the clients ended by themselves with exit code {code}; what they said is above")
        return self.ended

    def finish(self) -> list[Request]:
        """Ask no more, and give all that was asked once the last of it has ended. Blocks for at most 65 s."""
        assert self._process is not None
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE_S + 5)
        self._read()
        return self.ended

    def _read(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._read_to)
            whole = file.read().rpartition(b"\n")[0]
        if whole:
            self._read_to += len(whole) + 1
            self.ended += [Request(**json.loads(line)) for line in whole.splitlines()]
