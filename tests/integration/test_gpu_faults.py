"""The GPU exporter as a process, on a stub of NVML: what becomes of its page when something breaks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.gpu_machine import Machine
from tests.integration.test_gpu_exporter import DCGM, HOST, VALUES
from tests.nvml.exporter import Page, RunningExporter
from tests.nvml.library import (
    DRIVER_NOT_LOADED,
    EVERYTHING,
    LIBRARY_MISMATCH,
    LOST,
    NO_PERMISSION,
    POWER,
    PROCESSES,
    UNKNOWN,
    World,
)
from tests.waiting import wait_for

DEADLINE_S = 0.3
UTIL = f"{DCGM}GPU_UTIL"


def told(page: Page, gpu: int) -> set[str]:
    """The values that the page has of a GPU, XIDs apart: those are remembered, not read."""
    return {name for name in VALUES if name != "XID_ERRORS" and page.all(DCGM + name, gpu=gpu)}


def test_a_machine_without_nvml_tells_of_itself_and_says_so_once(tmp_path: Path) -> None:
    with RunningExporter(tmp_path, None) as exporter:
        pages = [exporter.page() for _ in range(3)]

    assert [page.names() for page in pages] == [HOST | {"stoker_gpu_scrape_duration_seconds"}] * 3
    assert (pages[0].value("node_memory_MemTotal_bytes") or 0) > (pages[0].value("node_memory_MemAvailable_bytes") or 0)
    assert {labels["mode"] for labels, _ in pages[0].all("node_cpu_seconds_total", cpu=0)} >= {"user", "idle", "iowait"}
    assert exporter.said().count("\n") == 1
    assert "this machine has no NVML (libnvidia-ml.so.1): it tells CPU, memory and load only" in exporter.said()


def test_a_lost_gpu_loses_its_values_and_no_other_does(tmp_path: Path) -> None:
    world = World.of(tmp_path, 3)
    with RunningExporter(tmp_path, world) as exporter:
        before = exporter.page()
        world.xid(1, 79)
        exporter.until(f"{DCGM}XID_ERRORS", 79, gpu=1)
        world.put("lost", f"fail 1 {EVERYTHING} {LOST}")
        page = exporter.until("stoker_gpu_lost", 1, gpu=1)
        later = exporter.page()
        world.put("lost")
        back = exporter.until("stoker_gpu_lost", 0, gpu=1)

    assert told(before, 1) == told(before, 0)
    assert told(page, 1) == told(later, 1) == set()
    assert [told(page, gpu) == told(before, gpu) for gpu in (0, 2)] == [True, True]
    assert [page.value("stoker_gpu_lost", gpu=gpu) for gpu in (0, 2)] == [0, 0]
    assert page.value(f"{DCGM}XID_ERRORS", gpu=1) == 79, "why it is lost"
    stamp = "stoker_gpu_last_success_timestamp_seconds"
    assert later.value(stamp, gpu=1) == page.value(stamp, gpu=1), "it stands still"
    assert (later.value(stamp, gpu=0) or 0) > (before.value(stamp, gpu=0) or 0)
    assert page.all("stoker_gpu_errors_total", gpu=1, error="gpu_is_lost")
    assert told(back, 1) == told(before, 1)
    assert back.value(f"{DCGM}XID_ERRORS", gpu=1) == 0
    assert exporter.said().count("GPU 1 (GPU-00000001) is lost") == 1
    assert exporter.said().count("GPU 1 (GPU-00000001) is back") == 1


def test_one_call_that_fails_takes_one_value(tmp_path: Path) -> None:
    world = World.of(tmp_path, 1)
    with RunningExporter(tmp_path, world) as exporter:
        before = exporter.page()
        world.put("fault", f"fail 0 {POWER} {UNKNOWN}")
        page = exporter.page()
        exporter.until(UTIL, 87)
        counted = wait_for(
            lambda: exporter.page().value("stoker_gpu_errors_total", error="unknown"), 20, "the fault is counted"
        )

    assert told(before, 0) - told(page, 0) == {"POWER_USAGE"}
    assert counted >= 2
    assert page.value("stoker_gpu_lost", gpu=0) == 0


def test_a_call_that_hangs_holds_up_neither_the_page_nor_the_other_gpus(tmp_path: Path) -> None:
    world = World.of(tmp_path, 4)
    with RunningExporter(tmp_path, world, "--deadline", str(DEADLINE_S)) as exporter:
        before = exporter.page()
        world.put("hang", f"hang 2 {POWER}")
        first = exporter.page()
        threads = exporter.process.num_threads()
        later = [exporter.page() for _ in range(10)]
        wait_for(lambda: exporter.process.num_threads() <= threads, 10, "no thread was added")
        world.put("hang")
        back = exporter.until(f"{DCGM}POWER_USAGE", 512.345, gpu=2)

    for page in (first, *later):
        assert told(page, 2) == set()
        assert [told(page, gpu) == told(before, gpu) for gpu in (0, 1, 3)] == [True] * 3
        assert page.value("stoker_gpu_lost", gpu=2) == 0, "silent is not lost"
    # The deadline is the exporter's own promise, and this its own clock: 0.3 s, and a second for a busy machine.
    took = [page.value("stoker_gpu_scrape_duration_seconds") or 0 for page in (first, *later)]
    assert DEADLINE_S <= took[0] < DEADLINE_S + 1
    assert min(took[1:]) < DEADLINE_S, "it is not waited for again and again"
    assert later[-1].all("stoker_gpu_errors_total", gpu=2, error="deadline")
    assert told(back, 2) == told(before, 2)
    assert exporter.said().count("GPU 2 (GPU-00000002) does not answer") == 1


def test_it_ends_while_a_call_hangs(tmp_path: Path) -> None:
    world = World.of(tmp_path, 1)
    world.put("hang", f"hang 0 {POWER}")
    with RunningExporter(tmp_path, world, "--deadline", str(DEADLINE_S)) as exporter:
        exporter.process.terminate()
        assert exporter.process.wait(10) == 0


def test_a_gpu_that_hangs_before_it_tells_who_it_is(tmp_path: Path) -> None:
    world = World.of(tmp_path, 2)
    world.put("hang", "hang 1 nvmlDeviceGetUUID")
    with RunningExporter(tmp_path, world, "--deadline", str(DEADLINE_S)) as exporter:
        page = exporter.page()
        exporter.until(UTIL, 87, gpu=0)
        world.put("hang")
        back = exporter.until(UTIL, 87, gpu=1)

    assert told(page, 1) == set()
    assert page.all("stoker_gpu_errors_total", gpu=1, error="deadline")
    assert [labels["UUID"] for labels, _ in back.all("stoker_gpu_lost")] == ["GPU-00000000", "GPU-00000001"]


def test_a_driver_that_is_loaded_anew(tmp_path: Path) -> None:
    world = World.of(tmp_path, 2)
    with RunningExporter(tmp_path, world) as exporter:
        before = exporter.page()
        world.put("reload", "reload 1")
        without = exporter.page()
        back = exporter.until(UTIL, 87, gpu=0)
        world.xid(1, 31)
        exporter.until(f"{DCGM}XID_ERRORS", 31, gpu=1)

    assert told(without, 0) == told(without, 1) == set(), "nothing is repeated"
    assert told(back, 0) == told(before, 0)
    assert [back.value("stoker_gpu_lost", gpu=gpu) for gpu in (0, 1)] == [0, 0]
    assert "NVML is initialised anew: uninitialized" in exporter.said()
    assert exporter.said().count("NVML is up: 2 GPUs, driver 570.86.15") == 2


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (UNKNOWN, "NVML cannot be initialised: Unknown Error. In a container .* start the container anew"),
        (DRIVER_NOT_LOADED, "load it with `modprobe nvidia`"),
        (NO_PERMISSION, "somebody who may open /dev/nvidiactl"),
        (LIBRARY_MISMATCH, "of different versions"),
        (LOST, "a reset or a reboot helps"),
        (8, "NVML cannot be initialised: insufficient_power"),
    ],
    ids=str,
)
def test_an_nvml_that_does_not_start_is_tried_again(tmp_path: Path, code: int, advice: str) -> None:
    world = World.of(tmp_path, 1)
    world.put("init", f"init {code}")
    with RunningExporter(tmp_path, world) as exporter:
        page = exporter.page()
        world.put("init")
        exporter.until(UTIL, 87, gpu=0)

    assert page.value("stoker_gpu_nvml_up") == 0
    assert page.names() >= HOST
    first, second = exporter.said().splitlines()
    assert re.search(advice, first), first
    assert "NVML is up: 1 GPU, driver" in second


def test_an_initialisation_that_hangs(tmp_path: Path) -> None:
    world = World.of(tmp_path, 1)
    world.put("hang", "hang * nvmlInitWithFlags")
    with RunningExporter(tmp_path, world, "--deadline", str(DEADLINE_S)) as exporter:
        page = exporter.page()
        world.put("hang")
        exporter.until(UTIL, 87, gpu=0)

    assert page.value("stoker_gpu_nvml_up") == 0
    assert page.names() >= HOST


def test_a_container_that_its_gpus_were_taken_from(tmp_path: Path) -> None:
    world = World.of(tmp_path, 2)
    with RunningExporter(tmp_path, world) as exporter:
        world.put("cgroup", f"fail * {EVERYTHING} {UNKNOWN}", f"init {UNKNOWN}")
        page = exporter.until("stoker_gpu_nvml_up", 0)
        wait_for(lambda: "start the container anew" in exporter.said(), 20, "what helps is said")
        world.put("cgroup")
        exporter.until(UTIL, 87, gpu=1)

    assert told(page, 0) == told(page, 1) == set()


def test_gpus_that_come_and_go_are_known_by_their_uuids(tmp_path: Path) -> None:
    world = World.of(tmp_path, 3)
    world.set(2, util=22)
    world.show(0, 1)
    with Machine(tmp_path) as machine:
        machine.show_gpus("0000:01:00.0", "0000:02:00.0")
        with RunningExporter(tmp_path, world, *machine.arguments) as exporter:
            exporter.until(UTIL, 87, UUID="GPU-00000000", gpu=0)
            world.show(2, 1)  # the first one is exchanged
            lost = exporter.until("stoker_gpu_lost", 1, UUID="GPU-00000000")
            machine.show_gpus("0000:02:00.0", "0000:03:00.0")
            other = exporter.until(UTIL, 22, UUID="GPU-00000002", gpu=0)
            world.show(0, 1, 2)
            machine.show_gpus("0000:01:00.0", "0000:02:00.0", "0000:03:00.0")
            back = exporter.until(UTIL, 87, UUID="GPU-00000000", gpu=0)

    assert lost.all(UTIL, UUID="GPU-00000000") == []
    assert lost.value(UTIL, UUID="GPU-00000001") == 87
    assert other.value("stoker_gpu_lost", UUID="GPU-00000000") == 1, "it is gone, and not forgotten"
    assert other.value(UTIL, UUID="GPU-00000001") == 87
    assert {labels["UUID"]: value for labels, value in back.all("stoker_gpu_lost")} == {
        "GPU-00000000": 0,
        "GPU-00000001": 0,
        "GPU-00000002": 0,
    }
    assert "NVML is initialised anew: there are other GPUs than before" in exporter.said()


def test_a_gpu_that_comes_waits_for_one_that_hangs(tmp_path: Path) -> None:
    world = World.of(tmp_path, 3)
    world.show(0, 1)
    with Machine(tmp_path) as machine:
        machine.show_gpus("0000:01:00.0", "0000:02:00.0")
        with RunningExporter(tmp_path, world, "--deadline", str(DEADLINE_S), *machine.arguments) as exporter:
            exporter.until(UTIL, 87, gpu=1)
            world.put("hang", f"hang 1 {POWER}")
            hung = exporter.page()
            world.show(0, 1, 2)
            machine.show_gpus("0000:01:00.0", "0000:02:00.0", "0000:03:00.0")
            wait_for(lambda: exporter.page().value("stoker_gpu_errors_total", error="deadline"), 20, "it is counted")
            before = exporter.page()
            world.put("hang")
            exporter.until(UTIL, 87, UUID="GPU-00000002")

    assert told(hung, 1) == set()
    assert before.value(UTIL, gpu=0) == 87, "its values are not given up for those of the new one"
    assert before.value("stoker_gpu_nvml_up") == 1


def test_processes_that_may_not_be_seen(tmp_path: Path) -> None:
    world = World.of(tmp_path, 1)
    world.put("hidden", f"fail 0 {PROCESSES} {NO_PERMISSION}")
    with RunningExporter(tmp_path, world) as exporter:
        page = exporter.page()
        exporter.page()
        counted = wait_for(
            lambda: exporter.page().value("stoker_gpu_errors_total", error="no_permission"), 20, "it is counted"
        )

    assert told(page, 0) == set(VALUES) - {"XID_ERRORS"}
    assert page.all("stoker_gpu_process_memory_bytes") == []
    assert counted >= 2
    assert exporter.said().count("GPU 0 does not show this user its processes") == 1


def test_events_that_a_gpu_does_not_have_are_no_error(tmp_path: Path) -> None:
    world = World.of(tmp_path, 1)
    world.put("no events", "fail 0 nvmlDeviceRegisterEvents 3")
    with RunningExporter(tmp_path, world) as exporter:
        page = exporter.page()

    assert page.value(f"{DCGM}XID_ERRORS", gpu=0) == 0
    assert page.all("stoker_gpu_errors_total") == []
