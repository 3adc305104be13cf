"""What an autoscaler can know: scrapes once a second, and windows over them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.simulate.engine import Job
from controller.simulate.fleet import Fleet, Outcome, Replica, State
from controller.simulate.setup import Setup

SCRAPE_S = 1.0
SCRAPE_OFFSET_S = 0.3  # ticks fall on whole seconds, so that what they see is 0.7 s old
WINDOWS_S = (6, 30, 60)  # of arrivals, ends and mean counts
_KEPT = 128  # scrapes: more than the longest window
_BOUNDS = tuple(0.01 * 1.2**power for power in range(64))  # of the latency histogram, up to about 970 s


@dataclass(frozen=True, slots=True)
class Latency:
    """The requests that ended within a window, by a histogram, as the gateway's exporter shows them."""

    counts: tuple[int, ...]
    count: int
    total_s: float

    def quantile(self, share: float) -> float:
        """Interpolated within its bucket, as PromQL does; 0 where nothing ended."""
        rank, seen = share * self.count, 0
        for place, count in enumerate(self.counts):
            if count and seen + count >= rank:
                low = _BOUNDS[place - 1] if place else 0.0
                high = _BOUNDS[min(place, len(_BOUNDS) - 1)]
                return low + (high - low) * (rank - seen) / count
            seen += count
        return 0.0

    def mean(self) -> float:
        """0 where nothing ended."""
        return self.total_s / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """One replica as it was scraped. `busy_s` and `tokens` count up for as long as it lives."""

    in_flight: int
    waiting: int
    kv_share: float
    busy_s: float
    tokens: float
    ready_s: float


@dataclass(frozen=True, slots=True)
class Numbers:
    """All metrics of one moment."""

    measured_at_s: float
    in_flight: int  # over all replicas, as the gateway counts
    of_replica: Mapping[str, Usage]  # those that can serve
    utilization: Mapping[str, float]  # 0..1, over the usage window
    tokens_per_s: Mapping[str, float]
    mean_in_flight: Mapping[int, float]  # of the last 6, 30 and 60 s
    arrivals: Mapping[int, int]
    ended: Mapping[int, int]  # answered or failed, as an access log has them
    first_byte: Latency
    duration: Latency
    error_share: float  # of the requests that ended in the latency window; 0 where none did
    last_request_s: float | None


@dataclass(frozen=True, slots=True)
class View:
    """What an autoscaler is told. `numbers` is None while nothing can be read; counts of replicas are always known."""

    now_s: float
    ready: int
    starting: int
    desired: int
    numbers: Numbers | None


@dataclass(frozen=True, slots=True)
class _Scrape:
    """The counters at one moment."""

    at_s: float
    in_flight: int
    in_flight_sum: int  # over this and all earlier scrapes
    number: int
    of_replica: dict[str, Usage]
    arrivals: int
    completed: int
    ended: int
    errors: int
    first_byte: tuple[int, ...]
    first_byte_s: float
    duration: tuple[int, ...]
    duration_s: float
    last_request_s: float | None


class Metrics:
    """Counts what happens, is scraped, and answers for windows."""

    def __init__(self, fleet: Fleet, setup: Setup, outages: Sequence[tuple[float, float]] = ()) -> None:
        self._fleet, self._setup, self._outages = fleet, setup, outages
        self._times: list[float] = []
        self._scrapes: list[_Scrape] = []
        self._completed = self._ended = self._errors = 0
        self._first_byte = [0] * (len(_BOUNDS) + 1)
        self._duration = [0] * (len(_BOUNDS) + 1)
        self._first_byte_s = self._duration_s = 0.0

    def on_end(self, job: Job, now: float, outcome: Outcome) -> None:
        """A request ended: only then does the gateway write its line."""
        self._ended += 1
        if outcome is Outcome.FAILED:
            self._errors += 1
            return
        self._completed += 1
        waited, took = (job.first_token_s or now) - job.arrived_s, now - job.arrived_s
        self._first_byte[bisect_left(_BOUNDS, waited)] += 1
        self._duration[bisect_left(_BOUNDS, took)] += 1
        self._first_byte_s += waited
        self._duration_s += took

    def scrape(self, now: float) -> None:
        """Note the counters down, unless metrics are out."""
        if self._is_out(now):
            return
        fleet, last = self._fleet, self._scrapes[-1] if self._scrapes else None
        self._times.append(now)
        self._scrapes.append(
            _Scrape(
                now,
                fleet.in_flight,
                fleet.in_flight + (last.in_flight_sum if last else 0),
                1 + (last.number if last else 0),
                {known.name: _usage(known, now) for known in fleet.replicas.values() if known.state is State.READY},
                fleet.arrivals,
                self._completed,
                self._ended,
                self._errors,
                tuple(self._first_byte),
                self._first_byte_s,
                tuple(self._duration),
                self._duration_s,
                fleet.last_arrival_s,
            )
        )
        if len(self._times) > 2 * _KEPT:
            del self._times[:-_KEPT], self._scrapes[:-_KEPT]

    def view(self, now: float, desired: int) -> View:
        """What can be known now."""
        live = self._fleet.live()
        ready = sum(1 for known in live if known.state is State.READY)
        return View(now, ready, len(live) - ready, desired, self._numbers(now))

    def _is_out(self, now: float) -> bool:
        return any(start <= now < end for start, end in self._outages)

    def _numbers(self, now: float) -> Numbers | None:
        if self._is_out(now) or not self._scrapes:
            return None
        newest, before = self._scrapes[-1], self._ago(self._setup.usage_window_s)
        ago = {seconds: self._ago(seconds) for seconds in WINDOWS_S}
        window = self._ago(self._setup.latency_window_s)
        first_byte, duration = self._latency(window)
        ended = newest.ended - window.ended
        return Numbers(
            newest.at_s,
            newest.in_flight,
            newest.of_replica,
            {name: _rate(name, newest, before, "busy_s") for name in newest.of_replica},
            {name: _rate(name, newest, before, "tokens") for name in newest.of_replica},
            {seconds: _mean(newest, then) for seconds, then in ago.items()},
            {seconds: newest.arrivals - then.arrivals for seconds, then in ago.items()},
            {seconds: newest.ended - then.ended for seconds, then in ago.items()},
            first_byte,
            duration,
            (newest.errors - window.errors) / ended if ended else 0.0,
            newest.last_request_s,
        )

    def _ago(self, seconds: float) -> _Scrape:
        """The scrape from so long before the newest one, or the first after it."""
        return self._scrapes[bisect_right(self._times, self._times[-1] - seconds - 1e-6)]

    def _latency(self, then: _Scrape) -> tuple[Latency, Latency]:
        newest = self._scrapes[-1]
        count = newest.completed - then.completed
        first = tuple(map(int.__sub__, newest.first_byte, then.first_byte))
        whole = tuple(map(int.__sub__, newest.duration, then.duration))
        return (
            Latency(first, count, newest.first_byte_s - then.first_byte_s),
            Latency(whole, count, newest.duration_s - then.duration_s),
        )


def _usage(replica: Replica, now: float) -> Usage:
    engine, ready_s = replica.engine, replica.ready_s or 0.0
    return Usage(engine.in_flight, engine.waiting, engine.kv_share, engine.busy_s(now), engine.tokens(now), ready_s)


def _rate(name: str, newest: _Scrape, then: _Scrape, what: str) -> float:
    """Per second; of a replica that is younger than the window, since it was ready."""
    usage, before = newest.of_replica[name], then.of_replica.get(name)
    since_s, had = (then.at_s, getattr(before, what)) if before is not None else (usage.ready_s, 0.0)
    passed = newest.at_s - max(since_s, 0.0)
    gained: float = getattr(usage, what) - had
    return gained / passed if passed > 0 else 0.0


def _mean(newest: _Scrape, then: _Scrape) -> float:
    count = newest.number - then.number
    return (newest.in_flight_sum - then.in_flight_sum) / count if count else float(newest.in_flight)
