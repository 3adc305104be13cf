"""Every process of an installation, whoever started it and whether or not its parent still lives."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from functools import partial

import psutil

from controller.installation import Layout
from controller.stack.waiting import wait_until

# In the environment of supervisord, and so of everything below it. Not STOKER_STATE_DIR: a user may have that in a
# shell of theirs, and the shell is none of ours.
MARK = "STOKER_INSTALLATION"
_PATIENCE_S = 5.0


def processes(layout: Layout) -> list[psutil.Process]:
    """The processes of this installation, this one and its ancestors never among them."""
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    marked = [process for process in psutil.process_iter() if process.pid not in spared and _belongs(process, layout)]
    # A container's first process does not carry the mark, but a dockerd of our own does, and its shims.
    found = {process.pid: process for process in marked}
    for process in marked:
        for child in _children(process):
            if child.pid not in spared and _lives(child):
                found.setdefault(child.pid, child)
    return list(found.values())


def end(victims: Iterable[psutil.Process]) -> None:
    """SIGTERM to all, and SIGKILL to those that are still there after 5 s. Blocks for at most 10 s."""
    alive = [process for process in victims if _lives(process)]
    for signal_one in (psutil.Process.terminate, psutil.Process.kill):
        for process in alive:
            with contextlib.suppress(psutil.Error):  # it is gone, or not ours to end
                signal_one(process)
        wait_until(partial(_all_gone, alive), _PATIENCE_S)
        alive = [process for process in alive if _lives(process)]


def runs_module(process: psutil.Process, module: str) -> bool:
    """Whether it is `python -m MODULE`."""
    try:
        return module in process.cmdline()
    except psutil.Error:
        return False


def describe(process: psutil.Process) -> str:
    """NAME (pid N)."""
    try:
        return f"{process.name()} (pid {process.pid})"
    except psutil.Error:
        return f"pid {process.pid}"


def _all_gone(processes: Iterable[psutil.Process]) -> bool:
    return not any(map(_lives, processes))


def _lives(process: psutil.Process) -> bool:
    """A zombie does not: it only waits for its parent, which may be slow to look."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _belongs(process: psutil.Process, layout: Layout) -> bool:
    try:
        if process.environ().get(MARK) == str(layout.root):
            return True
    except (psutil.Error, OSError):
        pass
    try:
        # nginx writes its title over its environment, so its mark is the folder that it works in.
        return process.name() == "nginx" and process.cwd() == str(layout.gateway)
    except (psutil.Error, OSError):
        return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []
