"""What the pages ask Prometheus of pools over time. Nearly all of it is recorded: alerts/rules.

Each number is asked for in two ways: as it was said at a moment, for the last hours; and, for days and weeks, of what
is recorded once a minute, as a mean over the time between two points. All numbers of a chart are one question, in which
the label `column` says what each is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.core.timeline import Axis

COLUMN = "column"
_SHORTEST_S = 10  # of a window: it holds two scrapes
# `$s` is which pools, `$w` the window.
_DESIRED = "max by (pool) (last_over_time(stoker_pool_desired_replicas{$s}[$w]))"
_DESIRED_1M = "max by (pool) (count_over_time(stoker:pool_desired_replicas:avg1m{$s}[$w]))"


@dataclass(frozen=True, slots=True)
class Number:
    """One number of a pool: as it was said, and made of minutes."""

    said: str
    minutes: str


def _last(series: str, how: str = "max") -> str:
    return f"{how} by (pool) (last_over_time({series}[$w]))"


def _mean(series: str) -> str:
    return f"max by (pool) (avg_over_time({series}[$w]))"


def _replicas(states: str) -> Number:
    """In one of these states. One that no replica is in has no series."""
    said = f"(sum by (pool) (stoker_pool_replicas{{$s, state{states}}}) or 0 * {_DESIRED}) and on (pool) {_DESIRED}"
    some = (
        f"sum by (pool) (sum_over_time(stoker:pool_replicas:avg1m{{$s, state{states}}}[$w])) / on (pool) {_DESIRED_1M}"
    )
    return Number(said, f"{some} or 0 * {_DESIRED_1M}")


def _threshold(signal: str) -> Number:
    return Number(
        _last(f'stoker_pool_threshold{{$s, signal="{signal}"}}'),
        _mean(f'stoker:pool_threshold:avg1m{{$s, signal="{signal}"}}'),
    )


def _latency(measure: str, percent: int) -> Number:
    """Of what ended; nothing where nothing did. Of minutes it is that of all requests of the time."""
    recorded = f'stoker:pool_latency_seconds{{$s, measure="{measure}", statistic="p{percent}"}}'
    buckets = f'stoker:pool_latency_seconds_bucket:increase1m{{$s, measure="{measure}"}}'
    made = f"histogram_quantile({percent / 100:g}, sum by (pool, le) (sum_over_time({buckets}[$w]))) >= 0"
    return Number(f"{_last(recorded)} > 0", made)


def _utilization(of: str) -> Number:
    return Number(
        _last(f'stoker:pool_utilization_ratio{{$s, of="{of}"}}'),
        _mean(f'stoker:pool_utilization_ratio:avg1m{{$s, of="{of}"}}'),
    )


def _memory(of: str) -> Number:
    """The fullest replica's."""
    most = f'max by (pool) (max_over_time(stoker:pool_memory_ratio:max1m{{$s, of="{of}"}}[$w]))'
    return Number(_last(f'stoker:replica_memory_ratio{{$s, of="{of}"}}'), most)


_READY = _replicas('=~"ready|suspect"')
_REQUESTS, _FAILURES = "stoker:pool_requests:increase1m{$s}", "stoker:pool_failures:increase1m{$s}"
_PROMPTS = 'stoker:pool_tokens:increase1m{$s, direction="in"}'
_ENDED = f"max by (pool) (sum_over_time({_REQUESTS}[$w]))"
_GPUS = """max by (pool) (
label_replace(last_over_time(stoker_pool_gpus{$s}[$w]), "told_by", "controller", "", "")
or label_replace(count by (pool) (count by (pool, UUID) (DCGM_FI_DEV_FB_FREE{$s})), "told_by", "exporter", "", "")
)"""
NUMBERS: Mapping[str, Number] = {
    "demand": Number(
        _last('stoker_edge_requests_in_flight{job="edge", $s}', "sum"), _mean("stoker:pool_in_flight:avg1m{$s}")
    ),
    "demand_peak": Number(
        'sum by (pool) (max_over_time(stoker_edge_requests_in_flight{job="edge", $s}[$w]))',
        "max by (pool) (max_over_time(stoker:pool_in_flight:max1m{$s}[$w]))",
    ),
    "waiting": Number(
        _last('stoker_edge_requests_waiting{job="edge", $s}', "sum"), _mean("stoker:pool_waiting:avg1m{$s}")
    ),
    "queue": Number(_last("stoker:replica_requests_waiting{$s}", "sum"), _mean("stoker:pool_queue:avg1m{$s}")),
    "requests_per_second": Number(_last("stoker:pool_requests_per_second{$s}"), f"{_mean(_REQUESTS)} / 60"),
    "capacity": Number(
        f"({_READY.said}) * on (pool) {_last('stoker_pool_target_requests_in_flight{$s}')}",
        f"({_READY.minutes}) * on (pool) {_mean('stoker:pool_target_requests_in_flight:avg1m{$s}')}",
    ),
    "desired": Number(_DESIRED, _mean("stoker:pool_desired_replicas:avg1m{$s}")),
    "ready": _READY,
    "starting": _replicas('="starting"'),
    "draining": _replicas('="draining"'),
    "failing": _replicas('=~"unready|quarantined"'),
    "held": _replicas('!="stopped"'),
    "floor": Number(_last("stoker_pool_floor_replicas{$s}"), _mean("stoker:pool_floor_replicas:avg1m{$s}")),
    "ceiling": Number(_last("stoker_pool_ceiling_replicas{$s}"), _mean("stoker:pool_ceiling_replicas:avg1m{$s}")),
    "first_byte_p50": _latency("first_byte", 50),
    "first_byte_p95": _latency("first_byte", 95),
    "duration_p50": _latency("duration", 50),
    "duration_p95": _latency("duration", 95),
    "latency_threshold": _threshold("latency"),
    "error_ratio": Number(
        _last("stoker:pool_error_ratio{$s}"),
        f"max by (pool) (sum_over_time({_FAILURES}[$w])) / ({_ENDED} > 0) or 0 * {_ENDED}",
    ),
    "error_threshold": _threshold("errors"),
    "gpu_utilization": _utilization("gpu"),
    "cpu_utilization": _utilization("cpu"),
    "utilization_threshold": _threshold("utilization"),
    "gpu_memory": _memory("gpu"),
    "container_memory": _memory("container"),
    "host_memory": _memory("host"),
    "memory_threshold": _threshold("memory"),
    "tokens_per_second": Number(
        _last("stoker:replica_generation_tokens_per_second{$s}", "sum"),
        f"{_mean('stoker:pool_generated_tokens:increase1m{$s}')} / 60",
    ),
    "prompt_tokens_per_second": Number(
        _last('stoker:pool_tokens_per_second{$s, direction="in"}'),
        f"{_mean(_PROMPTS)} / 60",
    ),
    "gpus": Number(_GPUS, _mean("stoker:pool_gpus:avg1m{$s}")),
}


def question(names: Iterable[str], axis: Axis, pool: str | None = None) -> str:
    """One query for these numbers of a pool, or of all pools. Each answer says in `column` what it is."""
    parts = []
    for name in names:
        number = NUMBERS[name]
        parts.append(
            f'label_replace({number.minutes if axis.of_minutes else number.said}, "{COLUMN}", "{name}", "", "")'
        )
    window = f"{max(axis.step, _SHORTEST_S)}s"
    return filled(" or ".join(parts), window, 'pool!=""' if pool is None else f'pool="{escaped(pool)}"')


def filled(promql: str, window: str, selector: str = "") -> str:
    """With the window and which pools."""
    return promql.replace("$w", window).replace("$s", selector)


def escaped(value: str) -> str:
    """As it stands in a label's text."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
