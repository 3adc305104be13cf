"""What the start of a replica is made of, and how long each part took."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum


class Stage(StrEnum):
    """In the order in which they follow each other, each until the next begins."""

    FETCH = "fetch"  # until the checkpoint is there and checked
    LOAD = "load"  # until the engine listens
    WARM = "warm"  # until it answers its health check
    FIRST_TOKEN = "first_token"  # until it has made one


class Stages:
    """Those that have ended. One thread writes, any thread reads."""

    def __init__(self) -> None:
        self.began_at = datetime.now(UTC)
        self.seconds: Mapping[Stage, float] = {}  # replaced as a whole, so that readers need no lock
        self._mark = time.monotonic()  # a clock that is set meanwhile makes no stage longer

    def finish(self, stage: Stage) -> None:
        """`stage` ends now, and began where the one before ended."""
        now = time.monotonic()
        self.seconds = {**self.seconds, stage: now - self._mark}
        self._mark = now
