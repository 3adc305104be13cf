"""What a replica uses: texts of the kernel, and a small /proc and cgroup in a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from inference_node.cgroups import (
    Folder,
    locate,
    parse_cpu_max,
    parse_limit,
    parse_quota,
    parse_working_set,
)
from inference_node.procfs import HostMemory, Process, parse_children, parse_meminfo, parse_stat
from inference_node.resources import Resources, Usage

GIB = 1024**3
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
MEMINFO = "MemTotal:        8388608 kB\nMemFree:          100000 kB\nMemAvailable:    6291456 kB\nBuffers:   1 kB\n"


def stat(pid: int, ticks: int, pages: int, born: int = 70, name: str = "python3") -> str:
    """Half of the ticks are the process's own, half those of children that it has waited for."""
    own, waited = ticks - ticks // 2, ticks // 2
    return f"{pid} ({name}) S 1 1 1 0 -1 4194560 100 0 0 0 {own} 0 {waited} 0 20 0 7 0 {born} 99999 {pages} 18446\n"


@pytest.mark.parametrize("name", ["python3", "a b", "x) S 1 (y", "((("])
def test_stat_is_read_behind_the_name(name: str) -> None:
    assert parse_stat(stat(7, 31, 12, 70, name)) == Process(cpu_ticks=31, born=70, resident_pages=12)


def test_meminfo() -> None:
    assert parse_meminfo(MEMINFO) == HostMemory(8 * GIB, 6 * GIB)
    assert parse_meminfo(MEMINFO).used_ratio == 0.25
    assert parse_children("12 13 \n") == (12, 13)


@pytest.mark.parametrize("text", ["", "7 (python3", "7 (python3) S 1 2 3", "7 (a) " + "x " * 40])
def test_a_cut_off_stat_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_stat(text)


@pytest.mark.parametrize(
    "text", ["", "MemTotal: 5 kB", "MemTotal:\nMemAvailable:", "MemTotal: 0 kB\nMemAvailable: 0 kB"]
)
def test_an_incomplete_meminfo_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_meminfo(text)


V1_MOUNTS = """31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V1_GROUPS = "4:memory:{path}\n2:cpu,cpuacct:{path}\n1:name=systemd:/x\n0::/x\n"
V2_MOUNTS = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
PLACES = [
    pytest.param(
        "cpu", "0::/\n", V2_MOUNTS, Folder(Path("/sys/fs/cgroup"), True), id="v2: a container sees itself as the root"
    ),
    pytest.param(
        "memory",
        "0::/system.slice/docker-a.scope\n",
        V2_MOUNTS,
        Folder(Path("/sys/fs/cgroup/system.slice/docker-a.scope"), True),
        id="v2: the host's view",
    ),
    pytest.param(
        "memory",
        V1_GROUPS.format(path="/docker/a"),
        V1_MOUNTS.format(root="/docker/a"),
        Folder(Path("/sys/fs/cgroup/memory"), False),
        id="v1: a container, whose path is the host's",
    ),
    pytest.param(
        "cpu",
        V1_GROUPS.format(path="/docker/a"),
        V1_MOUNTS.format(root="/"),
        Folder(Path("/sys/fs/cgroup/cpu,cpuacct/docker/a"), False),
        id="v1: the host, two controllers in one",
    ),
    pytest.param(
        "cpu",
        "5:memory:/a\n0::/b\n",
        V1_MOUNTS.format(root="/"),
        Folder(Path("/sys/fs/cgroup/unified/b"), True),
        id="both: what v1 does not have is v2's",
    ),
    pytest.param("cpu", "", V2_MOUNTS, None, id="no membership"),
    pytest.param("cpu", "0::/\n", "", None, id="no mount"),
    pytest.param("cpu", "nonsense", "nonsense", None, id="nonsense"),
]


@pytest.mark.parametrize(("controller", "groups", "mounts", "want"), PLACES)
def test_where_a_controller_is(controller: str, groups: str, mounts: str, want: Folder | None) -> None:
    assert locate(controller, groups, mounts) == want


def test_what_cgroup_files_say() -> None:
    assert parse_working_set("1000\n", "anon 5\ninactive_file 300\n", "inactive_file") == 700
    assert parse_working_set("100\n", "total_inactive_file 300\n", "total_inactive_file") == 0
    assert (parse_limit("max\n"), parse_limit("9223372036854771712\n")) == (None, 9223372036854771712)
    assert (parse_cpu_max("max 100000\n"), parse_cpu_max("150000 100000\n")) == (None, 1.5)
    assert (parse_quota("-1\n", "100000\n"), parse_quota("50000", "100000")) == (None, 0.5)


@pytest.mark.parametrize(
    "parse",
    [
        pytest.param(lambda: parse_working_set("1000", "inactive_anon 1", "inactive_file"), id="no inactive cache"),
        pytest.param(lambda: parse_working_set("", "inactive_file 1", "inactive_file"), id="no usage"),
        pytest.param(lambda: parse_cpu_max("100"), id="half a quota"),
        pytest.param(lambda: parse_quota("0", "100000"), id="no quota"),
        pytest.param(lambda: parse_quota("100", ""), id="no period"),
    ],
)
def test_a_cgroup_file_that_makes_no_sense_is_refused(parse: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse()  # type: ignore[operator]


class Kernel:
    """A /proc, and a cgroup beside it."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.cgroup = folder / "proc", folder / "cgroup"
        self.put("proc/meminfo", MEMINFO)
        self.put("proc/self/cgroup", "0::/\n")
        self.put("proc/self/mountinfo", f"30 24 0:26 / {self.cgroup} rw - cgroup2 cgroup2 rw\n")
        self.process(1, ticks=100, pages=10, children={1: (), 3: (7,)})
        self.process(7, ticks=300, pages=50)

    def put(self, path: str, text: str) -> None:
        file = self.proc.parent / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def process(
        self, pid: int, ticks: int, pages: int, born: int = 70, children: dict[int, tuple[int, ...]] | None = None
    ) -> None:
        self.put(f"proc/{pid}/stat", stat(pid, ticks, pages, born))
        for thread, pids in (children or {pid: ()}).items():
            self.put(f"proc/{pid}/task/{thread}/children", " ".join(map(str, pids)))

    def end(self, pid: int) -> None:
        (self.proc / str(pid) / "stat").unlink()

    def resources(self, threads: int = 64, root: int = 1) -> Resources:
        return Resources(threads, root, self.proc)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


CORES = float(len(os.sched_getaffinity(0)))
TREE = Usage(400 * TICK_S, CORES, 60 * PAGE, 8 * GIB, 0.25)


def test_without_a_container_the_tree_counts(kernel: Kernel) -> None:
    assert kernel.resources().read() == TREE


def test_process_1_has_the_containers_memory_and_limit(kernel: Kernel) -> None:
    kernel.put("cgroup/memory.current", "1000\n")
    kernel.put("cgroup/memory.stat", "inactive_file 400\n")
    kernel.put("cgroup/memory.max", "max\n")
    assert kernel.resources().read() == replace(TREE, memory_bytes=600)

    kernel.put("cgroup/memory.max", str(GIB))
    assert kernel.resources().read() == replace(TREE, memory_bytes=600, memory_limit_bytes=GIB)
    kernel.process(2, ticks=400, pages=60)
    assert kernel.resources(root=2).read() == TREE, "any other process shares its cgroup with strangers"


def test_cgroup_v1(kernel: Kernel) -> None:
    kernel.put("proc/self/cgroup", "3:cpu:/a\n4:memory:/a\n0::/a\n")
    mounts = "\n".join(
        f"3{name} 1 0:1 /a {kernel.cgroup}/{name} rw - cgroup cgroup rw,{name}" for name in ("cpu", "memory")
    )
    kernel.put("proc/self/mountinfo", mounts)
    kernel.put("cgroup/memory/memory.usage_in_bytes", "1000")
    kernel.put("cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 300\n")
    kernel.put("cgroup/memory/memory.limit_in_bytes", "9223372036854771712")
    kernel.put("cgroup/cpu/cpu.cfs_period_us", "100000")
    kernel.put("cgroup/cpu/cpu.cfs_quota_us", "25000")

    assert kernel.resources().read() == replace(TREE, cpu_cores=0.25, memory_bytes=700)


@pytest.mark.parametrize(
    ("threads", "quota", "want"),
    [
        pytest.param(64, "max 100000", CORES, id="all that it may run on"),
        pytest.param(1, "max 100000", 1.0, id="no more than it has threads"),
        pytest.param(64, "50000 100000", 0.5, id="no more than its quota"),
        pytest.param(1, "nonsense", 1.0, id="a quota that cannot be read is none"),
    ],
)
def test_cores(kernel: Kernel, threads: int, quota: str, want: float) -> None:
    kernel.put("cgroup/cpu.max", quota)

    assert kernel.resources(threads).read().cpu_cores == want


def test_what_cannot_be_read_is_unknown(kernel: Kernel, tmp_path: Path) -> None:
    for name in ("memory.current", "memory.stat", "memory.max"):
        kernel.put(f"cgroup/{name}", "nonsense")
    kernel.put("proc/meminfo", "nonsense")
    kernel.put("proc/1/stat", "nonsense")

    assert kernel.resources().read() == Usage(cpu_cores=CORES)
    assert Resources(64, 1, tmp_path / "nowhere").read() == Usage(cpu_cores=CORES)


def test_cpu_time_never_goes_back(kernel: Kernel) -> None:
    resources = kernel.resources()
    assert resources.read().cpu_seconds == 400 * TICK_S

    kernel.end(7)
    assert resources.read() == replace(TREE, memory_bytes=10 * PAGE), "not yet waited for"
    kernel.process(1, ticks=450, pages=10)
    assert resources.read().cpu_seconds == 450 * TICK_S


def test_a_number_that_another_process_got_is_not_ours(kernel: Kernel) -> None:
    resources = kernel.resources()
    resources.read()
    kernel.process(1, ticks=400, pages=10)
    kernel.put("proc/1/task/3/children", "")
    kernel.process(7, ticks=9999, pages=9999, born=71)

    assert resources.read() == replace(TREE, memory_bytes=10 * PAGE)


def test_the_real_kernel_tells() -> None:
    busy = "import sys; sum(range(2_000_000)); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        alone, together = Resources(1, child.pid).read(), Resources(1).read()
        child.kill()

    for usage in (alone, together):
        assert usage.cpu_cores == 1.0
        assert 0 < (usage.host_memory_used_ratio or 0) <= 1
        assert 0 < (usage.memory_bytes or 0) < (usage.memory_limit_bytes or 0)
    assert (together.cpu_seconds or 0) > (alone.cpu_seconds or 0) > 0
    assert (together.memory_bytes or 0) > (alone.memory_bytes or 0)
