"""Once per tick, at its end: which alerts hold by what the tick saw, and who has to be told of them.

What the receiver took is in the store, so that a controller that was restarted tells nothing twice. It compares and
waits for no signal: what was not taken, or could not be saved, is told or saved by the next tick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from controller.core.alarm import Alarm, Key, Standing, due, took
from controller.core.alarms import Board, Sight, watch
from controller.core.event import Event
from controller.core.policy import PoolPolicy
from controller.reconcile.parts import AlarmParts

_WORDS = {Standing.FIRING: "alert_firing", Standing.RESOLVED: "alert_resolved"}
_SUBJECTS = ("replica", "gateway", "node", "source", "pool")  # the narrowest first


class AlarmKeeper:
    """One thread runs it; `firing` is for others, too."""

    def __init__(self, parts: AlarmParts) -> None:
        self._parts = parts
        self._board: Board | None = None  # None: what an earlier controller told is not known yet
        self._kept: Mapping[Key, Alarm] = {}
        self._trouble = ""

    @property
    def firing(self) -> tuple[Alarm, ...]:
        """Those that fire."""
        found = self._board.alarms.values() if self._board is not None else ()
        return tuple(alarm for alarm in found if alarm.standing is Standing.FIRING)

    def look(self, sight: Sight | None, policies: Sequence[PoolPolicy], now: datetime) -> list[Event]:
        """Tell whom it concerns, and what came of it. `sight` is what the tick saw; None: it failed, and all stands as
        it stood. Blocks for a read of the store, once. Raises `TransientError` where that is away."""
        board = self._remembered() if self._board is None else self._board
        after = board if sight is None else watch(board, sight, policies)
        events: list[Event] = []
        if self._parts.sink is not None:
            delivery = self._parts.sink.tell(due(after.alarms.values(), self._parts.repeat, now))
            events = [*_changes(board.alarms, after.alarms, now), *self._of_trouble(delivery.trouble, now)]
            after = Board(took(after.alarms, delivery.taken, now), after.falls)
        self._board = after
        return events

    def save(self) -> None:
        """What was told, for the next controller. Blocks for a write where something changed.

        Raises:
            LostLease, TransientError: like the store; the next call makes up for it.
        """
        if self._board is None or self._parts.sink is None:
            return
        wanted = {key: alarm for key, alarm in self._board.alarms.items() if _lasts(alarm)}
        changed = [alarm for key, alarm in wanted.items() if _told(alarm) != _told(self._kept.get(key))]
        gone = [key for key in self._kept if key not in wanted]
        if changed or gone:
            self._parts.store.save_alarms(changed, gone)
            self._kept = wanted

    def _remembered(self) -> Board:
        if self._parts.sink is not None:
            self._kept = {alarm.key: alarm for alarm in self._parts.store.alarms()}
        return Board(dict(self._kept))

    def _of_trouble(self, trouble: str, now: datetime) -> list[Event]:
        """That the receiver takes nothing: once when it begins, and once when it is over."""
        before, self._trouble = self._trouble, trouble
        if trouble and not before:
            return [Event(now, "alerts_undelivered", "webhook", "NotTaken", f"{trouble}; it is tried again.")]
        if before and not trouble:
            return [Event(now, "alerts_delivered", "webhook", "Taken", "The webhook takes alerts again.")]
        return []


def _lasts(alarm: Alarm) -> bool:
    """Whether somebody knows of it, or is to."""
    return alarm.told is not None or alarm.standing is Standing.FIRING


def _told(alarm: Alarm | None) -> tuple[object, ...]:
    """What of it is worth a write: not its newest value."""
    return () if alarm is None else (alarm.standing, alarm.changed_at, alarm.told)


def _changes(before: Mapping[Key, Alarm], after: Mapping[Key, Alarm], now: datetime) -> list[Event]:
    """An event for each that fires, or is over."""
    changed = [
        alarm
        for key, alarm in after.items()
        if alarm.standing in _WORDS and (key not in before or before[key].standing is not alarm.standing)
    ]
    return [_event(alarm, now) for alarm in changed]


def _event(alarm: Alarm, now: datetime) -> Event:
    finding, labels = alarm.finding, dict(alarm.finding.labels)
    subject = next((f"{name}/{labels[name]}" for name in _SUBJECTS if name in labels), "alerts")
    lasted = (alarm.changed_at - alarm.since).total_seconds()
    over = alarm.standing is Standing.RESOLVED
    text = f"It is over, after {lasted:.0f} s." if over else finding.description
    return Event(now, _WORDS[alarm.standing], subject, finding.name, text)
