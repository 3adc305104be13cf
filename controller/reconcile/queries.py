"""The one question that a tick asks Prometheus, and what a pool wants of its answer.

Nearly all numbers are recorded series, asked for by name in one selector: that is several times as fast as a chain of
expressions. They are as old as the last scrape of their source, which the rules record beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.core.model import Signal
from controller.core.policy import LatencyPolicy, PoolPolicy, ScalingPolicy

MIN_REQUESTS = 5  # in the window of the errors; a share of fewer says nothing of a replica

# When a source was last scraped: the gateway's exporter, and of a replica the engine, the launcher and the GPUs.
EDGE = "stoker:edge_scraped_timestamp_seconds"
ENGINE = "stoker:replica_engine_scraped_timestamp_seconds"
LAUNCHER = "stoker:replica_launcher_scraped_timestamp_seconds"
GPU = "stoker:replica_gpu_scraped_timestamp_seconds"


@dataclass(frozen=True, slots=True)
class Number:
    """One number for each pool or replica: the sum of recorded `series`, all of which must be there."""

    scraped: str
    series: tuple[str, ...]


REPLICA_ERRORS, REPLICA_REQUESTS, REPLICA_TOKENS = "replica_errors", "replica_requests", "replica_tokens"
LAST_REQUEST, POOL_REQUESTS = "last_request", "pool_requests"
ALWAYS = (LAST_REQUEST, POOL_REQUESTS, REPLICA_REQUESTS, REPLICA_TOKENS)  # whatever signals are enabled
NUMBERS: Mapping[str, Number] = {
    "replica_in_flight": Number(ENGINE, ("stoker:replica_requests_in_flight", "stoker:replica_requests_waiting")),
    "kv_cache": Number(ENGINE, ("stoker:replica_kv_cache_usage_ratio",)),
    "tokens": Number(ENGINE, ("stoker:replica_generation_tokens_per_second",)),
    "utilization_cpu": Number(LAUNCHER, ("stoker:replica_cpu_utilization_ratio",)),
    "utilization_gpu": Number(GPU, ("stoker:replica_gpu_utilization_ratio",)),
    "memory_container": Number(LAUNCHER, ("stoker:replica_container_memory_ratio",)),
    "memory_host": Number(LAUNCHER, ("stoker:replica_host_memory_ratio",)),
    "memory_gpu": Number(GPU, ("stoker:replica_gpu_memory_ratio",)),
    REPLICA_ERRORS: Number(EDGE, ("stoker:replica_error_ratio",)),
    REPLICA_REQUESTS: Number(EDGE, ("stoker:replica_requests",)),
    REPLICA_TOKENS: Number(ENGINE, ("stoker:replica_tokens:rate10s",)),
    "errors": Number(EDGE, ("stoker:pool_error_ratio",)),
    "latency": Number(EDGE, ("stoker:pool_latency_seconds",)),
    POOL_REQUESTS: Number(EDGE, ("stoker:pool_requests",)),
    LAST_REQUEST: Number(EDGE, ("stoker:pool_last_request_timestamp_seconds",)),
}

# Not recorded, since each second counts, or since they are no pool's. Each sample says in `signal` what it is.
IN_FLIGHT, IN_FLIGHT_AT, GPU_FREE, GPU_FREE_AT = "in_flight", "in_flight_at", "gpu_free", "gpu_free_at"
GPU_TOLD_AT = "gpu_told_at"  # of a GPU that is lost, too
_HELD = 'stoker_edge_requests_in_flight{job="edge"}'
DIRECT: Mapping[str, str] = {
    # Of several gateways: one that is not heard of for a moment holds what it held, as that is no reason to shrink.
    # Where nobody tells of a pool it is unknown.
    IN_FLIGHT: f"sum by (pool) ({_HELD} or last_over_time({_HELD}[60s])) and on (pool) {_HELD}",
    IN_FLIGHT_AT: f"min by (pool) (timestamp({_HELD}))",
    GPU_FREE: "min by (node, Hostname, UUID) (DCGM_FI_DEV_FB_FREE)",
    GPU_FREE_AT: "min by (node, Hostname, UUID) (timestamp(DCGM_FI_DEV_FB_FREE))",
    GPU_TOLD_AT: "min by (node, Hostname, UUID) (timestamp(stoker_gpu_lost))",
}
# Of each GPU as its exporter has it, with all its labels: asked for by name, as the recorded ones are.
XID_EVENTS, XID_LAST = "stoker_gpu_xid_events_total", "DCGM_FI_DEV_XID_ERRORS"
GPU_SERIES = (
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_FB_TOTAL",
    "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
    "DCGM_FI_DEV_ROW_REMAP_FAILURE",
    "DCGM_FI_DEV_ROW_REMAP_PENDING",
    "stoker_gpu_lost",
    "stoker_gpu_thermal_throttled",
    XID_EVENTS,
    XID_LAST,
)


def question(names: Iterable[str]) -> str:
    """One query for these of the `NUMBERS`, for those asked always or directly, and for how old they are."""
    wanted = [NUMBERS[name] for name in {*names, *ALWAYS}]
    series = {item for number in wanted for item in (number.scraped, *number.series)} | set(GPU_SERIES)
    direct = [f'label_replace({text}, "signal", "{name}", "", "")' for name, text in DIRECT.items()]
    # The longest comes last: each `or` looks at all that is left of it.
    return " or ".join([*direct, f'{{__name__=~"{"|".join(sorted(series))}"}}'])


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which number a pool reads as which signal, and which of the latencies."""

    signals: Mapping[str, Signal]
    latency: tuple[str, str]  # measure and statistic


def wanted_by(policy: PoolPolicy) -> Wanted:
    """The numbers of the signals that are enabled; requests in flight always.

    A signal has one reading: where both policies of a shadow evaluation have it, both are judged by the live one's.
    """
    policies = [policy.scaling] if policy.shadow is None else [policy.scaling, policy.shadow]
    signals = {"replica_in_flight": Signal.IN_FLIGHT}
    for scaling in policies:
        known = set(signals.values())
        signals |= {name: signal for name, signal in _enabled(scaling).items() if signal not in known}
    latency = next((scaling.latency for scaling in policies if scaling.latency.enabled), policy.scaling.latency)
    return Wanted(signals, latency_of(latency))


def latency_of(policy: LatencyPolicy) -> tuple[str, str]:
    """Measure and statistic, as the recorded latencies have them."""
    return policy.measure.value, "mean" if policy.quantile is None else f"p{policy.quantile * 100:g}"


def _enabled(scaling: ScalingPolicy) -> dict[str, Signal]:
    signals = {
        f"utilization_{scaling.utilization.source.value}": (Signal.UTILIZATION, scaling.utilization.enabled),
        "kv_cache": (Signal.KV_CACHE, scaling.kv_cache.enabled),
        "tokens": (Signal.TOKENS, scaling.tokens.enabled),
        "latency": (Signal.LATENCY, scaling.latency.enabled),
        "errors": (Signal.ERRORS, scaling.errors.enabled),
        REPLICA_ERRORS: (Signal.ERRORS, scaling.errors.enabled),
        f"memory_{scaling.memory.of.value}": (Signal.MEMORY, scaling.memory.enabled),
    }
    return {name: signal for name, (signal, enabled) in signals.items() if enabled}
