"""Passwords, by argon2. Each takes 64 MiB and 0.16 s of a core, and the controller ticks in the same
process: so one at a time, on one core, and whoever comes while several wait already is told to come again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import HTTPException

_WAITING = 5  # with the one that is being looked at; each holds a thread of those that answer everybody
_OF_ONE_PLACE = 2  # of these: nobody fills the queue from one machine
_PATIENCE_S = 5.0


class Passwords:
    """Makes and checks what is kept instead of a password. Blocks for half a second at most, where few wait."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        # argon2-cffi's own parameters (RFC 9106, low memory), but for the lanes: a core is left for the ticks.
        self._hasher = hasher or PasswordHasher(parallelism=1)
        self._turn, self._lock = threading.Lock(), threading.Lock()
        self._waiting: Counter[str] = Counter()  # by place

    def make(self, password: str, place: str) -> str:
        """Argon2's text of it. Answers 503 while too many ask, or two of that place do."""
        with self._one(place):
            return self._hasher.hash(password)

    def fits(self, password: str, kept: str, place: str) -> bool:
        """Whether it is that one. Where nothing is kept it takes as long, and it is not. Answers 503 likewise."""
        with self._one(place):
            try:
                self._hasher.verify(kept or self._nobodys, password)
            except (VerificationError, InvalidHashError):
                return False
        return bool(kept)

    def outdated(self, kept: str) -> bool:
        """Whether it was made with other parameters than one of today."""
        return self._hasher.check_needs_rehash(kept)

    @cached_property
    def _nobodys(self) -> str:
        return self._hasher.hash("of nobody")

    @contextmanager
    def _one(self, place: str) -> Iterator[None]:
        self._queue(place)
        try:
            if not self._turn.acquire(timeout=_PATIENCE_S):
                raise _busy()
            try:
                yield
            finally:
                self._turn.release()
        finally:
            with self._lock:
                self._waiting[place] -= 1
                self._waiting += Counter()  # without those of whom nobody waits

    def _queue(self, place: str) -> None:
        with self._lock:
            if self._waiting.total() >= _WAITING or self._waiting[place] >= _OF_ONE_PLACE:
                raise _busy()
            self._waiting[place] += 1


def _busy() -> HTTPException:
    return HTTPException(503, "too many log in just now; try again in a few seconds", {"Retry-After": "3"})
