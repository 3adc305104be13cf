"""Looks at the engine about once a second, so that nobody who asks the launcher waits for the engine."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from inference_node.client import EngineAddress, EngineConnection
from inference_node.engines.contract import Counters, Engine, EngineSilent

HEALTH_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Reading:
    """The last look at the engine. None is unknown, never zero.

    An engine that answers, and whose counters do not, may be wedged: its work is unknown, and `last_token_at` stands
    still. It moves with each pass through the model, so that a long prompt is no wedge.
    """

    answering: bool = False
    in_flight: int | None = None
    waiting: int | None = None
    tokens_total: int | None = None
    last_token_at: datetime | None = None
    looked_at: datetime | None = None
    steps: int | None = None  # when they were last told
    silent_since: float | None = None  # monotonic seconds; None while it answers
    why: str = ""  # it does not answer, or has no counters


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found."""

    healthy: bool
    counters: Counters | None
    why: str = ""


def fold(last: Reading, look: Look, now: datetime, monotonic_s: float, best_total: int) -> Reading:
    """The next reading.

    `best_total` is the highest token count so far: a request that ended while the counters were read is missing
    from them once, and the total must not go back for that.
    """
    counters = look.counters
    total = None if counters is None else max(counters.tokens_total, best_total)
    steps = None if counters is None else counters.steps
    stepped = steps is not None and last.steps is not None and steps > last.steps
    moved = stepped or (total is not None and total > best_total)
    # Busy is not dead: work done since the last look counts as an answer.
    answering = look.healthy or moved
    silent_since = None if answering else (last.silent_since if last.silent_since is not None else monotonic_s)
    return Reading(
        answering=answering,
        in_flight=counters.in_flight if counters else None,
        waiting=counters.waiting if counters else None,
        tokens_total=total,
        last_token_at=now if moved else last.last_token_at,
        looked_at=now,
        steps=last.steps if steps is None else steps,
        silent_since=silent_since,
        why=look.why,
    )


class Poller:
    """Keeps `reading` fresh from a thread of its own, from `start` to `stop`."""

    def __init__(self, engine: Engine, interval_s: float) -> None:
        self.reading = Reading()
        self._engine = engine
        self._interval_s = interval_s
        self._best_total = 0
        self._address: EngineAddress | None = None
        self._wake = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def watch(self, address: EngineAddress) -> None:
        """Look at `address` from now on, and right now. Does not block."""
        self._address = address
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="poller", daemon=True)
            self._thread.start()
        self._wake.set()

    def look_now(self) -> None:
        """Begin the next look at once. Does not block."""
        self._wake.set()

    def stop(self) -> None:
        """Look no more. Blocks for at most one look. Idempotent."""
        self._stopped = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            self._wake.clear()
            if self._address is not None:
                self._look_at(self._address)
            self._wake.wait(self._interval_s)

    def _look_at(self, address: EngineAddress) -> None:
        look = look_at(self._engine, address)
        if address != self._address:
            return  # the engine moved meanwhile: what was found at the old place says nothing
        reading = fold(self.reading, look, datetime.now(UTC), time.monotonic(), self._best_total)
        self._best_total = max(self._best_total, reading.tokens_total or 0)
        self.reading = reading


def look_at(engine: Engine, address: EngineAddress) -> Look:
    """Ask for health and counters. Blocks for at most five time-outs; about two where the engine hangs.

    Counters are asked for twice where health is there: on a busy machine one answer can be late, and an idle engine
    that does not tell would look like a wedged one.
    """
    with EngineConnection(address, HEALTH_TIMEOUT_S) as connection:
        health = _why_not(connection, engine.health_path)
        why = health
        for _ in range(1 if health else 2):
            try:
                return Look(not health, engine.read_counters(connection.get), health)
            except EngineSilent as error:
                why = health or str(error)
    return Look(not health, None, why)


def _why_not(connection: EngineConnection, path: str) -> str:
    """Empty when `path` answers in time, else the reason."""
    try:
        connection.get(path)
    except EngineSilent as error:
        return str(error)
    return ""


def describe(reading: Reading, monotonic_s: float) -> str:
    """A sentence where something is wrong with the engine, else an empty text."""
    if reading.silent_since is not None:
        return f"The engine has not answered for {monotonic_s - reading.silent_since:.0f} s ({reading.why})."
    if reading.why:
        return f"The engine answers, its counters do not ({reading.why})."
    return ""


def lost(reading: Reading) -> Reading:
    """The reading once the engine is gone."""
    return replace(reading, answering=False, in_flight=None, waiting=None, tokens_total=None)
