"""One fault under load: load, hurt, wait until all is whole again, undo, and tell what was seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from controller.adapters.docker_faults import FaultRefused
from controller.settings import Settings
from controller.stack.drill import promise
from controller.stack.drill.assemble import Moment, events_after, key, looks_after, requests_after
from controller.stack.drill.catalogue import INJURIES
from controller.stack.drill.facts import Before, Ending, Fault, Look, Recording
from controller.stack.drill.injury import Ground, Injury
from controller.stack.drill.load import Load, Target
from controller.stack.drill.promise import Pace
from controller.stack.drill.visitor import visiting
from controller.stack.drill.watch import Api, Row, Watch
from controller.stack.progress import Report
from controller.stack.single import postponed, undisturbed
from controller.stack.trouble import Trouble

_PAUSE_S = 0.05
_CALM_MOST_S = 60.0  # until every client had an answer
_UNDO_S = 120.0  # how long the load goes on at most, beyond the patience with the fault


# What is slow is so beside peers that have as much to do; and a slow one holds up as many clients as it may have.
_MORE = {Fault.SLOW: 2}


@dataclass(frozen=True, slots=True)
class Site:
    """Where the drill takes place, and how hard. `calm_s` of load come before the fault, `after_s` after its end."""

    settings: Settings
    ground: Ground
    model: str
    clients: int
    pace: Pace
    calm_s: float = 5.0
    after_s: float = 2.0
    token: str = field(default="", repr=False)  # for the controller's API


def run(site: Site, fault: Fault, say: Report) -> Recording:
    """Do it. Blocks until the pool is whole again, or a little longer than was promised; undoes what it did.

    Raises:
        NotHere: it cannot be done on this installation; nothing was done.
        Trouble: it did not work, or nobody answers; it was undone.
    """
    injury = INJURIES[fault](site.ground)
    injury.require()
    api = Api(site.settings, site.token)
    patience_s = promise.patience_s(fault, site.pace)
    deadline_s = time.monotonic() + _CALM_MOST_S + patience_s + _UNDO_S
    with ExitStack() as opened:
        opened.callback(api.close)
        watch = opened.enter_context(Watch(site.settings, site.ground.pool, site.token))
        url, state_dir = _gateway(site.settings), site.ground.layout.root
        key = opened.enter_context(visiting(state_dir, site.settings, site.ground.pool, url))
        clients = site.clients * _MORE.get(fault, 1)
        load = opened.enter_context(Load(Target(url, site.model, clients, deadline_s, key)))
        opened.enter_context(_undone(injury))
        say("load")
        begun_s = time.monotonic()
        _until(lambda: _calm(watch, load, begun_s, site), _CALM_MOST_S)
        return _Course(site, injury, watch, load, api).run(fault, patience_s, say)


@contextmanager
def _undone(injury: Injury) -> Iterator[None]:
    """However the body ends, also by a signal, and even where another one comes meanwhile."""
    try:
        yield
    finally:
        try:
            with undisturbed():
                injury.put_back()
        except KeyboardInterrupt:  # it came right before nobody listened; no other one is heard after it
            injury.put_back()
            raise


class _Course:
    """The course of one drill, from the calm before to the recording."""

    def __init__(self, site: Site, injury: Injury, watch: Watch, load: Load, api: Api) -> None:
        self._site, self._injury, self._watch, self._load, self._api = site, injury, watch, load, api
        self._over_s: float | None = None

    def run(self, fault: Fault, patience_s: float, say: Report) -> Recording:
        """See `run` above."""
        pool, injury = self._site.ground.pool, self._injury
        known = frozenset(key(row) for row in self._api.events())
        retries = self._api.retries(pool)
        victim, before = self._choose()
        injury.prepare(victim)
        moment = self._inflict(victim)
        say(f"{fault.value} of {victim}" if injury.hits else fault.value)
        victims = (victim,) if injury.hits else ()
        self._wait(victims, before, moment.at_s, patience_s)
        ended_s = time.monotonic() - moment.at_s
        with postponed():
            injury.put_back()
        self._load.stop()
        requests = requests_after(self._load.ended(), moment)
        now = self._api.retries(pool)
        looks = looks_after(self._watch.looks(), moment)
        return Recording(
            fault=fault,
            pool=pool,
            at=moment.at,
            victims=(*victims, *injury.more_victims()),
            before=before,
            began_s=min([*(one.sent_s for one in requests), 0.0]),
            ended_s=ended_s,
            looks=[look for look in looks if look.at_s <= ended_s],
            events=events_after(self._api.events(), known, moment, ended_s),
            requests=requests,
            retried=None if retries is None or now is None else max(now - retries, 0),
            over_s=self._over_s,
            took_s=moment.took_s,
        )

    def _choose(self) -> tuple[str, Before]:
        """The busiest replica: what it has in flight is at stake."""
        rows = self._api.rows("replicas") or []
        look = self._watch.latest()
        ready = [row for row in rows if row["pool"] == self._site.ground.pool and row["state"] == "ready"]
        routed = [row for row in ready if row["routed"]]
        if not routed or look is None or look.desired is None:
            raise Trouble(f"no replica of {self._site.ground.pool} serves; `stoker status` says why")
        if not any(one.ending is Ending.OK for one in self._load.ended()):
            raise Trouble(f"the gateway answers nothing: {self._first_trouble()}; `stoker status` says why")
        victim: Row = max(routed, key=lambda row: row["in_flight"] or 0)
        return victim["replica"], Before(tuple(sorted(look.serving())), look.desired)

    def _first_trouble(self) -> str:
        return next((one.why for one in self._load.ended() if one.why), "no answer")

    def _inflict(self, victim: str) -> Moment:
        """The moment before it was done; where a fault takes its time, the moment at which it had come."""
        before = Moment(datetime.now(UTC), time.monotonic())
        try:
            self._injury.inflict(victim)
        except FaultRefused as error:
            raise Trouble(f"the fault could not be done: {error}") from error
        now_s = time.monotonic()
        return Moment(datetime.now(UTC), now_s, now_s - before.at_s) if self._injury.takes_time else before

    def _wait(self, victims: tuple[str, ...], before: Before, began_s: float, patience_s: float) -> None:
        """Until a little after all is whole, at most for so long. A temporary fault is undone at its end."""
        whole_s: float | None = None
        while (now_s := time.monotonic()) - began_s < patience_s:
            ended = self._injury.ended()
            if ended and self._injury.temporary and self._over_s is None:
                with postponed():
                    self._injury.put_back()
                self._over_s = now_s - began_s
            hit = frozenset((*victims, *self._injury.more_victims()))
            if not ended or not _whole(self._watch.latest(), hit, before.desired):
                whole_s = None
            elif whole_s is None:
                whole_s = now_s
            if whole_s is not None and now_s - whole_s >= self._site.after_s:
                return
            threading.Event().wait(_PAUSE_S)


def _whole(look: Look | None, hit: frozenset[str], desired: int) -> bool:
    """Whether as many serve as before, or as are desired by now, and none of those that were hit still does."""
    if look is None or look.serving() & hit:
        return False
    needed = desired if look.desired is None else min(desired, look.desired)
    return len(look.serving() - hit) >= needed


def _calm(watch: Watch, load: Load, begun_s: float, site: Site) -> bool:
    """Whether there was load for long enough, and the pool is known."""
    look = watch.latest()
    known = look is not None and look.desired is not None
    return known and time.monotonic() - begun_s >= site.calm_s and len(load.ended()) >= site.clients


def _until(condition: Callable[[], bool], timeout_s: float) -> None:
    until_s = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < until_s:
        threading.Event().wait(_PAUSE_S)


def _gateway(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.gateway.host, settings.gateway.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.ports.gateway}"
