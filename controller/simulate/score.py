"""How well a run served, and what it cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from controller.simulate.engine import Job
from controller.simulate.fleet import Fleet, Outcome
from controller.simulate.histogram import Histogram
from controller.simulate.metrics import SCRAPE_S
from controller.simulate.series import Point, Series
from controller.simulate.setup import Setup

FLIP_S = 600.0  # a change of direction within this time is a flip
_GROWTH = 1.02


@dataclass(frozen=True, slots=True)
class Result:
    """One run of one autoscaler. Shares are 0..1 of all requests; a request that failed or was cut misses everything.

    Replica-hours count from a replica's order to its exit, up to the last arrival. The times to the first token are of
    the requests that were answered in full.
    """

    scaler: str
    trace: str
    duration_s: float
    requests: int
    done: int
    failed: int  # 503: no replica was ready
    cut: int  # the replica died after the first token
    slo_share: float
    slo_first_token_share: float
    slo_duration_share: float
    replica_hours: float
    cost: float
    scale_ups: int  # changes of the desired count
    scale_downs: int
    flips: int
    worst_queue: int  # requests without a slot, seen once a second
    peak_replicas: int
    deaths: int
    first_token_p50_s: float | None
    first_token_p95_s: float | None
    first_token_p99_s: float | None
    series: tuple[Point, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Score:
    """Folds a run as it goes; keeps no request."""

    def __init__(self, setup: Setup, horizon_s: float, desired: int) -> None:
        self._setup, self._horizon_s = setup, horizon_s
        self._ended = dict.fromkeys(Outcome, 0)
        self._within = self._within_first = self._within_duration = 0
        self._first_tokens = Histogram(_GROWTH)
        self._series = Series(SCRAPE_S)
        self._worst_queue = 0
        self._arrivals = 0
        self._desired = desired
        self._ups = self._downs = self._flips = 0
        self._last_change: tuple[float, bool] | None = None  # when, and whether up

    def on_end(self, job: Job, now: float, outcome: Outcome) -> None:
        """A request ended."""
        self._ended[outcome] += 1
        if outcome is not Outcome.DONE or job.first_token_s is None:
            return
        waited = job.first_token_s - job.arrived_s
        first = waited <= self._setup.slo_first_token_s
        whole = now - job.arrived_s <= self._setup.slo_duration_s
        self._within += first and whole
        self._within_first += first
        self._within_duration += whole
        self._first_tokens.add(waited)
        self._series.first_token(waited)

    def on_desired(self, now: float, desired: int) -> None:
        """The autoscaler has decided; the same count again is no event."""
        if desired == self._desired or now > self._horizon_s:
            return
        up = desired > self._desired
        self._desired = desired
        self._ups += up
        self._downs += not up
        if self._last_change is not None:
            then, was_up = self._last_change
            self._flips += was_up is not up and now - then <= FLIP_S
        self._last_change = (now, up)

    def sample(self, now: float, fleet: Fleet) -> None:
        """Once a second."""
        waiting = fleet.waiting()
        self._worst_queue = max(self._worst_queue, waiting)
        if now <= self._horizon_s:
            counts = (fleet.serving(), self._desired, waiting)
            self._series.sample(now, fleet.arrivals - self._arrivals, fleet.in_flight, counts)
            self._arrivals = fleet.arrivals

    def result(self, scaler: str, trace: str, fleet: Fleet) -> Result:
        """The end of it."""
        requests = sum(self._ended.values())
        hours = fleet.replica_s() / 3600
        return Result(
            scaler=scaler,
            trace=trace,
            duration_s=self._horizon_s,
            requests=requests,
            done=self._ended[Outcome.DONE],
            failed=self._ended[Outcome.FAILED],
            cut=self._ended[Outcome.CUT],
            slo_share=_share(self._within, requests),
            slo_first_token_share=_share(self._within_first, requests),
            slo_duration_share=_share(self._within_duration, requests),
            replica_hours=hours,
            cost=hours * self._setup.price_per_hour,
            scale_ups=self._ups,
            scale_downs=self._downs,
            flips=self._flips,
            worst_queue=self._worst_queue,
            peak_replicas=fleet.peak,
            deaths=fleet.deaths,
            first_token_p50_s=self._first_tokens.quantile(0.50),
            first_token_p95_s=self._first_tokens.quantile(0.95),
            first_token_p99_s=self._first_tokens.quantile(0.99),
            series=self._series.points(),
        )


def _share(count: int, of: int) -> float:
    return count / of if of else 1.0
