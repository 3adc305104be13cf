"""AlarmSink on a webhook: JSON as Alertmanager posts it (version 4), so that what takes its alerts takes these.

Nothing of the URL or the headers is ever told: both may be secrets.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import requests

from controller.core.alarm import Alarm, Told
from controller.core.alarm_message import group_of, message
from controller.ports import Clock, Delivery

DELIVERED, FAILED = "delivered", "failed"
_MOST_AT_ONCE = 100  # alerts in one request
_MOST_WAITING = 10_000  # alerts; the newest of more wait until there is room
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_CLOSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where alarms are posted, and the headers that are sent with them. `link` is where people look, in the alerts."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: timedelta = timedelta(seconds=5)  # to connect, and for each wait for the answer
    link: str = ""

    def __repr__(self) -> str:
        return "Receiver(...)"


class Webhook:
    """See `AlarmSink`. `count` is called once for each request that ended, with how.

    Any answer but 2xx is a failure and is tried again after 1 s, 2 s, 4 s ... 60 s, each with a jitter of half of it.
    """

    def __init__(self, receiver: Receiver, clock: Clock, count: Callable[[str], None] = lambda result: None) -> None:
        self._receiver, self._clock, self._count = receiver, clock, count
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy and no .netrc: it sends what the configuration says, where it says
        self._state = threading.Condition()
        self._waiting: tuple[Alarm, ...] = ()
        self._taken: list[Alarm] = []
        self._trouble = ""
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def tell(self, due: Sequence[Alarm]) -> Delivery:
        """See `AlarmSink.tell`."""
        with self._state:
            taken, self._taken = tuple(self._taken), []
            known = {_identity(alarm) for alarm in taken}
            self._waiting = tuple(alarm for alarm in due if _identity(alarm) not in known)[:_MOST_WAITING]
            self._state.notify_all()
            return Delivery(taken, self._trouble)

    def close(self) -> None:
        """See `AlarmSink.close`. A request that is under way ends with the process."""
        with self._state:
            self._closing = True
            self._state.notify_all()
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        failures = 0
        while self._wait(failures):
            failures = 0 if self._round() else failures + 1
        self._session.close()

    def _wait(self, failures: int) -> bool:
        """Until there is something to do; False: it is over. After a failure not before its time."""
        with self._state:
            if failures:
                self._state.wait_for(lambda: self._closing, _backoff_s(failures))
            self._state.wait_for(lambda: self._closing or self._waiting)
            return not self._closing

    def _round(self) -> bool:
        """One try for each message; whether all went well. Who does not answer at all is not asked for the others."""
        trouble, tried = "", set[tuple[object, ...]]()
        while alarms := self._next(tried):
            tried |= {_identity(alarm) for alarm in alarms}
            said, answered = self._post(alarms)
            trouble = trouble or said
            if not said:
                self._note(alarms)
            self._count(FAILED if said else DELIVERED)
            if not answered:
                break
        with self._state:
            self._trouble = trouble
        return not trouble

    def _next(self, tried: Collection[tuple[object, ...]]) -> list[Alarm]:
        """Those of the next message, of what is waiting now; none where all were tried, or it is over."""
        with self._state:
            left = [] if self._closing else [alarm for alarm in self._waiting if _identity(alarm) not in tried]
        group = [alarm for alarm in left if group_of(alarm) == group_of(left[0])]
        return group[:_MOST_AT_ONCE]

    def _post(self, alarms: Sequence[Alarm]) -> tuple[str, bool]:
        """What went wrong, empty where nothing did; and whether there was an answer."""
        receiver = self._receiver
        wait_s = receiver.timeout.total_seconds()
        try:
            with self._session.post(
                receiver.url,
                json=message(alarms, receiver.link),
                headers=dict(receiver.headers),
                timeout=wait_s,
                allow_redirects=False,  # what is secret in the headers is for nobody else
                stream=True,  # the answer's body is not read, however long it is
            ) as answer:
                code = answer.status_code
        except requests.Timeout:
            return f"The webhook gave no answer within {wait_s:g} s", False
        except (requests.RequestException, OSError, ValueError) as error:
            return f"The webhook could not be reached: {type(error).__name__}", False
        return ("" if 200 <= code < 300 else f"The webhook answered {code}"), True

    def _note(self, alarms: Sequence[Alarm]) -> None:
        now = self._clock.now()
        with self._state:
            self._taken += [replace(alarm, told=Told(alarm.standing, now)) for alarm in alarms]
            done = {_identity(alarm) for alarm in alarms}
            self._waiting = tuple(alarm for alarm in self._waiting if _identity(alarm) not in done)


def _identity(alarm: Alarm) -> tuple[object, ...]:
    return alarm.key, alarm.standing, alarm.changed_at


def _backoff_s(failures: int) -> float:
    longest = min(_FIRST_WAIT_S * 2.0 ** min(failures - 1, 10), _LONGEST_WAIT_S)
    return longest * random.uniform(0.5, 1.0)
