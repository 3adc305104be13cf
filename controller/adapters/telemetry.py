"""EventSink: one logfmt line on standard error and one count for each event; and the controller's own metrics."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from controller.core.event import Event
from controller.ports import TickReport

_REPEAT = timedelta(minutes=1)
_TICK_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(slots=True)
class _Repeated:
    """A failure that was told already: when, and how often it came since."""

    told_at: datetime
    since: int = 0


class Telemetry:
    """See `EventSink`. `registry` is what /metrics shows."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._failures: dict[tuple[str, str, str, str], _Repeated] = {}
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._events = Counter(
            "stoker_controller_events", "What happened.", ["event", "reason"], registry=self.registry
        )
        self._ticks = Histogram(
            "stoker_controller_tick_seconds", "How long a tick took.", buckets=_TICK_BUCKETS, registry=self.registry
        )
        self._failed = Counter(
            "stoker_controller_ticks_failed", "Ticks that ended in an error.", registry=self.registry
        )
        self._last = Gauge(
            "stoker_controller_last_tick_timestamp_seconds", "When the last tick ended well.", registry=self.registry
        )
        self._reloads = Counter(
            "stoker_controller_gateway_reloads", "Configurations that nginx took.", registry=self.registry
        )
        self._pools = _PoolGauges(self.registry)

    def emit(self, events: Sequence[Event]) -> None:
        """See `EventSink.emit`."""
        for event in events:
            self._events.labels(event.event, event.reason).inc()
            line = self._line(event)
            if line is not None:
                with contextlib.suppress(OSError, ValueError):  # a log that cannot be written stops no healing
                    print(line, file=self._stream, flush=True)  # noqa: T201 - this is the log

    def report(self, report: TickReport) -> None:
        """See `EventSink.report`."""
        self._ticks.observe(report.seconds)
        if report.failed:
            self._failed.inc()
        else:
            self._last.set(report.at.timestamp())
        if report.changed_gateway:
            self._reloads.inc()
        self._pools.newest = report

    def _line(self, event: Event) -> str | None:
        """The line to print, or None for a failure that was told less than a minute ago."""
        if not event.event.endswith("_failed"):
            return event.line()
        key = (event.event, event.subject, event.reason, event.message)
        with self._lock:
            known = self._failures.get(key)
            if known is not None and event.at - known.told_at < _REPEAT:
                known.since += 1
                return None
            if len(self._failures) > 1000:
                self._failures.clear()
            self._failures[key] = _Repeated(event.at)
        return event.line() + (f" repeated={known.since}" if known is not None and known.since else "")


class _PoolGauges(Collector):
    """What the newest report says of the pools and sources, made when it is asked for: what is gone has no sample, and
    no scrape finds a series missing because a tick is just setting it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.newest: TickReport | None = None
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Microseconds for each pool."""
        report = self.newest
        if report is None:
            return
        name, text = "stoker_pool_desired_replicas", "Replicas that the pool is to have."
        yield _gauge(name, text, ["pool"], (((pool,), count) for pool, count in report.desired.items()))
        yield _gauge("stoker_pool_replicas", "Replicas by state.", ["pool", "state"], report.states.items())
        name, text = "stoker_pool_wanted_replicas", "Replicas that a signal asks for; absent where it is not known."
        yield _gauge(name, text, ["pool", "signal"], report.wanted.items())
        name, text = "stoker_pool_reason", "1 for each reason why the pool has the size that it has."
        yield _gauge(name, text, ["pool", "reason"], ((key, 1) for key in sorted(report.standing)))
        name, text = "stoker_controller_source_unknown", "1 for a source that gave no answer."
        yield _gauge(name, text, ["source"], (((source,), 1) for source in report.unknown))


def _gauge(name: str, text: str, labels: Sequence[str], samples: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in samples:
        family.add_metric(key, value)
    return family
