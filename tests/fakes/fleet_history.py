"""MetricHistory of a fake fleet: plausible numbers for every question of the pages, with a gap, from three days on."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from controller.core.errors import MetricsUnavailable
from controller.core.policy import PoolPolicy
from controller.records import Series

_COLUMN = re.compile(r'"column", "(\w+)"')
_POOL = re.compile(r'pool="([^"]*)"')
_ALERT = "alertname"
GAP = (timedelta(minutes=40), timedelta(minutes=33))  # before now: nobody was there


class FleetHistory:
    """See `MetricHistory`."""

    def __init__(
        self, policies: Sequence[PoolPolicy], now: Callable[[], datetime], up: Callable[[], bool] = lambda: True
    ) -> None:
        self._policies, self._now, self._up = {str(policy.pool): policy for policy in policies}, now, up
        self._began = now() - timedelta(days=3)
        self._gap = tuple((now() - before).timestamp() for before in GAP)
        # To make them up is no cost of those who ask.
        self._numbers = lru_cache(maxsize=20_000)(lambda pool, at: _numbers(self._policies[pool], at))

    def query_range(self, promql: str, start: datetime, end: datetime, step_s: int) -> tuple[Series, ...]:
        if not self._up():
            raise MetricsUnavailable("nobody is there")
        pools = [name for name in _POOL.findall(promql) if name in self._policies][:1] or list(self._policies)
        moments = range(round(start.timestamp()), round(end.timestamp()) + 1, step_s)
        if _ALERT in promql:
            return self._alerts(moments)
        names = list(dict.fromkeys(_COLUMN.findall(promql)))
        return tuple(self._series(pool, name, moments) for pool in pools for name in names)

    def _series(self, pool: str, name: str, moments: Sequence[int]) -> Series:
        values = {at: self._numbers(pool, at).get(name) for at in moments if self._told(at)}
        points = {at: float(value) for at, value in values.items() if value is not None}
        return Series({"pool": pool, "column": name}, points)

    def _told(self, at: float) -> bool:
        return self._began.timestamp() <= at <= self._now().timestamp() and not self._gap[0] < at < self._gap[1]

    def _alerts(self, moments: Sequence[int]) -> tuple[Series, ...]:
        fires = {at: 1.0 for at in moments if at % 7200 < 500}
        return (Series({"alertname": "PoolLatencyHigh", "severity": "warning"}, fires),) if fires else ()


def _numbers(policy: PoolPolicy, at: float) -> dict[str, float]:
    """What a pool with waves of demand would say, by the column."""
    floor, ceiling = policy.scaling.floor, policy.scaling.ceiling
    shift = len(policy.pool) * 37 + sum(map(ord, policy.pool))
    demand = (_wave(at, shift) + 0.04 * math.sin(at / 11)) * floor * 6
    desired = min(max(math.ceil(_wave(at - 90, shift) * floor * 6 / 4), floor), ceiling)
    ready = desired - (1 if desired > floor and int(at / 60 + shift) % 9 == 0 else 0)
    load = demand / max(ready * 4, 1)
    slow = 0.12 + 0.3 * max(load - 0.7, 0.0) ** 2
    return {
        "demand": round(demand), "demand_peak": round(demand * 1.2), "waiting": max(round(demand) - ready * 4, 0),
        "requests_per_second": demand * 1.4, "capacity": float(ready * 4), "desired": desired, "ready": ready,
        "starting": desired - ready, "draining": float(int(at / 60 + shift) % 23 == 0), "floor": floor, "held": desired,
        "ceiling": ceiling, "first_byte_p50": slow, "first_byte_p95": slow * 2.4, "duration_p50": slow * 9,
        "duration_p95": slow * 20, "latency_threshold": policy.scaling.latency.threshold,
        "error_ratio": 0.03 * max(load - 1.05, 0.0) + (0.004 if int(at / 60) % 17 == 0 else 0.0),
        "error_threshold": 0.01, "gpu_utilization": min(load * 0.8, 1.0), "gpu_memory": 0.71,
        "memory_threshold": 0.9, "gpus": desired,
        "tokens_per_second": demand * 28, "prompt_tokens_per_second": demand * 90, "failing": 0.0,
    }  # fmt: skip


def _wave(at: float, shift: int) -> float:
    return 0.55 + 0.32 * math.sin((at + shift * 60) / 1700) + 0.12 * math.sin(at / 240 + shift)
