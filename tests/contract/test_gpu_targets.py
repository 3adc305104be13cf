"""The GPU exporter on a real Prometheus: by its node, and its replicas by the names that the controller asks for."""

from __future__ import annotations

from pathlib import Path

from controller.adapters.prometheus import PrometheusSource
from controller.core.errors import MetricsUnavailable
from tests.contract.test_metrics import Prometheus
from tests.fakes.running_nginx import free_port
from tests.integration.gpu_machine import Machine
from tests.nvml.exporter import RunningExporter
from tests.nvml.library import World
from tests.waiting import wait_for


def asked(source: PrometheusSource, promql: str) -> list[tuple[dict[str, str], float]]:
    """Labels without the metric's name, and values."""
    try:
        found = source.query(promql)
    except MetricsUnavailable:  # it starts
        return []
    return [({name: value for name, value in one.labels.items() if name != "__name__"}, one.value) for one in found]


def test_gpus_come_with_their_node_and_their_replica(tmp_path: Path) -> None:
    world = World.of(tmp_path, 2)
    world.put("processes", "process 1 101 1000 -1")
    ours = {"pool": "llama", "replica": "llama-1"}
    with Machine(tmp_path) as machine:
        container = machine.add_container(1, "llama-1")
        machine.label(container, ours["pool"], ours["replica"])
        machine.add_process(101, "vllm", container)
        with RunningExporter(tmp_path, world, *machine.arguments) as exporter:
            server = Prometheus(tmp_path, free_port())
            try:
                server.targets.write_gpus({"gpu-1": f"127.0.0.1:{exporter.port}"})
                source = server.source
                wait_for(lambda: asked(source, "stoker:replica_gpu_utilization_ratio"), 60, "the rules know of it")
                by_node = asked(source, 'sum by (job, node) (up{job="gpu"})')
                util = asked(source, "stoker:replica_gpu_utilization_ratio")
                memory = asked(source, "stoker:replica_gpu_memory_ratio")
                both = asked(source, "count by (node, Hostname) (DCGM_FI_DEV_GPU_UTIL)")
                world.put("lost", "fail 1 * 15")
                wait_for(lambda: not asked(source, "stoker:replica_gpu_utilization_ratio"), 60, "unknown, not repeated")
                lost = asked(source, "sum by (node, UUID) (stoker_gpu_lost) == 1")
            finally:
                server.stop()

    assert by_node == [({"job": "gpu", "node": "gpu-1"}, 1)]
    assert util == [(ours, 0.87)]
    assert memory == [(ours, 61000 / 81000)]
    assert both == [({"node": "gpu-1", "Hostname": "gpu-1"}, 2)]
    assert lost == [({"node": "gpu-1", "UUID": "GPU-00000001"}, 1)]
