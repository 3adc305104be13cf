"""What the controller costs while nothing happens, and what its ticks cost on the real parts."""

from __future__ import annotations

import time

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.stack import Stack

_WATCH_S = 30.0


def measure(stack: Stack) -> dict[str, float]:
    """Share of a core and resident memory over 30 idle seconds, and the mean tick of those seconds."""
    process = stack.process("controller.main")
    before, cpu_before, began = _ticks(stack), process.cpu_times(), time.monotonic()
    time.sleep(_WATCH_S)
    after, cpu_after, took = _ticks(stack), process.cpu_times(), time.monotonic() - began
    cpu = cpu_after.user + cpu_after.system - cpu_before.user - cpu_before.system
    ticks = after["count"] - before["count"]
    return {
        "idle_core_percent": 100 * cpu / took,
        "memory_mb": process.memory_info().rss / 1e6,
        "tick_ms": 1000 * (after["sum"] - before["sum"]) / ticks,
    }


def _ticks(stack: Stack) -> dict[str, float]:
    families = text_string_to_metric_families(stack.read("/metrics").decode())
    found = next(family for family in families if family.name == "stoker_controller_tick_seconds")
    return {sample.name.rsplit("_", 1)[1]: sample.value for sample in found.samples if not sample.labels}
