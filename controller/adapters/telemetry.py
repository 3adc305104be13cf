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
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from controller.core.alerts import HeardAlerts
from controller.core.event import Event
from controller.ports import TickReport

_REPEAT = timedelta(minutes=1)
_REMEMBERED = timedelta(minutes=1)  # of a replica that is gone: for several scrapes, so that its last failure is seen
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
        name, text = "stoker_controller_leader", "1 where this controller leads, else 0."
        self._leader = Gauge(name, text, registry=self.registry)
        name, text = "stoker_controller_stands_by", "1 where it knows that another controller leads, else 0."
        self._stands_by = Gauge(name, text, registry=self.registry)
        name, text = "stoker_alerts_received", "Alerts that Alertmanager told of; left_out: more than can be kept."
        self._alerts = Counter(name, text, ["status"], registry=self.registry)
        for status in ("firing", "resolved", "left_out"):
            self._alerts.labels(status)  # 0 from the beginning
        name, text = "stoker_alerts_deduplicated", "Those of them that were known already to be as they are."
        self._repeated = Counter(name, text, registry=self.registry)
        name, text = "stoker_pool_info", "1 for each pool, with the model that it serves."
        self._models = Gauge(name, text, ["pool", "model"], registry=self.registry)
        name, text = "stoker_webhook_deliveries", "Messages of the controller's own alerts, by what came of them."
        self._deliveries = Counter(name, text, ["result"], registry=self.registry)
        for result in ("delivered", "failed"):
            self._deliveries.labels(result)
        self._pools = _Newest(self.registry)

    def name_models(self, models: Iterable[tuple[str, str]]) -> None:
        """These are the pools that there are, each with the model that it serves."""
        self._models.clear()
        for pool, model in models:
            self._models.labels(pool, model).set(1)

    def take_role(self, *, leads: bool = False, stands_by: bool = False) -> None:
        """This controller leads, or knows that another one does; neither: nobody knows who leads."""
        self._leader.set(leads)
        self._stands_by.set(stands_by)

    def count_delivery(self, result: str) -> None:
        """Count a message of the controller's own alerts, by what came of it."""
        self._deliveries.labels(result).inc()

    def hear(self, heard: HeardAlerts) -> None:
        """Count what came of a message of Alertmanager."""
        self._alerts.labels("firing").inc(heard.firing)
        self._alerts.labels("resolved").inc(heard.resolved)
        self._alerts.labels("left_out").inc(heard.left_out)
        self._repeated.inc(heard.repeated)

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
        self._pools.take(report)

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


@dataclass(slots=True)
class _Failures:
    """Of one replica: how often it failed, and when it was last there."""

    seen_at: datetime
    count: int = 0


class _Newest(Collector):
    """What the newest report says, made when it is asked for: what is gone has no sample, and no scrape finds a series
    missing because a tick is just setting it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._newest: TickReport | None = None
        self._failures: dict[tuple[str, str], _Failures] = {}
        registry.register(self)

    def take(self, report: TickReport) -> None:
        """From now on this is the newest one."""
        known = {key: kept for key, kept in self._failures.items() if report.at - kept.seen_at < _REMEMBERED}
        for key, failed in report.failed_replicas.items():
            kept = known.setdefault(key, _Failures(report.at))
            kept.seen_at, kept.count = report.at, kept.count + failed
        self._newest, self._failures = report, known

    def collect(self) -> Iterator[Metric]:
        """Microseconds for each pool."""
        report = self._newest
        if report is None:
            return
        yield from _of_pools(report)
        yield from _of_policies(report)
        yield from _of_gateways(report)
        name, text = "stoker_controller_source_unknown", "1 for a source that gave no answer."
        yield _gauge(name, text, ["source"], (((source,), 1) for source in report.unknown))
        name, text = "stoker_node_engine_answering", "1 for a node whose container engine answers, else 0."
        yield _gauge(name, text, ["node"], (((node,), int(answers)) for node, answers in report.nodes.items()))
        name, text = "stoker_gpu_cordoned", "1 for a GPU on which nothing new starts, with the reason."
        yield _gauge(name, text, ["node", "UUID", "reason"], ((key, 1) for key in sorted(report.cordoned)))
        failures = CounterMetricFamily(
            "stoker_replica_failures",
            "How often a replica that served failed, exited or came under suspicion.",
            labels=("pool", "replica"),
        )
        for key, kept in self._failures.items():
            failures.add_metric(key, kept.count)
        yield failures


def _of_pools(report: TickReport) -> Iterator[Metric]:
    name, text = "stoker_pool_desired_replicas", "Replicas that the pool is to have."
    yield _gauge(name, text, ["pool"], (((pool,), count) for pool, count in report.desired.items()))
    yield _gauge("stoker_pool_replicas", "Replicas by state.", ["pool", "state"], report.states.items())
    name, text = "stoker_pool_wanted_replicas", "Replicas that a signal asks for; absent where it is not known."
    yield _gauge(name, text, ["pool", "signal"], report.wanted.items())
    name, text = "stoker_pool_reason", "1 for each reason why the pool has the size that it has."
    yield _gauge(name, text, ["pool", "reason"], ((key, 1) for key in sorted(report.standing)))
    name, text = "stoker_pool_gpus", "GPUs that the pool's replicas were given; absent where none needs one."
    yield _gauge(name, text, ["pool"], (((pool,), count) for pool, count in report.gpus.items()))
    name, text = "stoker_replica_start_seconds", "For how long a replica that was never ready has been starting."
    yield _gauge(name, text, ["pool", "replica"], report.starting.items())
    name, text = "stoker_pool_cold_start_seconds", "What the last 50 starts that ended well took, by quantile."
    yield _gauge(name, text, ["pool", "quantile"], report.cold_starts.items())


def _of_policies(report: TickReport) -> Iterator[Metric]:
    name, text = "stoker_pool_floor_replicas", "Replicas that the pool has at least, at this hour."
    yield _gauge(name, text, ["pool"], (((pool,), floor) for pool, (floor, _) in report.bounds.items()))
    name, text = "stoker_pool_ceiling_replicas", "Replicas that the pool has at most."
    yield _gauge(name, text, ["pool"], (((pool,), ceiling) for pool, (_, ceiling) in report.bounds.items()))
    name, text = "stoker_pool_target_requests_in_flight", "Requests in flight and waiting that one replica is to have."
    yield _gauge(name, text, ["pool"], (((pool,), target) for pool, target in report.targets.items()))
    text = "Above which value a signal of the pool is too high: a share of 1, or seconds for the latency."
    labels = ["pool", "signal", "of", "measure", "statistic"]
    known = (((it.pool, it.signal, it.of, it.measure, it.statistic), it.value) for it in report.thresholds)
    yield _gauge("stoker_pool_threshold", text, labels, known)


def _of_gateways(report: TickReport) -> Iterator[Metric]:
    name, text = "stoker_controller_gateway_refused", "1 while nginx runs something older than it should, else 0."
    yield _gauge(name, text, [], [((), int(report.gateway_refused))])
    name, text = "stoker_gateway_lag_seconds", "For how long the nginx of another machine may run something old."
    yield _gauge(name, text, ["gateway"], (((name,), lag) for name, lag in sorted(report.gateway_lags.items())))
    for whose, end in report.certificate_ends.items():
        name, text = f"stoker_{whose}_certificate_expiry_timestamp_seconds", f"When the {whose}'s certificate expires."
        yield _gauge(name, text, [], [((), end.timestamp())])


def _gauge(name: str, text: str, labels: Sequence[str], samples: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in samples:
        family.add_metric(key, value)
    return family
