"""What alarms are kept in and told to, in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from controller.core.alarm import Alarm, Key, Told
from controller.ports import Clock, Delivery
from tests.fakes.store import FakeStore


class FakeAlarms:
    """See `AlarmStore`. It outlives its store, as a table does."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.rows: dict[Key, Alarm] = {}
        self.writes = 0

    def alarms(self) -> tuple[Alarm, ...]:
        with self.store.database.asked():
            return tuple(self.rows.values())

    def save_alarms(self, changed: Iterable[Alarm], gone: Collection[Key]) -> None:
        with self.store.leading():
            self.writes += 1
            for key in gone:
                self.rows.pop(key, None)
            self.rows |= {alarm.key: alarm for alarm in changed}


class FakeAlarmSink:
    """See `AlarmSink`. What it was told is delivered at the next `deliver`, unless the receiver is in `trouble`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: tuple[Alarm, ...] = ()
        self._taken: list[Alarm] = []
        self._said = ""
        self.trouble = ""
        self.received: list[Alarm] = []
        self.closed = False

    def tell(self, due: Sequence[Alarm]) -> Delivery:
        taken, self._taken = tuple(self._taken), []
        known = {(alarm.key, alarm.standing, alarm.changed_at) for alarm in taken}
        self._waiting = tuple(alarm for alarm in due if (alarm.key, alarm.standing, alarm.changed_at) not in known)
        return Delivery(taken, self._said)

    def deliver(self) -> None:
        """What the thread of a real one does all the time."""
        if self.closed or not self._waiting:
            return
        self._said = self.trouble
        if self.trouble:
            return
        now = self._clock.now()
        self.received += self._waiting
        self._taken += [replace(alarm, told=Told(alarm.standing, now)) for alarm in self._waiting]
        self._waiting = ()

    def close(self) -> None:
        self.closed = True

    def told(self) -> list[tuple[str, str]]:
        """Name and standing of all that was received, in order."""
        return [(alarm.finding.name, alarm.standing.value) for alarm in self.received]
