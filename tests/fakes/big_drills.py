"""Drills of the big fleet: a replica of it dies for real, and what came of it is measured as `stoker drill` does."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from controller.api.deps import Seen, Sources
from controller.api.drill_ends import end
from controller.api.drills import Possible, Wish
from controller.core.drilled import Drilled, DrillState, began_event, ended_event, lost, over, said
from controller.core.model import SERVING, PoolName, ReplicaId
from controller.core.policy import PoolPolicy
from controller.stack.drill.facts import Before, Ending, Fault, Happened, Look, Recording, Request
from controller.stack.drill.facts import Seen as One
from controller.stack.drill.measure import measure
from controller.stack.drill.promise import Pace, judge, patience_s, promises
from controller.stack.drill.result import Drill
from tests.fakes.overrides import FakeDrills
from tests.fakes.store import FakeStore

_CALM_S, _LOOK_S, _MOST_S = 4.0, 0.5, 90.0
_HERE = (Fault.KILL, Fault.FREEZE, Fault.SLOW)
_WHAT = {Fault.KILL: "Its first process gets SIGKILL.", Fault.OOM: "The kernel kills its engine for memory."}


class Killable(Protocol):
    """What a drill does to the fleet, and what it sees of it."""

    def kill(self, pool: PoolName, replica: ReplicaId | None = None) -> None: ...

    def seen(self) -> Seen | None: ...


class FleetDesk:
    """See `DrillDesk`. It needs to be told of the sources before the first drill."""

    def __init__(self, fleet: Killable, store: FakeStore, now: Callable[[], datetime]) -> None:
        self._fleet, self._store, self._now = fleet, store, now
        self._runs: str | None = None
        self._stop = threading.Event()
        self.sources: Sources | None = None

    def possible(self, pool: str, clients: int) -> Sequence[Possible]:
        return [_possible(fault, clients) for fault in Fault]

    def start(self, name: str, wish: Wish, begins: Callable[[], None]) -> None:
        begins()
        self._stop.clear()
        self._runs = name
        threading.Thread(target=self._run, args=(name, wish), daemon=True).start()

    def running(self) -> str | None:
        return self._runs

    def stop(self, name: str) -> bool:
        self._stop.set()
        return self._runs == name

    def follow(self, gone: Callable[[str, str], None]) -> None: ...

    def close(self) -> None:
        self._stop.set()

    def _run(self, name: str, wish: Wish) -> None:
        assert self.sources is not None
        told = self.sources
        self._say(name, "it begins")
        self._say(name, "load")
        self._stop.wait(_CALM_S)
        victim = self._busiest(PoolName(wish.pool))
        if self._stop.is_set() or victim is None:
            drill = told.drills.drill(name)
            assert drill is not None
            end(drill[0], lost(drill[0], self._now(), "it was interrupted"), told)
        else:
            self._hurt(name, wish, victim)
        self._runs = None

    def _hurt(self, name: str, wish: Wish, victim: ReplicaId) -> None:
        assert self.sources is not None
        pool, at = PoolName(wish.pool), self._now()
        looks = [self._look(pool, at)]
        before = Before(tuple(sorted(looks[0].serving())), looks[0].desired or 0)
        self._fleet.kill(pool, victim)
        self._say(name, f"{wish.fault} of {victim}")
        began_s = time.monotonic()
        while time.monotonic() - began_s < _MOST_S and not self._stop.wait(_LOOK_S):
            looks.append(self._look(pool, at))
            if looks[-1].at_s > 5 and len(looks[-1].serving() - {victim}) >= before.desired:
                break
        recording = Recording(
            Fault(wish.fault), wish.pool, at, (victim,), before, -_CALM_S, looks[-1].at_s + 2, tuple(looks),
            self._events(at), _requests(looks[-1].at_s, wish.clients), 1,
        )  # fmt: skip
        drill = self.sources.drills.drill(name)
        assert drill is not None
        ended, result = judged(drill[0], recording, self._now())
        end(drill[0], ended, self.sources, result)

    def _say(self, name: str, text: str) -> None:
        assert self.sources is not None
        self.sources.drills.change_drill(name, lambda known: said(known, text, self._now()))  # type: ignore[arg-type]

    def _busiest(self, pool: PoolName) -> ReplicaId | None:
        seen = self._fleet.seen()
        known = seen.plan.memory.replicas.values() if seen else ()
        return next((one.replica for one in known if one.pool == pool and one.state in SERVING), None)

    def _look(self, pool: PoolName, at: datetime) -> Look:
        seen = self._fleet.seen()
        assert seen is not None
        mine = [one for one in seen.plan.memory.replicas.values() if one.pool == pool]
        found = tuple(One(one.replica, one.state.value, one.replica in seen.routed) for one in mine)
        return Look((self._now() - at).total_seconds(), found, seen.plan.memory.pools[pool].desired)

    def _events(self, at: datetime) -> tuple[Happened, ...]:
        found = [event for event in self._store.events(limit=200) if event.at >= at - timedelta(seconds=1)]
        return tuple(
            Happened((one.at - at).total_seconds(), one.event, one.subject, one.reason, one.message)
            for one in reversed(found)
        )


def judged(drill: Drilled, recording: Recording, now: datetime) -> tuple[Drilled, str]:
    """How it ended, and its whole result."""
    measured = measure(recording)
    came = Drill.judged(recording, measured, judge(recording.fault, Pace(cold_start_s=60), measured))
    state = DrillState.PASSED if came.outcome.value == "passed" else DrillState.FAILED
    figures: dict[str, Any] = measured.as_dict()
    ended = replace(
        drill, state=state, ended_at=now, heard_at=now, victims=tuple(recording.victims), figures=figures
    )  # fmt: skip
    return over(drill, ended), json.dumps(came.as_dict())


def remembered(store: FakeStore, pool: PoolPolicy, recordings: Sequence[Recording], now: datetime) -> FakeDrills:
    """A store with drills of that pool that ran earlier."""
    drills = FakeDrills(store)
    for number, recording in enumerate(recordings, 1):
        at = now - timedelta(hours=3 * number)
        begun = Drilled(f"earlier-{number}", recording.fault.value, pool.pool, "grace", at, at, "before the launch")
        done, result = judged(begun, replace(recording, at=at + timedelta(seconds=5), pool=str(pool.pool)), at)
        ended = replace(done, ended_at=at + timedelta(seconds=20))
        drills.rows[begun.id] = ended, result
        store.append([began_event(begun), ended_event(ended, now)])
    return drills


def _possible(fault: Fault, clients: int) -> Possible:
    pace = Pace(cold_start_s=60)
    limits = {one.name: (one.limit, one.why) for one in promises(fault, pace)}
    why_not = "" if fault in _HERE else "the fake fleet has nothing that could be hurt so"
    not_now = "" if fault is not Fault.SLOW and clients < 64 else "users would wait, since the others are as busy"
    what = _WHAT.get(fault, f"{fault.value} of a replica.")
    return Possible(fault.value, what, 1, why_not, "" if why_not else not_now, limits, patience_s(fault, pace))


def _requests(until_s: float, clients: int) -> tuple[Request, ...]:
    rng, found = random.Random(3), []
    for client in range(clients):
        at_s = -_CALM_S + client / clients
        while at_s < until_s:
            took_s = rng.uniform(0.4, 1.4)
            ending = Ending.CUT if client == 0 and at_s < 0 < at_s + took_s else Ending.OK
            found.append(Request(at_s, at_s + took_s / 3, at_s + took_s, ending, client % 2 == 0))
            at_s += took_s
    return tuple(found)
