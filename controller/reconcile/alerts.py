"""The alerts that Alertmanager told of. Threads of the API write and read it; a tick knows nothing of it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from controller.core.alerts import Alert, HeardAlerts, KnownAlert, hear

MOST = 1000  # alerts; whoever has the token cannot fill the memory


class Alerts:
    """What is known of each, firing ones before those that have ended. `count` gets what came of each message."""

    def __init__(self, count: Callable[[HeardAlerts], None] = lambda heard: None) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._known: dict[str, KnownAlert] = {}

    def hear(self, said: Sequence[Alert], left_out: int, now: datetime) -> HeardAlerts:
        """Remember what is news; `left_out` were not even read. Does not block, and takes milliseconds for 1000."""
        seen: Counter[bool] = Counter(alert.firing for alert in said)
        news = repeated = 0
        with self._lock:
            self._forget(now)
            ended = sorted(self._ended(), key=lambda print_: self._known[print_].changed_at, reverse=True)
            for alert in said:
                if alert.fingerprint not in self._known and not self._room(ended):
                    left_out += 1
                    continue
                self._known[alert.fingerprint], new = hear(self._known.get(alert.fingerprint), alert, now)
                news, repeated = news + new, repeated + (not new)
        heard = HeardAlerts(seen[True], seen[False], news, repeated, left_out)
        self._count(heard)
        return heard

    def known(self, now: datetime) -> tuple[KnownAlert, ...]:
        """Those that fire, the newest first; then those that ended within the last hour."""
        with self._lock:
            self._forget(now)
            found = list(self._known.values())
        return tuple(sorted(found, key=lambda known: (not known.alert.firing, -known.changed_at.timestamp())))

    def _forget(self, now: datetime) -> None:
        gone = [print_ for print_, known in self._known.items() if not known.worth_keeping(now)]
        for print_ in gone:
            del self._known[print_]

    def _ended(self) -> list[str]:
        return [print_ for print_, known in self._known.items() if not known.alert.firing]

    def _room(self, ended: list[str]) -> bool:
        """Whether one more can be kept; what has ended gives way, the oldest first."""
        while len(self._known) >= MOST and ended:
            candidate = ended.pop()
            if not self._known[candidate].alert.firing:  # it may fire again by now
                del self._known[candidate]
        return len(self._known) < MOST
