"""Plays one trace under one autoscaler, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from controller.simulate.engine import NEVER, Job
from controller.simulate.fleet import Fleet, Outcome
from controller.simulate.metrics import SCRAPE_OFFSET_S, SCRAPE_S, Metrics
from controller.simulate.scaler import Scaler
from controller.simulate.score import Result, Score
from controller.simulate.setup import Setup
from controller.simulate.traces import Request, Workload

Progress = Callable[[float, float], None]  # simulated seconds done, and in all
_REPORT_EVERY = 60  # scrapes


class _Run:
    """The clock and its four sources of events. At one moment they go in this order: fleet, arrival, scrape, tick."""

    def __init__(self, trace: Workload, scaler: Scaler, setup: Setup, progress: Progress | None) -> None:
        self._trace, self._scaler, self._progress = trace, scaler, progress
        # Even one request alone is watched for a second.
        self._horizon_s = max(trace.duration_s, SCRAPE_S)
        self._fleet = Fleet(setup, self._on_end, self._horizon_s)
        self._metrics = Metrics(self._fleet, setup, trace.outages)
        self._score = Score(setup, self._horizon_s, scaler.desired)
        self._requests: Iterator[Request] = iter(trace)
        self._next: Request | None = next(self._requests, None)
        self._scrapes = self._ticks = 0
        self._deaths = 0

    def play(self) -> Result:
        """All of it: up to the horizon, and on until the last request has ended."""
        fleet = self._fleet
        self._scaler.begin(fleet)
        while True:
            arrival_at = self._next.at_s if self._next is not None else NEVER
            scrape_at = self._scrapes * SCRAPE_S + SCRAPE_OFFSET_S
            tick_at = self._ticks * self._scaler.interval_s
            fleet_at = fleet.next_at()
            now = min(fleet_at, arrival_at, scrape_at, tick_at)
            if self._next is None and fleet.in_flight == 0 and now > self._horizon_s:
                break
            if fleet_at == now:
                fleet.step(now)
                self._mourn()
            elif arrival_at == now:
                self._arrive(now)
            elif scrape_at == now:
                self._scrape(now)
            else:
                self._tick(now)
        fleet.now_s = max(fleet.now_s, self._horizon_s)
        return self._score.result(self._scaler.name, self._trace.name, fleet)

    def _on_end(self, job: Job, now: float, outcome: Outcome) -> None:
        self._metrics.on_end(job, now, outcome)
        self._score.on_end(job, now, outcome)

    def _arrive(self, now: float) -> None:
        self._fleet.now_s = now
        if self._next is not None:
            self._fleet.arrive(self._next)
        self._next = next(self._requests, None)

    def _scrape(self, now: float) -> None:
        self._fleet.now_s = now
        self._metrics.scrape(now)
        self._score.sample(now, self._fleet)
        self._scrapes += 1
        if self._progress is not None and self._scrapes % _REPORT_EVERY == 0:
            self._progress(min(now, self._horizon_s), self._horizon_s)

    def _tick(self, now: float) -> None:
        self._fleet.now_s = now
        self._ticks += 1
        self._scaler.step(self._fleet, lambda: self._metrics.view(now, self._scaler.desired))
        self._score.on_desired(now, self._scaler.desired)

    def _mourn(self) -> None:
        """A death is told at once, as containers' events are."""
        fleet = self._fleet
        if fleet.deaths == self._deaths:
            return
        self._deaths = fleet.deaths
        self._scaler.on_death(fleet, lambda: self._metrics.view(fleet.now_s, self._scaler.desired))
        self._score.on_desired(fleet.now_s, self._scaler.desired)


def run(trace: Workload, scaler: Scaler, setup: Setup, progress: Progress | None = None) -> Result:
    """Play the trace from its start. The same input gives the same result.

    It begins with the floor of replicas ready, and goes on after the last arrival until every request has ended; cost
    and changes count up to the last arrival. `scaler` must be new: it remembers.
    """
    return _Run(trace, scaler, setup, progress).play()
