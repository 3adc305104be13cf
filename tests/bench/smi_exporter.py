"""An exporter as many are: at each scrape it starts a program that prints CSV, and reads that. For the bench only."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_LABELS = ("gpu", "UUID", "modelName")
_COLUMNS = (
    *("utilization_gpu", "utilization_memory", "memory_total", "memory_used", "memory_free", "memory_reserved"),
    *("temperature_gpu", "power_draw", "power_limit", "clocks_sm", "clocks_mem", "pcie_replay", "throttle_reasons"),
    *("ecc_corrected_volatile", "ecc_uncorrected_volatile", "ecc_corrected_aggregate", "ecc_uncorrected_aggregate"),
    *("utilization_encoder", "utilization_decoder"),
)


class Smi(Collector):
    """Runs the program, and waits for it."""

    def __init__(self, program: str) -> None:
        self._program = program

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        done = subprocess.run([self._program], capture_output=True, text=True, check=True, timeout=10)
        families = [GaugeMetricFamily(f"smi_{name}", "From the CSV.", labels=_LABELS) for name in _COLUMNS]
        for line in done.stdout.splitlines():
            index, uuid, name, *values = line.split(", ")
            for family, value in zip(families, values, strict=True):
                family.add_metric((index, uuid, name), float(int(value, 16) if value.startswith("0x") else value))
        yield from families


if __name__ == "__main__":
    registry = CollectorRegistry()
    registry.register(Smi(sys.argv[2]))
    start_http_server(int(sys.argv[1]), "127.0.0.1", registry)
    threading.Event().wait()
