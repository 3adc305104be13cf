"""The simulations of a controller: one at a time in a process of its own, a short queue, results for an hour."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from controller.api.simulation_schemas import (
    HistoryTraceIn,
    OptionsOut,
    ResultOut,
    SimulationIn,
    SimulationOut,
    SimulationResultOut,
    State,
    SyntheticTraceIn,
    TrafficOut,
    UploadOut,
)
from controller.api.simulations import SimulationRefused, TooManySimulations
from controller.core.overrides import bounded
from controller.settings import Settings
from controller.simulate.engine import EngineModel
from controller.simulate.profile import Profile
from controller.simulate.synthetic import Synthetic
from controller.stack.simulations import ask
from controller.stack.simulations.job import File, Said
from controller.stack.simulations.knobs import KNOBS
from controller.stack.simulations.process import Process
from controller.stack.simulations.uploads import Uploads

_KEPT_FOR = timedelta(hours=1)
_ENDED: tuple[State, ...] = ("done", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of what is played and kept."""

    deadline_s: float = 180.0
    waiting: int = 4
    ended: int = 20


@dataclass(frozen=True, slots=True)
class World:
    """What a desk must know of everything else. `bounds` are those in force where people have changed them,
    `cold_start_s` is what was learned of a pool, and `traffic` is what it had in the last hours."""

    settings: Settings
    folder: Path
    now: Callable[[], datetime]
    bounds: Callable[[str], tuple[int, int] | None] = lambda pool: None
    cold_start_s: Callable[[str], float | None] = lambda pool: None
    price: Callable[[str], float | None] = lambda pool: None
    currency: str = ""
    traffic: Callable[[str, float], ask.Traffic] | None = None


@dataclass(slots=True)
class _Entry:
    """One simulation. Only what holds the desk's lock changes it."""

    identity: str
    made_at: datetime
    wanted: SimulationIn
    asked: ask.Asked
    state: State = "waiting"
    progress: float = 0.0
    playing: str = ""
    problem: str | None = None
    result: str | None = None  # JSON of a `ResultOut`: a tenth of what its objects would take
    process: Process | None = field(default=None, repr=False)


class SimulationDesk:
    """See `Simulations`. Any thread may call."""

    def __init__(self, world: World, limits: Limits | None = None, command: list[str] | None = None) -> None:
        self._world, self._limits, self._command = world, limits or Limits(), command
        self._uploads = Uploads(world.folder, world.now)
        self._entries: dict[str, _Entry] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def options(self, pool: str) -> OptionsOut:
        """See `Simulations.options`."""
        known, world = self._pool(pool), self._world
        policy, learned = known.policy, known.cold_start_s
        busy = policy.ceiling / 3  # so that the ceiling is enough for three times as much
        rps = EngineModel().capacity_rps(ask.USUAL_PROMPT, ask.USUAL_OUTPUT) * policy.utilization.target * busy
        return OptionsOut(
            pool=pool,
            pools=[each.name for each in world.settings.pools],
            knobs=[knob.out(policy) for knob in KNOBS],
            cold_start_s=ask.COLD_START_S if learned is None else learned,
            cold_start_learned=learned is not None,
            price_per_hour=known.price_per_hour,
            currency=world.currency,
            suggested_rps=float(f"{rps:.2g}"),
            history=world.traffic is not None,
        )

    def traffic(self, pool: str, hours: float) -> TrafficOut:
        """See `Simulations.traffic`."""
        self._pool(pool)
        had = self._traffic(pool, hours)
        return TrafficOut(step_s=had.step_s, rates=list(had.rates), prompt=had.prompt, output=had.output)

    def start(self, wanted: SimulationIn) -> SimulationOut:
        """See `Simulations.start`."""
        pool = self._pool(wanted.pool)
        self._room()  # before anything is asked of Prometheus
        made = ask.asked(wanted, pool, self._trace(wanted), self._world.settings)
        entry = _Entry(secrets.token_hex(8), self._world.now(), wanted, made)
        with self._changed:
            self._room()
            self._entries[entry.identity] = entry
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="simulations", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return self._told(entry)

    def find(self, identity: str) -> SimulationResultOut:
        """See `Simulations.find`."""
        with self._changed:
            entry = self._entry(identity)
            told, result = self._told(entry), entry.result
        found = None if result is None else ResultOut.model_validate_json(result)
        return SimulationResultOut(**dict(told), result=found)

    def recent(self) -> Sequence[SimulationOut]:
        """See `Simulations.recent`."""
        with self._changed:
            self._forget()
            return [self._told(entry) for entry in reversed(self._entries.values())]

    def cancel(self, identity: str) -> SimulationOut:
        """See `Simulations.cancel`."""
        with self._changed:
            entry = self._entry(identity)
            if entry.state not in _ENDED:
                entry.state, entry.problem = "cancelled", "somebody ended it"
                process = entry.process
            else:
                process = None
            told = self._told(entry)
        if process is not None:
            process.end()
        return told

    def upload(self, name: str, content: bytes) -> UploadOut:
        """See `Simulations.upload`."""
        return self._uploads.take(name, content)

    def close(self) -> None:
        """End what runs; nothing is kept any more. Blocks for a moment."""
        with self._changed:
            self._closed = True
            running = [entry.process for entry in self._entries.values() if entry.process is not None]
            self._changed.notify_all()
        for process in running:
            process.end()
        if self._thread is not None:
            self._thread.join(5)
        self._uploads.close()

    def _pool(self, name: str) -> ask.PoolNow:
        pools = {pool.name: pool for pool in self._world.settings.pools}
        if name not in pools:
            raise KeyError(f"there is no pool {name!r}; there is {', '.join(sorted(pools))}")
        pool, bounds = pools[name], self._world.bounds(name)
        policy = ask.live_policy(pool, self._world.settings.controller.scrape_interval)
        if bounds is not None:
            policy = bounded(policy, *bounds)
        return ask.PoolNow(pool, policy, bounds is not None, self._world.cold_start_s(name), self._world.price(name))

    def _trace(self, wanted: SimulationIn) -> Synthetic | Profile | File:
        trace = wanted.trace
        if isinstance(trace, SyntheticTraceIn):
            return ask.synthetic(trace)
        if isinstance(trace, HistoryTraceIn):
            return ask.profile(trace, wanted.pool, self._traffic(wanted.pool, trace.hours))
        return self._uploads.find(trace.id)

    def _traffic(self, pool: str, hours: float) -> ask.Traffic:
        if self._world.traffic is None:
            raise SimulationRefused("the pool's own traffic cannot be had here; choose another trace")
        return self._world.traffic(pool, hours)

    def _room(self) -> None:
        waiting = sum(1 for entry in list(self._entries.values()) if entry.state == "waiting")
        if waiting >= self._limits.waiting:
            raise TooManySimulations(f"{waiting} simulations wait already; try again in a minute")

    def _entry(self, identity: str) -> _Entry:
        self._forget()
        if identity not in self._entries:
            raise KeyError("there is no such simulation, or no longer; one is kept for an hour, so play it again")
        return self._entries[identity]

    def _forget(self) -> None:
        ended = [entry for entry in self._entries.values() if entry.state in _ENDED]
        limit = self._world.now() - _KEPT_FOR
        for number, entry in enumerate(reversed(ended)):
            if number >= self._limits.ended or entry.made_at < limit:
                del self._entries[entry.identity]

    def _told(self, entry: _Entry) -> SimulationOut:
        before = list(self._entries).index(entry.identity)
        ahead = [known for known in list(self._entries.values())[:before] if known.state not in _ENDED]
        return SimulationOut(
            id=entry.identity,
            state=entry.state,
            made_at=entry.made_at,
            asked=entry.wanted,
            ahead=len(ahead),
            progress=entry.progress,
            playing=entry.playing,
            problem=entry.problem,
            notes=list(entry.asked.notes),
            settings=entry.asked.settings,
            yaml=entry.asked.yaml,
        )

    def _work(self) -> None:
        while True:
            with self._changed:
                while (entry := self._next()) is None and not self._closed:
                    self._changed.wait()
                if entry is None or self._closed:
                    return
                entry.state = "running"
                entry.process = Process(entry.asked.job, self._limits.deadline_s, self._command)
            self._play(entry, entry.process)

    def _next(self) -> _Entry | None:
        return next((entry for entry in self._entries.values() if entry.state == "waiting"), None)

    def _play(self, entry: _Entry, process: Process) -> None:
        def heard(said: Said) -> None:
            with self._changed:
                entry.progress, entry.playing = said.progress, said.playing or entry.playing

        result, problem = None, None
        try:
            result = process.run(heard)
        except SimulationRefused as error:
            problem = str(error)
        with self._changed:
            entry.process = None
            if entry.state == "running":
                entry.state, entry.problem, entry.result = "failed" if problem else "done", problem, result
                entry.progress = entry.progress if problem else 1.0
