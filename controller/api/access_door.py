"""What the door keeps in memory: who was let in lately, who failed to log in, and how much of that is written down.

Of one process: the sessions and tokens themselves are in the database, so nobody is locked out when it is gone.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from controller.api.access_passwords import Passwords
from controller.core.throttle import Guess, Throttle, Who

KNOWN_FOR = timedelta(seconds=5)  # another process may have ended it meanwhile; this one forgets at once
SEEN_EVERY = timedelta(minutes=1)
_MOST_KNOWN = 10_000
_BURST, _PER_S = 60.0, 10 / 60  # refusals that are written down; more only count
_T = TypeVar("_T")


class Known:
    """What was looked up lately by its digest. What is not there is not remembered: nobody fills this by guessing.

    `generation` grows whenever everything is forgotten: what was looked up before is not kept after that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[str, tuple[object, datetime]] = OrderedDict()
        self.generation = 0

    def find(self, digest: str, now: datetime, look: Callable[[], _T | None]) -> _T | None:
        """As it was within the last few seconds, or as `look` finds it."""
        with self._lock:
            found, at = self._found.get(digest, (None, now))
            generation = self.generation
        if found is not None and timedelta() <= now - at < KNOWN_FOR:
            return found  # type: ignore[return-value]  # a digest is looked up in one way only
        fresh = look()
        if fresh is not None:
            self.keep(digest, fresh, now, generation)
        return fresh

    def keep(self, digest: str, value: object, now: datetime, generation: int) -> None:
        """Unless everything was forgotten since that generation: then it may be over."""
        with self._lock:
            if generation != self.generation:
                return
            self._found.pop(digest, None)
            self._found[digest] = (value, now)
            while len(self._found) > _MOST_KNOWN:
                self._found.popitem(last=False)

    def forget(self) -> None:
        """Something ended: look everything up again, also what is being looked up now."""
        with self._lock:
            self.generation += 1
            self._found.clear()


class Flood:
    """How many refusals are written down: a burst, then a few a minute, so that nobody fills the audit log."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left, self._at, self._missed = _BURST, 0.0, 0

    def admits(self, now: float) -> int | None:
        """None: this one is only counted. Else how many were since the last one that was written down."""
        with self._lock:
            self._left = min(_BURST, self._left + max(0.0, now - self._at) * _PER_S)
            self._at = now
            if self._left < 1:
                self._missed += 1
                return None
            self._left -= 1
            missed, self._missed = self._missed, 0
            return missed


class Door:
    """Everything of the above."""

    def __init__(self) -> None:
        self.known, self.passwords = Known(), Passwords()
        # Apart: a gateway that asks every second with an old token leaves room for guesses at passwords.
        self.flood, self.flood_of_nobody = Flood(), Flood()
        self._throttle, self._lock = Throttle(), threading.Lock()

    def begin(self, who: Who, now: datetime) -> tuple[float, Guess | None]:
        """How long a login must wait, in seconds, or a guess, which counts as failed until it is known."""
        with self._lock:
            return self._throttle.begin(who, now.timestamp())

    def withdraw(self, guess: Guess) -> None:
        """It was not looked at."""
        with self._lock:
            self._throttle.withdraw(guess)

    def succeeded(self, guess: Guess) -> None:
        """It was that person."""
        with self._lock:
            self._throttle.succeeded(guess)
