"""Who asked: requests and tokens of each key, refusals and times of each plan. Pure: no socket, no clock.

The controller adds up a key's quota from the raw `sum by (key) (stoker_edge_tokens_total)`. Two rules follow:

- A key is forgotten as a whole, in all pools at once. Were its series to go one by one, the sum would fall and look
  like an exporter that began anew, and what is left of it would be counted twice. It goes when pages have told nothing
  new of it for an hour: while nobody scrapes, nothing is lost.
- A key that comes back begins at 0, as after a restart of the exporter, and like all that is new it is told as 0 for
  `NEW_S`. Without that 0, one who remembers the last value of before and finds a greater one would take the difference
  for all that was used; `rate` would lose the first tokens of every new key. So tokens wait as requests do: the first
  ones of a key count towards its quota a second and a half late, all others at once.

Beyond the limits the label is `other`. What has gone there stays there, and a key gets series of its own as soon as
another one is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from exporters.edge.lines import MAX_PLANS, OTHER, Access, Line
from exporters.edge.sums import NEW_S, Counts, Histogram, Labels

MAX_KEYS = 1000
MAX_PAIRS = 1000  # of pool and plan
MAX_SERIES = 5000  # of pool, plan and key

_CLASSES = {str(code): (f"{code // 100}xx",) for code in range(100, 600)}
_IN, _OUT = ("in",), ("out",)
_NO_NAMES = frozenset(("", OTHER))

Told = list[tuple[Labels, int]]


@dataclass(slots=True)
class Idle:
    """For how long pages told nothing new: from the first one that knew of the newest line to the newest one."""

    since: float | None = None  # None: no page knows of the newest line yet
    until: float = 0.0

    def tell(self, now: float) -> None:
        """A page tells all that is known."""
        self.since = now if self.since is None else self.since
        self.until = now

    def lasts(self, seconds: float) -> bool:
        """Whether it is that long. What was new at first has been told in full by then."""
        return self.since is not None and self.until - self.since >= seconds


@dataclass(slots=True)
class PlanSeries:
    """Everything known of one pair of pool and plan."""

    refusals: Counts = field(default_factory=Counts)
    durations: Histogram = field(default_factory=Histogram)  # of the requests that were not refused
    first_bytes: Histogram = field(default_factory=Histogram)
    idle: Idle = field(default_factory=Idle)
    told_at: float | None = None  # first

    def tell(self, now: float) -> tuple[Told, Histogram, Histogram]:
        """Refusals, durations and times to first byte for the page, each 0 while it is new."""
        self.idle.tell(now)
        self.told_at = now if self.told_at is None else self.told_at
        new = now - self.told_at < NEW_S
        times = (Histogram(), Histogram()) if new else (self.durations, self.first_bytes)
        return list(self.refusals.tell(now)), *times


@dataclass(slots=True)
class KeySeries:
    """Everything known of one key in one pair of pool and plan."""

    idle: Idle  # of the key, wherever it asks
    plan: PlanSeries
    requests: Counts = field(default_factory=Counts)
    tokens: Counts = field(default_factory=Counts)

    def tell(self, now: float) -> tuple[Told, Told]:
        """Requests and tokens for the page, each 0 while it is new."""
        self.idle.tell(now)
        return list(self.requests.tell(now)), list(self.tokens.tell(now))


class Usage:
    """Running sums. Not safe for several threads: the caller holds a lock."""

    def __init__(self) -> None:
        self._keys: dict[str, Idle] = {}
        self._nobody = Idle()  # of no key, and of all the others
        self._plans: dict[tuple[str, str], PlanSeries] = {}
        self._names: set[str] = set()  # of plans
        self._series: dict[tuple[str, str, str], KeySeries] = {}

    def take(self, line: Line) -> PlanSeries:
        """Count one request, whose names are possible ones; gives the series for its times."""
        access = line.access
        series = self._series.get((line.pool, access.plan, access.key)) or self._find(line.pool, access)
        plan = series.plan
        series.idle.since = plan.idle.since = None
        series.requests.add(_CLASSES[line.code])
        if line.tokens_in:
            series.tokens.add(_IN, line.tokens_in)
        if line.tokens_out:
            series.tokens.add(_OUT, line.tokens_out)
        if access.refused:
            plan.refusals.add((access.refused,))
        return plan

    def forget(self, idle_s: float) -> None:
        """Drop the keys and plans of which pages have told nothing new for so long."""
        gone = {name for name, idle in self._keys.items() if idle.lasts(idle_s)}
        if gone:
            self._keys = {name: idle for name, idle in self._keys.items() if name not in gone}
            self._series = {names: series for names, series in self._series.items() if names[2] not in gone}
        idle = {pair for pair, plan in self._plans.items() if plan.idle.lasts(idle_s)}
        if idle:
            idle -= {names[:2] for names in self._series if names[2] not in _NO_NAMES}
            self._plans = {pair: plan for pair, plan in self._plans.items() if pair not in idle}
            self._series = {names: series for names, series in self._series.items() if names[:2] not in idle}
            self._names = {plan for _, plan in self._plans}

    def series(self) -> Iterator[tuple[Labels, KeySeries]]:
        """Pool, plan and key with their sums, sorted."""
        yield from sorted(self._series.items(), key=lambda item: item[0])

    def plans(self) -> Iterator[tuple[Labels, PlanSeries]]:
        """Pool and plan with their sums, sorted."""
        yield from sorted(self._plans.items(), key=lambda item: item[0])

    def in_flight(self, plans: dict[str, int]) -> dict[str, int]:
        """Requests in flight by label. The gateway leaves out a plan that has none: it is 0 where it is known."""
        counts = dict.fromkeys(self._names - _NO_NAMES, 0)
        for name, count in sorted(plans.items()):
            label = name if name in counts or len(counts) < MAX_PLANS else OTHER
            counts[label] = counts.get(label, 0) + count
        return counts

    def _find(self, pool: str, access: Access) -> KeySeries:
        """The series of names that are new, or that have none of their own."""
        pair = self._pair(pool, access.plan)
        name = access.key
        if name and (*pair, name) not in self._series and self._is_full(name):
            name = OTHER
        found = self._series.get((*pair, name))
        if found is None:
            idle = self._nobody if name in _NO_NAMES else self._keys.setdefault(name, Idle())
            found = self._series[(*pair, name)] = KeySeries(idle, self._plans[pair])
        return found

    def _is_full(self, key: str) -> bool:
        return len(self._series) >= MAX_SERIES or (key not in self._keys and len(self._keys) >= MAX_KEYS)

    def _pair(self, pool: str, plan: str) -> tuple[str, str]:
        """The labels of that pool and plan."""
        if plan and plan not in self._names and len(self._names - _NO_NAMES) >= MAX_PLANS:
            plan = OTHER
        if (pool, plan) not in self._plans and len(self._plans) >= MAX_PAIRS:
            pool = plan = OTHER
        self._plans.setdefault((pool, plan), PlanSeries())
        self._names.add(plan)
        return pool, plan
