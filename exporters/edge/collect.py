"""Access-log lines -> counts and histograms per pool and replica. Pure: no socket, no clock.

A line is what `log_format stoker` of the gateway writes, behind a syslog header:

    <190>Nov 23 01:52:30 stoker: {"pool":"smollm2","replica":"smollm2-1","status":"200","duration":0.512,
     "header_times":"-, 0.312","response_times":"0.001, 0.510","tried":"127.0.0.1:4001, 127.0.0.1:4002","bytes":1234}

or what `log_format stoker_failed` writes, of the replicas that were tried in vain before that:

    <190>Nov 23 01:52:30 stoker: {"pool":"smollm2","failed":"smollm2-2,smollm2-3"}

The two lists of times have one element for each time that the request was begun; `tried` has the replicas of the last
time. `replica` is the one that answered, empty where nginx had to answer itself.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

# Seconds. 0.3 and 0.5 are objectives; the last ones are long generations.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
MAX_SERIES = 2000  # pairs of pool and replica; whoever can reach the socket cannot fill the memory
MAX_POOLS = 200  # they are never forgotten, as their replicas are

NEW_S = 1.5  # whoever scrapes once a second sees a new count at 0, and no other scraper can take that from him

_NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,127})?")  # empty: no pool was chosen, no replica was tried
_CODE = re.compile(r"[1-5][0-9]{2}")
_FAILED = "failed"


class MalformedLine(ValueError):
    """A datagram that is no line of ours."""


@dataclass(frozen=True, slots=True)
class Line:
    """One finished request."""

    pool: str
    replica: str
    code: str
    duration_s: float
    first_byte_s: float | None  # None: no byte of a replica's answer came
    tries: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The replicas that one request was sent to in vain. Not a request: its own line follows, or came before."""

    pool: str
    replicas: tuple[str, ...]


@dataclass(slots=True)
class Histogram:
    """Counts per bucket (not yet cumulated), the last one being everything above the highest bound."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def observe(self, value: float) -> None:
        """Add one value, in seconds."""
        self.counts[bisect_left(BOUNDS, value)] += 1
        self.total += value

    def cumulated(self) -> list[tuple[str, float]]:
        """Upper bound as Prometheus writes it, and how many values lie at or below it."""
        buckets, sum_so_far = [], 0
        for bound, count in zip((*BOUNDS, float("inf")), self.counts, strict=True):
            sum_so_far += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), float(sum_so_far)))
        return buckets


@dataclass(slots=True)
class Series:
    """Everything known of one pair of pool and replica."""

    codes: dict[str, int] = field(default_factory=dict)
    durations: Histogram = field(default_factory=Histogram)
    first_bytes: Histogram = field(default_factory=Histogram)
    retries: int = 0
    failed: int = 0  # attempts on it in vain
    seen_at: float = 0.0
    told_at: dict[str, float] = field(default_factory=dict)  # each code, and the attempts in vain, first

    def tell(self, now: float) -> Series:
        """The sums for the page, on which a count is 0 while it is new.

        Of a counter that begins at 1 nobody can tell that it rose: the first request and the first error would be lost.
        """
        for code in (*self.codes, _FAILED):
            self.told_at.setdefault(code, now)
        known = {code for code, at in self.told_at.items() if now - at >= NEW_S}
        failed = self.failed if _FAILED in known else 0
        codes = {code: count if code in known else 0 for code, count in self.codes.items()}
        if known.isdisjoint(codes):
            return Series(codes, failed=failed)
        return Series(codes, self.durations, self.first_bytes, self.retries, failed)


@dataclass(slots=True)
class Pool:
    """What is known of a pool as a whole. 300 replicas have 300 times as many series."""

    last_request: float = 0.0  # seconds since the epoch
    durations: Histogram = field(default_factory=Histogram)
    first_bytes: Histogram = field(default_factory=Histogram)
    told_at: float | None = None

    def tell(self, now: float) -> Pool:
        """As `Series.tell`; the last request is no count, and told at once."""
        self.told_at = now if self.told_at is None else self.told_at
        return self if now - self.told_at >= NEW_S else Pool(self.last_request)


class EdgeStats:
    """Running sums. Not safe for several threads: the caller holds a lock."""

    def __init__(self) -> None:
        self.lines = 0
        self.malformed = 0
        self.pools: dict[str, Pool] = {}
        self._series: dict[tuple[str, str], Series] = {}

    def take(self, datagram: bytes, now: float, wall: float) -> None:
        """Count one datagram; one that is malformed is counted as such.

        `now` is a clock in seconds that is never set, for `forget`; `wall` is the time since the epoch.
        """
        self.lines += 1
        try:
            line = parse(datagram)
            if isinstance(line, Failed):
                self._take_failed(line, now)
            else:
                self._take_request(line, now, wall)
        except MalformedLine:
            self.malformed += 1

    def forget(self, before: float) -> None:
        """Drop the series of replicas that were last seen before that time."""
        self._series = {key: series for key, series in self._series.items() if series.seen_at >= before}

    def series(self) -> Iterator[tuple[str, str, Series]]:
        """Pool, replica and sums, sorted by name."""
        for (pool, replica), series in sorted(self._series.items(), key=lambda item: item[0]):
            yield pool, replica, series

    def _add_pool(self, name: str) -> Pool:
        """Where there are too many, the one that was idle for the longest time goes."""
        if len(self.pools) >= MAX_POOLS:
            del self.pools[min(self.pools, key=lambda pool: self.pools[pool].last_request)]
        return self.pools.setdefault(name, Pool())

    def _take_request(self, line: Line, now: float, wall: float) -> None:
        series = self._at(line.pool, line.replica)
        pool = self.pools.get(line.pool) or self._add_pool(line.pool)
        pool.last_request, series.seen_at = wall, now
        series.codes[line.code] = series.codes.get(line.code, 0) + 1
        series.durations.observe(line.duration_s)
        pool.durations.observe(line.duration_s)
        series.retries += line.tries - 1
        if line.first_byte_s is not None:
            series.first_bytes.observe(line.first_byte_s)
            pool.first_bytes.observe(line.first_byte_s)

    def _take_failed(self, line: Failed, now: float) -> None:
        for series in [self._at(line.pool, replica) for replica in line.replicas]:
            series.failed += 1
            series.seen_at = now

    def _at(self, pool: str, replica: str) -> Series:
        return self._series.get((pool, replica)) or self._add(pool, replica)

    def _add(self, pool: str, replica: str) -> Series:
        """The one place where a label value comes into being."""
        if len(self._series) >= MAX_SERIES or not (_NAME.fullmatch(pool) and _NAME.fullmatch(replica)):
            raise MalformedLine("an impossible name, or too many names")
        return self._series.setdefault((pool, replica), Series())


def parse(datagram: bytes) -> Line | Failed:
    """Read one line.

    Raises:
        MalformedLine: with no detail worth logging; the caller counts it.
    """
    try:
        data = json.loads(datagram[datagram.index(b"{") :])
        if _FAILED in data:
            return _parse_failed(data)
        responses = data["response_times"].replace(" : ", ", ").split(", ")
        headers = data["header_times"].replace(" : ", ", ").split(", ")
        line = Line(
            pool=data["pool"],
            replica=data["replica"],
            code=data["status"],
            duration_s=float(data["duration"]),
            first_byte_s=_first_byte(headers, responses) if data["replica"] else None,
            tries=len(responses) + data["tried"].count(","),
        )
        valid = isinstance(line.pool, str) and isinstance(line.replica, str) and _CODE.fullmatch(line.code)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedLine from error
    times = (line.duration_s, line.first_byte_s or 0.0)
    if not valid or not all(0 <= time < float("inf") for time in times):
        raise MalformedLine("an impossible value")
    return line


def _parse_failed(data: dict[str, str]) -> Failed:
    line = Failed(data["pool"], tuple(data[_FAILED].split(",")))
    if not (isinstance(line.pool, str) and line.pool and all(line.replicas)):
        raise MalformedLine("an attempt on nobody")
    return line


def _first_byte(headers: list[str], responses: list[str]) -> float | None:
    """What the user waited: every earlier try to its end, and the last one to its header."""
    if headers[-1] in ("-", ""):
        return None
    return sum((float(time) for time in responses[:-1] if time != "-"), float(headers[-1]))


def in_flight(answer: bytes) -> dict[str, int]:
    """The gateway's answer to `GET /in_flight`: requests in flight per pool.

    Raises:
        ValueError: it is something else.
    """
    pools = json.loads(answer)["pools"] if answer[:1] == b"{" else None
    if not isinstance(pools, dict):
        raise ValueError("no object of pools")
    return {str(pool): int(count) for pool, count in pools.items() if _NAME.fullmatch(pool)}
