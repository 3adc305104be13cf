"""After each tick: the configuration that nginx runs is in the history, with why it is another than the one before.

It compares, and waits for no signal: one that a crash or a full disk kept out is kept by the next tick.
"""

from __future__ import annotations

from datetime import datetime

from controller.core.decision import Plan
from controller.core.event import Event
from controller.core.model import ReplicaId
from controller.core.revision import (
    APPLIED,
    RENDERED,
    REVERT_ENDED,
    REVERTED,
    SETTINGS,
    Cause,
    Moment,
    Revision,
    reasons_in,
    revise,
)
from controller.reconcile.parts import HistoryParts

_MOST_REASONS = 2000  # of replicas that have moved since the last configuration

_TOLD = (APPLIED, SETTINGS, REVERTED, REVERT_ENDED, RENDERED)


class HistoryKeeper:
    """One thread runs it."""

    def __init__(self, parts: HistoryParts) -> None:
        self._parts = parts
        self._reasons: dict[ReplicaId, Cause] = {}
        self._generation: str | None = None  # that was seen last
        self.changed = False  # since the last look: nginx took another configuration

    def look(self, wanted: Plan, moment: Moment) -> list[Event]:
        """What came of it. Never raises; blocks for a file's writing where nginx took a new configuration."""
        if len(self._reasons) < _MOST_REASONS:  # a change that has to wait has its reason in an earlier tick
            self._reasons |= reasons_in(wanted)
        now, known = self._parts.current(), self._generation
        if now is None:
            self.changed = False
            return []
        self.changed, self._generation = known not in (None, now.generation), now.generation
        before = self._parts.kept.newest()
        if before is not None and before.configuration.generation == now.generation:
            return []
        revision = revise(before, now, self._reasons, moment)
        try:
            self._parts.kept.keep(revision)
        except OSError as error:
            text = f"{error.filename} cannot be written: {error.strerror}"
            return [Event(moment.at, "gateway_history_failed", "gateway", type(error).__name__, text)]
        self._reasons.clear()
        return _of_settings(before, revision, moment.at)


def _of_settings(before: Revision | None, revision: Revision, at: datetime) -> list[Event]:
    """Servers that come and go have an event already."""
    causes = [cause for cause in revision.causes if cause.code in _TOLD]
    if before is None or not causes:
        return []
    told = "; ".join(cause.text.rstrip(".") for cause in causes)
    numbers = {"revision": float(revision.number)}
    return [Event(at, "gateway_settings_changed", "gateway", causes[0].code, f"{told}.", numbers)]
