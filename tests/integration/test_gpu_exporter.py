"""The GPU exporter as a process, on a stub of NVML: what it tells of GPUs that work."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.integration.gpu_machine import CONTAINER, Machine
from tests.nvml.exporter import RunningExporter
from tests.nvml.library import World

DCGM = "DCGM_FI_DEV_"
# Each with what the busy GPU of the stub has of it, in the DCGM exporter's unit.
VALUES = {
    "GPU_UTIL": 87,
    "MEM_COPY_UTIL": 41,
    "FB_TOTAL": 81559,
    "FB_USED": 61000,
    "FB_FREE": 20000,
    "FB_RESERVED": 559,
    "GPU_TEMP": 63,
    "MEMORY_TEMP": 71,
    "POWER_USAGE": 512.345,
    "POWER_MGMT_LIMIT": 700,
    "TOTAL_ENERGY_CONSUMPTION": 123_456_789,
    "SM_CLOCK": 1755,
    "MEM_CLOCK": 2619,
    "CLOCK_THROTTLE_REASONS": 4,
    "PCIE_REPLAY_COUNTER": 2,
    "ECC_SBE_VOL_TOTAL": 1,
    "ECC_DBE_VOL_TOTAL": 0,
    "ECC_SBE_AGG_TOTAL": 5,
    "ECC_DBE_AGG_TOTAL": 0,
    "CORRECTABLE_REMAPPED_ROWS": 1,
    "UNCORRECTABLE_REMAPPED_ROWS": 0,
    "ROW_REMAP_FAILURE": 0,
    "ROW_REMAP_PENDING": 0,
    "XID_ERRORS": 0,
    "NVLINK_BANDWIDTH_TOTAL": 3000,
    "ENC_UTIL": 0,
    "DEC_UTIL": 3,
}
# The metrics of the DCGM exporter's official board, but for the one that NVML does not have.
BOARD = ("GPU_TEMP", "POWER_USAGE", "SM_CLOCK", "GPU_UTIL", "FB_USED")
LABELS = {
    "gpu": "1",
    "UUID": "GPU-00000001",
    "device": "nvidia1",
    "modelName": "NVIDIA H100 80GB HBM3",
    "Hostname": "gpu-1",
    "DCGM_FI_DRIVER_VERSION": "570.86.15",
    "pci_bus_id": "00000000:02:00.0",
}
HOST = {"node_cpu_seconds_total", "node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes", "node_load1"}


def test_every_metric_with_its_unit_and_its_labels(tmp_path: Path) -> None:
    with RunningExporter(tmp_path, World.of(tmp_path, 2)) as exporter:
        page = exporter.page()

    assert {name: page.value(DCGM + name, gpu=1) for name in VALUES} == VALUES
    assert [labels for name in VALUES for labels, _ in page.all(DCGM + name, gpu=1)] == [LABELS] * len(VALUES)
    assert set(BOARD) <= set(VALUES)
    own = {"lost": 0, "thermal_throttled": 0}
    assert {name: page.value(f"stoker_gpu_{name}", **LABELS) for name in own} == own
    assert (page.value("stoker_gpu_last_success_timestamp_seconds", gpu=0) or 0) > 1_700_000_000
    assert page.value("stoker_gpu_nvml_up") == 1
    assert page.value("stoker_gpu_scrape_duration_seconds") is not None
    assert page.all("stoker_gpu_errors_total") == []
    assert page.names() >= HOST, "a GPU node is a machine, too"


def test_prometheus_finds_no_fault_but_in_names_that_others_gave(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "apt-get install prometheus"
    world = World.of(tmp_path, 2)
    world.put("processes", "process 0 1 500 -1")
    with RunningExporter(tmp_path, world) as exporter:
        world.xid(0, 13)
        page = exporter.until("stoker_gpu_xid_events_total", 1, xid=13)

    done = subprocess.run([promtool, "check", "metrics"], input=page.text, capture_output=True, text=True, timeout=60)

    assert done.returncode in (0, 3), done.stderr  # 3: it has something to say of names
    said = [line for line in done.stderr.splitlines() if not line.startswith("DCGM_FI_DEV_")]
    # The labels UUID and modelName are the DCGM exporter's, the memory's names node_exporter's.
    assert [line for line in said if "should be written in 'snake_case' not 'camelCase'" not in line] == []


def test_what_a_gpu_does_not_support_is_left_out_and_is_no_error(tmp_path: Path) -> None:
    world = World.of(tmp_path, 2)
    world.set(0, enc=None, sbe_vol=None, nvlink_tx=None, mem_temp=None, energy=None)
    world.put("old driver", "fail 0 nvmlDeviceGetRemappedRows 13")
    with RunningExporter(tmp_path, world) as exporter:
        page = exporter.page()

    missing = {"ENC_UTIL", "ECC_SBE_VOL_TOTAL", "NVLINK_BANDWIDTH_TOTAL", "MEMORY_TEMP", "TOTAL_ENERGY_CONSUMPTION"}
    missing |= {"CORRECTABLE_REMAPPED_ROWS", "UNCORRECTABLE_REMAPPED_ROWS", "ROW_REMAP_FAILURE", "ROW_REMAP_PENDING"}
    assert {name for name in VALUES if page.value(DCGM + name, gpu=0) is None} == missing
    assert {name for name in VALUES if page.value(DCGM + name, gpu=1) is None} == set()
    assert page.all("stoker_gpu_errors_total") == []


def test_heat_is_told_from_other_reasons_to_slow_down(tmp_path: Path) -> None:
    world = World.of(tmp_path, 2)
    world.set(1, reasons=0x20 | 0x1)
    with RunningExporter(tmp_path, world) as exporter:
        page = exporter.page()

    assert [page.value("stoker_gpu_thermal_throttled", gpu=gpu) for gpu in (0, 1)] == [0, 1]
    assert page.value(f"{DCGM}CLOCK_THROTTLE_REASONS", gpu=1) == 0x21


def test_xids_come_as_events(tmp_path: Path) -> None:
    world = World.of(tmp_path, 2)
    with RunningExporter(tmp_path, world) as exporter:
        assert [exporter.page().value(f"{DCGM}XID_ERRORS", gpu=gpu) for gpu in (0, 1)] == [0, 0]
        world.xid(1, 13)
        exporter.until(f"{DCGM}XID_ERRORS", 13, gpu=1)
        first = exporter.page().value("stoker_gpu_xid_events_total", gpu=1, xid=13)
        world.xid(1, 13)
        world.xid(1, 79)
        exporter.until("stoker_gpu_xid_events_total", 2, gpu=1, xid=13)
        page = exporter.until("stoker_gpu_xid_events_total", 1, gpu=1, xid=79)

    assert first == 0, "a counter that is new is told as 0, so that it is seen to rise"
    assert page.value(f"{DCGM}XID_ERRORS", gpu=1) == 79
    assert page.value(f"{DCGM}XID_ERRORS", gpu=0) == 0
    assert "GPU 1 (GPU-00000001) has XID 79" in exporter.said()


def test_instances_of_mig_have_rows_of_their_own(tmp_path: Path) -> None:
    world = World.of(tmp_path, 1)
    world.set(0, mig_mode=1, util=None)  # the driver knows no utilisation of such a GPU
    # Two compute instances share the first one.
    world.put("mig", "mig 0 1 3g.40gb 40000 30000", "mig 0 1 1c.3g.40gb 40000 30000", "mig 0 5 1g.10gb 9856 12")
    with RunningExporter(tmp_path, world) as exporter:
        page = exporter.page()

    of_instances = {(row["GPU_I_ID"], row["GPU_I_PROFILE"]): used for row, used in page.all(f"{DCGM}FB_USED")}
    assert of_instances == {("1", "3g.40gb"): 30000, ("5", "1g.10gb"): 12}, "the GPU's own sum is not told beside them"
    assert page.value(f"{DCGM}FB_FREE", GPU_I_ID=5, UUID="GPU-00000000") == 9844
    assert page.value(f"{DCGM}GPU_TEMP", gpu=0) == 63
    assert page.value(f"{DCGM}GPU_UTIL", gpu=0) is None
    assert page.all("stoker_gpu_errors_total") == []


def test_a_replica_that_has_a_gpu_for_itself_is_on_all_its_series(tmp_path: Path) -> None:
    world = World.of(tmp_path, 3)
    with Machine(tmp_path) as machine:
        one, two, stranger = (machine.add_container(number, f"llama-{number}") for number in (1, 2, 3))
        machine.label(one, "llama", "llama-1")
        machine.label(two, "llama", "llama-2")
        machine.add_process(101, "python3", one)
        machine.add_process(102, "python3", one)
        machine.add_process(103, "vllm (worker)", two)
        machine.add_process(104, "Xorg", "")
        machine.add_process(105, "train", stranger)
        world.put(
            "processes",
            *("process 0 101 1000 -1", "process 0 102 500 -1", "process 0 104 4 -1"),  # one replica, and who draws
            *("process 1 101 10 -1", "process 1 103 20 -1"),  # two replicas
            *("process 2 105 30 -1", "process 2 999 40 -1"),  # none; 999 has ended by now
        )
        with RunningExporter(tmp_path, world, *machine.arguments) as exporter:
            page = exporter.page()
            exporter.page()

    user = {"pool", "replica"}
    users = {name: [set(page.all(DCGM + name, gpu=gpu)[0][0]) & user for gpu in range(3)] for name in VALUES}
    assert users == dict.fromkeys(VALUES, [user, set(), set()])
    assert page.value(f"{DCGM}GPU_UTIL", pool="llama", replica="llama-1") == 87
    memory = {
        (row["gpu"], row.get("container"), row.get("pool"), row.get("replica"), row.get("process")): bytes_used / 2**20
        for row, bytes_used in page.all("stoker_gpu_process_memory_bytes")
    }
    assert memory == {
        ("0", "llama-1", "llama", "llama-1", "python3"): 1500,
        ("0", None, None, None, "Xorg"): 4,
        ("1", "llama-1", "llama", "llama-1", "python3"): 10,
        ("1", "llama-2", "llama", "llama-2", "vllm (worker)"): 20,
        ("2", "llama-3", None, None, "train"): 30,
        ("2", None, None, None, None): 40,
    }
    assert sorted(machine.asked) == sorted({one, two, stranger}), "each container is asked about once"
    assert CONTAINER.fullmatch(one)


def test_instances_have_their_own_replicas(tmp_path: Path) -> None:
    world = World.of(tmp_path, 1)
    world.set(0, mig_mode=1)
    world.put("mig", "mig 0 1 3g.40gb 40000 30000", "mig 0 2 3g.40gb 40000 20000")
    world.put("processes", "process 0 101 1000 1", "process 0 102 1000 2")
    with Machine(tmp_path) as machine:
        for number in (1, 2):
            machine.add_process(100 + number, "engine", machine.add_container(number, f"c{number}"))
            machine.label(machine.add_container(number, f"c{number}"), "llama", f"llama-{number}")
        with RunningExporter(tmp_path, world, *machine.arguments) as exporter:
            page = exporter.page()

    assert page.value(f"{DCGM}FB_USED", GPU_I_ID=1, replica="llama-1") == 30000
    assert page.value(f"{DCGM}FB_USED", GPU_I_ID=2, replica="llama-2") == 20000
    assert "replica" not in page.all(f"{DCGM}GPU_TEMP")[0][0]


def test_a_replica_that_is_a_local_process_is_known_by_its_environment(tmp_path: Path) -> None:
    world = World.of(tmp_path, 2)
    world.put("processes", "process 0 201 1000 -1", "process 1 301 1000 -1")
    with Machine(tmp_path) as machine:
        marked = {"STOKER_REPLICA_DIR": "/x", "STOKER_POOL": "small", "STOKER_REPLICA": "small-7"}
        machine.add_process(200, "python3", "", environment=marked)
        machine.add_process(201, "engine", "", parent=200)
        machine.add_process(301, "engine", "", environment={"STOKER_POOL": "small", "STOKER_REPLICA": "small-8"})
        with RunningExporter(tmp_path, world, *machine.arguments) as exporter:
            page = exporter.page()

    assert page.value(f"{DCGM}GPU_UTIL", gpu=0, pool="small", replica="small-7") == 87
    assert "replica" not in page.all(f"{DCGM}GPU_UTIL", gpu=1)[0][0]


def test_a_docker_that_hangs_costs_a_moment_once(tmp_path: Path) -> None:
    world = World.of(tmp_path, 1)
    world.put("processes", "process 0 101 1000 -1")
    with Machine(tmp_path) as machine:
        container = machine.add_container(1, "llama-1")
        machine.label(container, "llama", "llama-1")
        machine.add_process(101, "python3", container)
        machine.silent = True
        with RunningExporter(tmp_path, world, *machine.arguments) as exporter:
            pages = [exporter.page() for _ in range(5)]

    assert [page.value(f"{DCGM}GPU_UTIL", gpu=0) for page in pages] == [87] * 5
    assert pages[-1].value("stoker_gpu_process_memory_bytes", container=container[:12]) == 1000 * 2**20
    assert len(machine.asked) == 1


def test_the_command_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "exporters.gpu", "--port", str(port)], capture_output=True, text=True, timeout=30
        )
    bad = subprocess.run(
        [sys.executable, "-m", "exporters.gpu", "--deadline", "0"], capture_output=True, text=True, timeout=30
    )

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use; choose another" in done.stderr
    assert bad.returncode == 2
    assert "0 is no deadline; give 0.01 to 60 seconds" in bad.stderr


def test_other_paths_are_not_found(tmp_path: Path) -> None:
    with (
        RunningExporter(tmp_path, None) as exporter,
        pytest.raises(urllib.error.HTTPError, match="404") as refused,
    ):
        urllib.request.urlopen(f"http://127.0.0.1:{exporter.port}/etc", timeout=10)
    refused.value.close()
