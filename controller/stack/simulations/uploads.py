"""Traces that people uploaded: checked once, kept for an hour, and only the newest of them."""

from __future__ import annotations

import re
import secrets
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from controller.api.simulation_schemas import TraceOut, UploadOut
from controller.api.simulations import SimulationRefused, TooManySimulations
from controller.stack.simulations.job import File, Job
from controller.stack.simulations.process import Process

KEPT_FOR = timedelta(hours=1)
_MOST = 10
_LIMIT_S = 30.0
_SUFFIXES = (".csv", ".jsonl")
_UNPRINTABLE = re.compile(r"[^\w .,()+@=-]")


@dataclass(frozen=True, slots=True)
class _Kept:
    file: File
    until: datetime


class Uploads:
    """Any thread may call."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self._folder, self._now = folder, now
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()
        self._checking = threading.Lock()
        self._process: Process | None = None
        shutil.rmtree(folder, ignore_errors=True)  # of one that was killed

    def take(self, name: str, content: bytes) -> UploadOut:
        """See `Simulations.upload`."""
        if not self._checking.acquire(blocking=False):
            raise TooManySimulations("another upload is being checked; try again in a moment")
        try:
            return self._take(name, content)
        finally:
            self._checking.release()

    def find(self, identity: str) -> File:
        """That one. Raises `KeyError`, with a sentence."""
        with self._lock:
            self._forget()
            if identity not in self._kept:
                raise KeyError("this upload is no longer kept; upload the trace again")
            return self._kept[identity].file

    def close(self) -> None:
        """Nothing is kept any more."""
        if self._process is not None:
            self._process.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _take(self, name: str, content: bytes) -> UploadOut:
        identity = secrets.token_hex(8)
        suffix = next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")
        called = _UNPRINTABLE.sub("_", name).strip() or "trace"
        path = self._folder / f"{identity}{suffix}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            with suppress(OSError):
                path.unlink()  # a part of it would fill up what was full already
            raise SimulationRefused(f"the upload cannot be kept: {error.strerror}") from error
        file, until = File(path, called), self._now() + KEPT_FOR
        self._process = Process(Job(file), _LIMIT_S)
        try:
            found = TraceOut.model_validate_json(self._process.run(lambda said: None))
        except Exception:
            path.unlink(missing_ok=True)
            raise
        with self._lock:
            self._kept[identity] = _Kept(file, until)
            self._forget()
        return UploadOut(id=identity, until=until, **found.model_dump())

    def _forget(self) -> None:
        now = self._now()
        old = [identity for identity, kept in self._kept.items() if kept.until <= now]
        for identity in [*old, *[known for known in self._kept if known not in old][:-_MOST]]:
            self._kept.pop(identity).file.path.unlink(missing_ok=True)
