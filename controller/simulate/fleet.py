"""Replicas that start, serve, drain and die, and nginx before them, in virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from enum import IntEnum, StrEnum
from random import Random

from controller.simulate.engine import NEVER, Engine, Job
from controller.simulate.setup import Setup
from controller.simulate.traces import Request


class State(StrEnum):
    """Where a replica stands."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"  # it finishes what it has, and then exits
    EXITED = "exited"


class Outcome(StrEnum):
    """How a request ended."""

    DONE = "done"
    FAILED = "failed"  # 503: no replica was ready
    CUT = "cut"  # its replica died after the first token


class _What(IntEnum):
    ENGINE = 0
    READY = 1
    DEATH = 2


OnEnd = Callable[[Job, float, Outcome], None]


class Replica:
    """One replica. `routed`: nginx may send it requests."""

    __slots__ = ("created_s", "died", "engine", "name", "ready_s", "routed", "state", "version")

    def __init__(self, name: str, now: float, engine: Engine) -> None:
        self.name, self.created_s, self.engine = name, now, engine
        self.state, self.routed, self.died = State.STARTING, False, False
        self.ready_s: float | None = None
        self.version = 0  # of its engine's next event; older ones are void


class Fleet:
    """All replicas of one pool.

    As it begins nginx follows by itself: a replica is routed from the moment when it is ready, and forgotten once it
    has exited. With `follows` False the autoscaler says what is routed and what is removed.
    """

    def __init__(self, setup: Setup, on_end: OnEnd, horizon_s: float = NEVER) -> None:
        self.now_s = 0.0
        self.follows = True
        self.replicas: dict[str, Replica] = {}
        self.arrivals = 0
        self.in_flight = 0
        self.deaths = 0
        self.peak = 0  # most replicas that were paid for at once
        self.last_arrival_s: float | None = None
        self._setup, self._on_end, self._horizon_s = setup, on_end, horizon_s
        self._serving: list[Replica] = []
        self._turn = 0
        self._events: list[tuple[float, int, _What, Replica, int]] = []
        self._order = 0
        self._ordinal = 0
        self._paid, self._paid_since, self._paid_s = 0, 0.0, 0.0

    def live(self) -> list[Replica]:
        """Those that start or serve, the oldest first."""
        return [known for known in self.replicas.values() if known.state in (State.STARTING, State.READY)]

    def serving(self) -> int:
        """How many get requests."""
        return len(self._serving)

    def waiting(self) -> int:
        """Requests without a slot, over all replicas."""
        return sum(known.engine.waiting for known in self.replicas.values())

    def replica_s(self) -> float:
        """Seconds of replicas so far, from the order to the exit, at most up to the horizon."""
        until = min(self.now_s, self._horizon_s)
        return self._paid_s + self._paid * max(until - self._paid_since, 0.0)

    def start(self, name: str | None = None, *, warm: bool = False) -> Replica:
        """Order a replica; a warm one is ready at once."""
        self._ordinal += 1
        replica = Replica(name or f"replica-{self._ordinal}", self.now_s, Engine(self._setup.engine, self.now_s))
        self.replicas[replica.name] = replica
        self._pay(1)
        # By its number, so that the n-th replica has the same fate under every autoscaler.
        fate = Random(f"{self._setup.seed}/{self._ordinal}")
        cold_s = self._setup.cold_start_s * (1 + self._setup.cold_start_jitter * fate.uniform(-1, 1))
        ready_s = self.now_s if warm else self.now_s + cold_s
        if self._setup.mtbf_s is not None:
            self._schedule(ready_s + fate.expovariate(1 / self._setup.mtbf_s), _What.DEATH, replica)
        if warm:
            self._become_ready(replica)
        else:
            self._schedule(ready_s, _What.READY, replica)
        return replica

    def drain(self, name: str) -> None:
        """No new requests; it exits once it has none. Idempotent, as is everything here that ends a replica."""
        replica = self.replicas.get(name)
        if replica is None or replica.state in (State.DRAINING, State.EXITED):
            return
        replica.state = State.DRAINING
        self._route(replica, False)
        self._exit_if_empty(replica)

    def remove(self, name: str) -> None:
        """Kill it if it runs, and forget it."""
        replica = self.replicas.get(name)
        if replica is None:
            return
        self._kill(replica)
        self.replicas.pop(name, None)

    def route(self, names: Iterable[str]) -> bool:
        """Make these all that get requests; whether anything changed."""
        wanted, changed = set(names), False
        for replica in self.replicas.values():
            if replica.routed is not (replica.name in wanted):
                self._route(replica, replica.name in wanted)
                changed = True
        return changed

    def arrive(self, request: Request) -> None:
        """A request reaches the gateway."""
        self.arrivals += 1
        self.in_flight += 1
        self.last_arrival_s = self.now_s
        self._dispatch(Job(self.now_s, request.prompt_tokens, request.output_tokens))

    def next_at(self) -> float:
        """When `step` has something to do."""
        events = self._events
        while events and self._is_void(events[0]):
            heapq.heappop(events)
        return events[0][0] if events else NEVER

    def step(self, now: float) -> None:
        """Do the first thing that is due by `now`."""
        self.now_s = now
        _, _, what, replica, _ = heapq.heappop(self._events)
        if what is _What.ENGINE:
            for job in replica.engine.step(now):
                self._end(job, Outcome.DONE)
            self._expect(replica)
            self._exit_if_empty(replica)
        elif what is _What.READY:
            self._become_ready(replica)
        else:
            self._die(replica)

    def _is_void(self, event: tuple[float, int, _What, Replica, int]) -> bool:
        _, _, what, replica, version = event
        if replica.state is State.EXITED:
            return True
        if what is _What.ENGINE:
            return version != replica.version
        return what is _What.READY and replica.state is not State.STARTING

    def _become_ready(self, replica: Replica) -> None:
        replica.state, replica.ready_s = State.READY, self.now_s
        if self.follows:
            self._route(replica, True)

    def _route(self, replica: Replica, routed: bool) -> None:
        replica.routed = routed
        self._serving = [known for known in self.replicas.values() if known.routed and known.state is not State.EXITED]

    def _dispatch(self, job: Job) -> None:
        """Least connections, and in turn where several have equally few, as nginx does."""
        serving = self._serving
        if not serving:
            self._end(job, Outcome.FAILED)
            return
        count, best = len(serving), serving[self._turn % len(serving)]
        for offset in range(1, count):
            other = serving[(self._turn + offset) % count]
            if other.engine.in_flight < best.engine.in_flight:
                best = other
        self._turn += 1
        best.engine.submit(job, self.now_s)
        self._expect(best)

    def _end(self, job: Job, outcome: Outcome) -> None:
        self.in_flight -= 1
        self._on_end(job, self.now_s, outcome)

    def _expect(self, replica: Replica) -> None:
        replica.version += 1
        self._schedule(replica.engine.next_at(), _What.ENGINE, replica)

    def _schedule(self, at: float, what: _What, replica: Replica) -> None:
        if at < NEVER:
            self._order += 1
            heapq.heappush(self._events, (max(at, self.now_s), self._order, what, replica, replica.version))

    def _exit_if_empty(self, replica: Replica) -> None:
        if replica.state is State.DRAINING and replica.engine.in_flight == 0:
            self._exit(replica)

    def _exit(self, replica: Replica) -> None:
        replica.state = State.EXITED
        self._pay(-1)
        self._route(replica, False)
        if self.follows:
            self.replicas.pop(replica.name, None)

    def _die(self, replica: Replica) -> None:
        self.deaths += 1
        replica.died = True
        self._kill(replica)

    def _kill(self, replica: Replica) -> None:
        """What had no first token is tried on another replica; the answers under way are cut off."""
        if replica.state is State.EXITED:
            return
        held = replica.engine.abort(self.now_s)
        self._exit(replica)
        for job in held:
            if job.first_token_s is None:
                self._dispatch(job)
            else:
                self._end(job, Outcome.CUT)

    def _pay(self, change: int) -> None:
        until = min(self.now_s, self._horizon_s)
        self._paid_s += self._paid * max(until - self._paid_since, 0.0)
        self._paid_since = until
        self._paid += change
        self.peak = max(self.peak, self._paid)
