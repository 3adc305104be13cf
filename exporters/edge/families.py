"""The sums of `collect` as metrics for Prometheus."""

from __future__ import annotations

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from exporters.edge.collect import EdgeStats

_REPLICA, _PLAN, _KEY = ("pool", "replica"), ("pool", "plan"), ("pool", "plan", "key")


def families(stats: EdgeStats, now: float) -> list[Metric]:
    """All that the access log told; `now` is the clock of `EdgeStats.take`."""
    return [*_requests(stats, now), *_pools(stats, now), *_keys(stats, now), *_plans(stats, now), *_lines(stats)]


def _requests(stats: EdgeStats, now: float) -> list[Metric]:
    codes = CounterMetricFamily(
        "stoker_edge_requests", "Finished requests by the status the client got.", labels=(*_REPLICA, "code")
    )
    retries = CounterMetricFamily(
        "stoker_edge_retries", "Replicas tried in vain before the one that answered or failed last.", labels=_REPLICA
    )
    failed = CounterMetricFamily(
        "stoker_edge_attempts_failed",
        "Attempts in vain: refused, reset, timed out, broken off before the first byte, or a 503 and another try.",
        labels=_REPLICA,
    )
    durations = HistogramMetricFamily(
        "stoker_edge_request_duration_seconds", "From the first byte read to the last byte sent.", labels=_REPLICA
    )
    first_bytes = HistogramMetricFamily(
        "stoker_edge_time_to_first_byte_seconds",
        "From the first try to the header of the answer; requests that no replica answered are left out.",
        labels=_REPLICA,
    )
    for pool, replica, series in stats.series():
        names, series = (pool, replica), series.tell(now)
        for code, count in sorted(series.codes.items()):
            codes.add_metric((*names, code), count)
        retries.add_metric(names, series.retries)
        if replica:
            failed.add_metric(names, series.failed)
        durations.add_metric(names, series.durations.cumulated(), series.durations.total)
        first_bytes.add_metric(names, series.first_bytes.cumulated(), series.first_bytes.total)
    return [codes, retries, failed, durations, first_bytes]


def _pools(stats: EdgeStats, now: float) -> list[Metric]:
    last_requests = GaugeMetricFamily(
        "stoker_edge_last_request_timestamp_seconds",
        "When the newest line of the access log came, whatever its status: a pool without replicas is woken by it.",
        labels=("pool",),
    )
    durations = HistogramMetricFamily(
        "stoker_edge_pool_request_duration_seconds", "Request durations of all of a pool's replicas.", labels=("pool",)
    )
    first_bytes = HistogramMetricFamily(
        "stoker_edge_pool_time_to_first_byte_seconds", "Times to first byte of all of them.", labels=("pool",)
    )
    cache = CounterMetricFamily(
        "stoker_edge_cache_requests",
        "Requests that a cache was asked for, by its layer and what came of it; without those that had none to ask.",
        labels=("pool", "layer", "result"),
    )
    for name, pool in sorted(stats.pools.items()):
        if name:
            told = pool.tell(now)
            last_requests.add_metric((name,), told.last_request)
            durations.add_metric((name,), told.durations.cumulated(), told.durations.total)
            first_bytes.add_metric((name,), told.first_bytes.cumulated(), told.first_bytes.total)
            for labels, count in pool.cache.tell(now):
                cache.add_metric((name, *labels), count)
    return [last_requests, durations, first_bytes, cache]


def _keys(stats: EdgeStats, now: float) -> list[Metric]:
    requests = CounterMetricFamily(
        "stoker_edge_key_requests",
        "Finished requests by key, refused ones too. No key: none was given, or none that is known.",
        labels=(*_KEY, "code_class"),
    )
    tokens = CounterMetricFamily(
        "stoker_edge_tokens",
        "Tokens that engines read and wrote; an answer from a cache has none.",
        labels=(*_KEY, "direction"),
    )
    for names, series in stats.usage.series():
        told_requests, told_tokens = series.tell(now)
        for labels, count in told_requests:
            requests.add_metric((*names, *labels), count)
        for labels, count in told_tokens:
            tokens.add_metric((*names, *labels), count)
    return [requests, tokens]


def _plans(stats: EdgeStats, now: float) -> list[Metric]:
    refusals = CounterMetricFamily(
        "stoker_edge_refusals", "Requests that the gateway refused, by the cause.", labels=(*_PLAN, "cause")
    )
    durations = HistogramMetricFamily(
        "stoker_edge_key_duration_seconds",
        "Request durations of all keys of a plan; requests that were refused are left out.",
        labels=_PLAN,
    )
    first_bytes = HistogramMetricFamily(
        "stoker_edge_key_time_to_first_byte_seconds", "Times to first byte of all of them.", labels=_PLAN
    )
    for names, series in stats.usage.plans():
        told_refusals, told_durations, told_first_bytes = series.tell(now)
        for labels, count in told_refusals:
            refusals.add_metric((*names, *labels), count)
        durations.add_metric(names, told_durations.cumulated(), told_durations.total)
        first_bytes.add_metric(names, told_first_bytes.cumulated(), told_first_bytes.total)
    return [refusals, durations, first_bytes]


def _lines(stats: EdgeStats) -> list[Metric]:
    return [
        CounterMetricFamily("stoker_edge_log_lines", "Access-log lines received.", value=stats.lines),
        CounterMetricFamily(
            "stoker_edge_log_lines_malformed", "Lines received that are none of the gateway's.", value=stats.malformed
        ),
    ]
