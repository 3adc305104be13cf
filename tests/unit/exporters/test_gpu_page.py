"""The GPU exporter's page, without a GPU: metrics, their text, and who gets which page."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from exporters.gpu import host
from exporters.gpu.collect import Gpus
from exporters.gpu.facts import Identity, Look, Owned, Owner, Process, Reading
from exporters.gpu.families import Page, families
from exporters.gpu.serve import Shared
from exporters.gpu.text import Family, labels, render
from tests.waiting import wait_for

ONE = Identity(0, "GPU-1", "nvidia0", "H100", "0000:01:00.0", "570")


def page(
    *looks: Look, up: bool | None = True, owned: dict[int, Owned] | None = None
) -> dict[str, list[tuple[str, float]]]:
    """What it says of these GPUs: labels and values by metric."""
    gpus = Gpus()
    gpus.take(looks, 5.0)
    told = Page("node", up, looks, tuple(gpus.known()), 0.25)
    return {family.name: family.samples for family in families(told, lambda pid: (owned or {}).get(pid, Owned()), 0.0)}


def test_without_nvml_there_is_nothing_to_miss() -> None:
    assert page(up=None) == {"stoker_gpu_scrape_duration_seconds": [("", 0.25)]}
    assert page(up=False)["stoker_gpu_nvml_up"] == [("", 0)]


@pytest.mark.parametrize(
    ("owners", "told"),
    [
        ((), ""),
        ((Owner("c"),), ""),
        ((Owner("c", "llama", "llama-1"),), ',pool="llama",replica="llama-1"'),
        ((Owner("c", "llama", "llama-1"), Owner("d", "llama", "llama-1")), ',pool="llama",replica="llama-1"'),
        ((Owner("c", "llama", "llama-1"), Owner("x")), ',pool="llama",replica="llama-1"'),
        ((Owner("c", "llama", "llama-1"), Owner("d", "llama", "llama-2")), ""),
        ((Owner("c", "llama", "a"), Owner("d", "qwen", "a")), ""),
    ],
)
def test_whose_gpu_it_is(owners: tuple[Owner, ...], told: str) -> None:
    processes = tuple(Process(pid, 1) for pid in range(len(owners)))
    owned = {pid: Owned("p", owner) for pid, owner in enumerate(owners)}

    said = page(Look(ONE, Reading({"GPU_UTIL": 7}, processes=processes)), owned=owned)

    plain = (
        'gpu="0",UUID="GPU-1",pci_bus_id="0000:01:00.0",device="nvidia0",modelName="H100",Hostname="node",'
        'DCGM_FI_DRIVER_VERSION="570"'
    )
    assert said["DCGM_FI_DEV_GPU_UTIL"] == [(f"{{{plain}{told}}}", 7)]
    assert said["DCGM_FI_DEV_XID_ERRORS"] == [(f"{{{plain}{told}}}", 0)]
    assert said["stoker_gpu_lost"] == [(f"{{{plain}}}", 0)], "what is counted keeps its labels, whoever uses it"


def test_memory_is_added_up_and_what_is_not_told_is_no_zero() -> None:
    processes = (Process(1, 10), Process(2, 20), Process(3, None), Process(4, 5))
    owned = {1: Owned("vllm", Owner("c")), 2: Owned("vllm", Owner("c")), 3: Owned("x", Owner("c")), 4: Owned("Xorg")}

    said = page(Look(ONE, Reading({"GPU_UTIL": 7}, processes=processes)), owned=owned)

    where = 'gpu="0",UUID="GPU-1",Hostname="node"'
    assert said["stoker_gpu_process_memory_bytes"] == [
        (f'{{{where},container="c",process="vllm"}}', 30),
        (f'{{{where},process="Xorg"}}', 5),
    ]


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.text(max_size=8), max_size=4), st.floats())
def test_whatever_a_label_says_a_parser_reads_it_back(values: dict[str, str], number: float) -> None:
    family = Family("a_metric", "gauge", "Help.")
    family.add(labels(values), number)

    (read,) = text_string_to_metric_families(render([family]).decode())
    (sample,) = read.samples
    assert sample.labels == {name: value for name, value in values.items() if value}
    assert repr(sample.value) == repr(number)


def test_counters_keep_the_names_that_the_dcgm_exporter_gives_them() -> None:
    said = render(
        families(Page("n", True, [Look(ONE, Reading({"PCIE_REPLAY_COUNTER": 3}))], (), 0.0), lambda _: Owned(), 0)
    )

    assert b"# TYPE DCGM_FI_DEV_PCIE_REPLAY_COUNTER counter\nDCGM_FI_DEV_PCIE_REPLAY_COUNTER{" in said
    assert b"DCGM_FI_DEV_GPU_UTIL" not in said, "a metric without samples is not announced"


def test_what_the_kernel_says_of_the_machine() -> None:
    stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 200 300 400 500 600 700 800 1 2\ncpu1 1 0 0 0\nintr 1 2\nctxt 5\n"
    (cpu,) = host.cpu(stat)
    ticks = host.os.sysconf("SC_CLK_TCK")
    assert dict(cpu.samples)['{cpu="0",mode="steal"}'] == 800 / ticks
    assert dict(cpu.samples)['{cpu="1",mode="user"}'] == 1 / ticks
    assert len(cpu.samples) == 8 + 4

    meminfo = "MemTotal:       2048 kB\nMemFree:  1 kB\nMemAvailable:    1024 kB\nHugePages_Total: 0\n"
    assert [(each.name, each.samples) for each in host.memory(meminfo)] == [
        ("node_memory_MemTotal_bytes", [("", 2048 * 1024)]),
        ("node_memory_MemAvailable_bytes", [("", 1024 * 1024)]),
    ]
    (load,) = host.load("0.52 0.58 0.59 1/389 12345\n")
    assert load.samples == [("", 0.52)]
    assert [*host.cpu(""), *host.memory(""), *host.load("")] == []


class CountingLock:
    """Knows how often it was taken."""

    def __init__(self) -> None:
        self.taken = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_who_asks_while_a_page_is_made_gets_the_same_one() -> None:
    made: list[int] = []
    go_on, lock = threading.Event(), CountingLock()

    def make() -> bytes:
        made.append(1)
        assert go_on.wait(20)
        return b"page %d" % len(made)

    shared, got = Shared(make), []
    shared._lock = lock  # type: ignore[assignment]
    clients = [threading.Thread(target=lambda: got.append(shared.page())) for _ in range(5)]
    for client in clients:
        client.start()
    wait_for(lambda: lock.taken == len(clients), 10, "all have asked")
    go_on.set()
    for client in clients:
        client.join(20)

    assert got == [b"page 1"] * 5
    assert shared.page() == b"page 2", "who comes later gets a new one"


def test_a_page_that_cannot_be_made_is_an_error_for_all_and_the_next_one_is_tried() -> None:
    answers = iter([ZeroDivisionError("broken"), b"page"])

    def make() -> bytes:
        answer = next(answers)
        if isinstance(answer, bytes):
            return answer
        raise answer

    shared = Shared(make)
    with pytest.raises(ZeroDivisionError):
        shared.page()
    assert shared.page() == b"page"
