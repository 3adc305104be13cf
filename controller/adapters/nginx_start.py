"""What a supervisor runs: ends what an earlier nginx of this folder left behind, then becomes nginx.

A master that was killed leaves workers that go on serving and hold the ports. They are told to finish their requests,
so that a stream outlives even that. Standard library only and apart from `nginx`: users wait while this starts.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

_POLLS = 200  # of 10 ms; then nginx itself tries to bind for another 2.5 s


def main(arguments: list[str]) -> None:
    """`start FOLDER BINARY`. Replaces this process; returns never."""
    folder, binary = arguments
    os.chdir(folder)  # by their working directory the workers are found again
    end_leftovers(Path(folder).resolve())
    for name in ("hold.sock", "again.sock", "void.sock", "control/control.sock", "hot/look.sock"):
        Path(name).unlink(missing_ok=True)  # of a master that was killed: nginx does not bind over it
    # The prefix is relative: as nobody a worker may not be able to come here, but it is here already.
    os.execv(binary, [binary, "-p", "./", "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"])


def end_leftovers(folder: Path) -> None:
    """Kill a leftover master and ask leftover workers to finish. Blocks for at most 2 s."""
    for pid, title in _processes(folder):
        # A master that exits by itself would delete the pid file of the next one.
        _signal(pid, signal.SIGKILL if "master process" in title else signal.SIGQUIT)
    for _ in range(_POLLS):
        if all("shutting down" in title for _, title in _processes(folder)):
            return
        threading.Event().wait(0.01)


def _processes(folder: Path) -> Iterator[tuple[int, str]]:
    """Pid and title of each nginx process that was started in `folder`, masters first."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if title.startswith("nginx: ") and os.readlink(entry / "cwd") == str(folder):
                found.append((int(entry.name), title))
        except OSError:
            continue
    return iter(sorted(found, key=lambda one: ("master process" not in one[1], one[0])))


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    main(sys.argv[1:])
