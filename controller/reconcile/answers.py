"""Prometheus's answer -> the readings of each pool, and the GPUs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from controller.core.model import UNKNOWN, Gpu, GpuReport, PoolName, PoolReadings, Reading, ReplicaId, Signal
from controller.ports import Sample
from controller.reconcile import gpu_answers
from controller.reconcile.queries import (
    EDGE,
    IN_FLIGHT,
    IN_FLIGHT_AT,
    LAST_REQUEST,
    MIN_REQUESTS,
    NUMBERS,
    POOL_REQUESTS,
    REPLICA_ERRORS,
    REPLICA_REQUESTS,
    REPLICA_TOKENS,
    Number,
    Wanted,
)

_Labels = Mapping[str, str]
_Place = tuple[str | None, ...]
_Series = Mapping[str, Sequence[Sample]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What Prometheus said. A pool of which it said nothing is missing."""

    pools: Mapping[PoolName, PoolReadings] = field(default_factory=dict)
    gpus: tuple[Gpu, ...] = ()
    reports: Mapping[str, GpuReport] = field(default_factory=dict)  # of GPUs, by UUID


def read(samples: Sequence[Sample], wanted: Mapping[PoolName, Wanted]) -> Answer:
    """The answer to a `question`. A number of which it is not said how old it is is left out: it is unknown."""
    series: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        series[sample.labels.get("signal") or sample.labels.get("__name__", "")].append(sample)
    pools = {pool: _Pool(wants) for pool, wants in wanted.items()}
    for name, labels, reading in _readings(series):
        pool = pools.get(PoolName(labels.get("pool", "")))
        if pool is not None:
            pool.take(name, labels, reading)
    known = {name: pool.readings for name, pool in pools.items() if pool.readings != PoolReadings()}
    return Answer(known, gpu_answers.gpus(series), gpu_answers.reports(series))


def _readings(series: _Series) -> Iterator[tuple[str, _Labels, Reading]]:
    gateway = {_replica(sample.labels): sample.value for sample in series.get(IN_FLIGHT_AT, ())}
    for sample in series.get(IN_FLIGHT, ()):
        yield IN_FLIGHT, sample.labels, _reading(sample, sample.value, gateway.get(_replica(sample.labels)))
    sent = NUMBERS[REPLICA_REQUESTS].series[0]
    requests = {_replica(sample.labels): sample.value for sample in series.get(sent, ())}
    for name, number in NUMBERS.items():
        for labels, reading in _recorded(number, series):
            few = name == REPLICA_ERRORS and 0 < requests.get(_replica(labels), 0.0) < MIN_REQUESTS
            if not few:
                yield name, labels, reading


def _recorded(number: Number, series: _Series) -> Iterator[tuple[_Labels, Reading]]:
    """One reading where all of the number's series are there, and where it is known when their source was scraped."""
    first, *others = number.series
    more = [{_replica(sample.labels): sample.value for sample in series.get(other, ())} for other in others]
    scraped = {_replica(sample.labels): sample.value for sample in series.get(number.scraped, ())}
    for sample in series.get(first, ()):
        place = _replica(sample.labels)
        if all(place in values for values in more):
            at = scraped.get((None, None) if number.scraped == EDGE else place)
            yield sample.labels, _reading(sample, sample.value + sum(values[place] for values in more), at)


def _replica(labels: _Labels) -> _Place:
    return labels.get("pool"), labels.get("replica")


def _reading(sample: Sample, value: float, at: float | None) -> Reading:
    return UNKNOWN if at is None else Reading.of(value, datetime.fromtimestamp(at, tz=sample.at.tzinfo))


class _Pool:
    """The readings of one pool while they are collected."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._pool: dict[Signal, Reading] = {}
        self._replicas: dict[Signal, dict[ReplicaId, Reading]] = {}
        self._health: dict[str, dict[ReplicaId, Reading]] = {REPLICA_REQUESTS: {}, REPLICA_TOKENS: {}}
        self._last_request = self._sent = UNKNOWN

    def take(self, name: str, labels: _Labels, reading: Reading) -> None:
        """Keep it if it is known and the pool wants it."""
        signal = Signal.IN_FLIGHT if name == IN_FLIGHT else self._wanted.signals.get(name)
        if reading is UNKNOWN:
            return
        if name == LAST_REQUEST:
            self._last_request = reading
        elif name == POOL_REQUESTS:
            self._sent = reading
        elif name in self._health:
            self._health[name][ReplicaId(labels.get("replica", ""))] = reading
        elif signal is None:
            return
        elif "replica" in labels:
            self._replicas.setdefault(signal, {})[ReplicaId(labels["replica"])] = reading
        elif signal is not Signal.LATENCY or (labels.get("measure"), labels.get("statistic")) == self._wanted.latency:
            self._pool[signal] = reading

    @property
    def readings(self) -> PoolReadings:
        """What was kept."""
        requests, tokens = self._health[REPLICA_REQUESTS], self._health[REPLICA_TOKENS]
        return PoolReadings(self._pool, self._replicas, self._last_request, requests, tokens, self._sent)
