"""Passwords, by argon2. Each takes 64 MiB and 0.16 s of a core, and the controller ticks in the same
process: so one at a time, on one core, and whoever comes while several wait already is told to come again.

Whoever has shown something that strangers have not (the mark of a browser, a session, an invitation) has places of
their own in the queue, and is behind one stranger at most: guesses from everywhere keep none of them out. Where these
are taken, there are those of strangers.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import HTTPException

# By whether they are known, with the one that is being looked at; each holds a thread of those that answer everybody.
_WAITING = {False: 5, True: 2}
_OF_ONE_PLACE = {False: 2, True: 1}  # of these: nobody fills the queue from one machine
_PATIENCE_S = 5.0


class Passwords:
    """Makes and checks what is kept instead of a password. Blocks for half a second at most, where few wait."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        # argon2-cffi's own parameters (RFC 9106, low memory), but for the lanes: a core is left for the ticks.
        self._hasher = hasher or PasswordHasher(parallelism=1)
        self._turn, self._strangers, self._lock = threading.Lock(), threading.Lock(), threading.Lock()
        self._waiting: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}  # by place, if known or not

    def make(self, password: str, place: str, *, known: bool = False) -> str:
        """Argon2's text of it. Answers 503 while too many ask, or two of that place do; who is `known` and who is not
        are counted apart."""
        with self._one(place, known):
            return self._hasher.hash(password)

    def fits(self, password: str, kept: str, place: str, *, known: bool = False) -> bool:
        """Whether it is that one. Where nothing is kept it takes as long, and it is not. Answers 503 likewise."""
        with self._one(place, known):
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
    def _one(self, place: str, known: bool) -> Iterator[None]:
        known = self._queue(place, known)
        try:
            with ExitStack() as held:
                # One stranger at a time waits for the turn itself: a lock does not care who came first.
                for lock in (self._turn,) if known else (self._strangers, self._turn):
                    if not lock.acquire(timeout=_PATIENCE_S):
                        raise _busy()
                    held.callback(lock.release)
                yield
        finally:
            with self._lock:
                self._waiting[known][place] -= 1
                self._waiting[known] += Counter()  # without those of whom nobody waits

    def _queue(self, place: str, known: bool) -> bool:
        """Whether it is a place of those who are known."""
        with self._lock:
            for own in (True, False) if known else (False,):
                waiting = self._waiting[own]
                if waiting.total() < _WAITING[own] and waiting[place] < _OF_ONE_PLACE[own]:
                    waiting[place] += 1
                    return own
        raise _busy()


def _busy() -> HTTPException:
    return HTTPException(503, "too many log in just now; try again in a few seconds", {"Retry-After": "3"})
