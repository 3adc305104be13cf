"""Was the engine killed for memory? The exit status says only "signal 9", which a person can send too."""

from __future__ import annotations

import os
from pathlib import Path

from inference_node.cgroups import KILLS_V1, KILLS_V2, locate, parse_kills


class MemoryKills:
    """Counts what the kernel killed in this container for memory since this was made.

    Only where `root` is process 1: then nothing else is in its cgroup. Elsewhere a kill may have been a stranger's.
    """

    def __init__(self, root: int | None = None, proc: Path = Path("/proc")) -> None:
        self._file = _file(proc) if (root or os.getpid()) == 1 else None
        self._before = self._count()

    def happened(self) -> bool:
        """Whether there was one; False where it is not known. The kernel counts before it kills."""
        now = self._count()
        return self._before is not None and now is not None and now > self._before

    def _count(self) -> int | None:
        try:
            return None if self._file is None else parse_kills(self._file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None


def _file(proc: Path) -> Path | None:
    try:
        folder = locate("memory", (proc / "self/cgroup").read_text(), (proc / "self/mountinfo").read_text())
    except OSError:
        return None
    return None if folder is None else folder.path / (KILLS_V2 if folder.unified else KILLS_V1)
