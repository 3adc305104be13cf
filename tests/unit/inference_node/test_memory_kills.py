"""Was there a kill for memory in this container, as the kernel's files tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference_node.cgroups import parse_kills
from inference_node.memory_kills import MemoryKills

V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n"
V2 = "low 0\nhigh 0\nmax 7\noom 3\noom_kill {kills}\noom_group_kill 9\n"


def container(folder: Path, name: str, text: str) -> Path:
    """A /proc in `folder`, and the file of that name in the cgroup that it points to, which is returned."""
    (folder / "self").mkdir()
    unified = name == "memory.events"
    (folder / "self/cgroup").write_text("0::/\n" if unified else "4:memory:/\n")
    kind, options = ("cgroup2", "rw") if unified else ("cgroup", "rw,memory")
    (folder / "self/mountinfo").write_text(f"30 24 0:26 / {folder} ro - {kind} cgroup {options}\n")
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(("name", "text"), [("memory.oom_control", V1), ("memory.events", V2)], ids=["v1", "v2"])
def test_a_kill_is_one_since_then(tmp_path: Path, name: str, text: str) -> None:
    kernel = container(tmp_path, name, text.format(kills=5))
    kills = MemoryKills(1, tmp_path)

    assert not kills.happened(), "those before do not count"
    kernel.write_text(text.format(kills=6))
    assert kills.happened()


def test_it_is_not_known_beside_strangers(tmp_path: Path) -> None:
    kernel = container(tmp_path, "memory.events", V2.format(kills=0))
    kills = MemoryKills(4711, tmp_path)
    kernel.write_text(V2.format(kills=1))

    assert not kills.happened()


def test_it_is_not_known_where_the_kernel_does_not_tell(tmp_path: Path) -> None:
    assert not MemoryKills(1, tmp_path).happened()
    kernel = container(tmp_path, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n")
    kills = MemoryKills(1, tmp_path)
    kernel.write_text(V1.format(kills=1))
    assert not kills.happened(), "how many there were before is not known"
    kernel.unlink()
    assert not kills.happened()


@pytest.mark.parametrize("text", ["", "oom_kill_disable 0\n", "oom_kill x\n"])
def test_what_does_not_tell_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_kills(text)
