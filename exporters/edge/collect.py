"""Access-log lines -> counts and histograms per pool and replica; those per key and plan are in `usage`.

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from exporters.edge.lines import NAME, Failed, Line, MalformedLine, parse
from exporters.edge.sums import NEW_S, Counts, Histogram
from exporters.edge.usage import Usage

MAX_SERIES = 2000  # pairs of pool and replica; whoever can reach the socket cannot fill the memory
MAX_POOLS = 200  # they are never forgotten, as their replicas are
_FOR_A_REPLICA = ("", "no_replica", "full")  # causes of those that a replica would have answered

_FAILED = "failed"


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
    cache: Counts = field(default_factory=Counts)  # by layer and result
    told_at: float | None = None

    def tell(self, now: float) -> Pool:
        """As `Series.tell`; the last request is no count, and told at once. `cache` tells for itself."""
        self.told_at = now if self.told_at is None else self.told_at
        return self if now - self.told_at >= NEW_S else Pool(self.last_request)


class EdgeStats:
    """Running sums. Not safe for several threads: the caller holds a lock."""

    def __init__(self) -> None:
        self.lines = 0
        self.malformed = 0
        self.pools: dict[str, Pool] = {}
        self.usage = Usage()
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
        series.seen_at = now
        series.codes[line.code] = series.codes.get(line.code, 0) + 1
        series.retries += line.tries - 1
        access = line.access
        if access.result:
            pool.cache.add((access.layer, access.result))
        plan = self.usage.take(line)
        if access.refused in _FOR_A_REPLICA:
            pool.last_request = wall
        # What was refused is no answer: a flood of refusals would make a plan and its pool look fast.
        sums = (series,) if access.refused else (series, pool, plan)
        for one in sums:
            one.durations.observe(line.duration_s)
        if line.first_byte_s is not None:
            for one in sums:
                one.first_bytes.observe(line.first_byte_s)

    def _take_failed(self, line: Failed, now: float) -> None:
        for series in [self._at(line.pool, replica) for replica in line.replicas]:
            series.failed += 1
            series.seen_at = now

    def _at(self, pool: str, replica: str) -> Series:
        return self._series.get((pool, replica)) or self._add(pool, replica)

    def _add(self, pool: str, replica: str) -> Series:
        """The one place where a label value comes into being."""
        if len(self._series) >= MAX_SERIES or not (NAME.fullmatch(pool) and NAME.fullmatch(replica)):
            raise MalformedLine("an impossible name, or too many names")
        return self._series.setdefault((pool, replica), Series())
