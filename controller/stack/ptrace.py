"""Stop one thread of another process, as a bug in a driver or a deadlock would. Linux, on the machine of the process.

The process itself goes on: its other threads answer, and nobody who asks for its state sees that it is stopped.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17  # of PTRACE_
_WAIT_FOR_THREADS = 0x40000000  # __WALL
_BURY_S = 0.05


class CannotFreeze(Exception):
    """The thread cannot be stopped. The text is one sentence that says why and what would be right."""


def busiest_thread(pid: int) -> int:
    """The thread of `pid` that has used the most CPU time so far: in an engine under load one of those that compute.

    Raises:
        CannotFreeze: there is no such process.
    """
    times = {tid: ticks for tid in _threads(pid) if (ticks := _cpu_ticks(pid, tid)) is not None}
    if not times:
        raise CannotFreeze(f"There is no process {pid}; name one that runs.")
    return max(times, key=lambda tid: times[tid])


@contextlib.contextmanager
def frozen_thread(pid: int, tid: int) -> Iterator[None]:
    """`tid` of `pid` stands still within the block and goes on behind it, also where the caller dies in the block.

    Blocks until it stands still: microseconds, or as long as the thread waits for a disk. The block must end in the
    thread in which it began: only that one may let go. A process that is killed within it dies at once; of a child of
    the caller's own the exit status is lost then.

    Raises:
        CannotFreeze: there is no such thread, another debugger has it, or this user may not trace it.
    """
    if not Path(f"/proc/{pid}/task/{tid}").is_dir():
        raise CannotFreeze(f"There is no thread {tid} of process {pid}; name one that runs.")
    over = threading.Event()
    undertaker = threading.Thread(target=_bury, args=(tid, over), name="undertaker", daemon=True)
    _ptrace(_SEIZE, tid)
    try:
        _ptrace(_INTERRUPT, tid)
        with contextlib.suppress(ChildProcessError):  # it is gone, and so is what was to be stopped
            os.waitpid(tid, _WAIT_FOR_THREADS)
        undertaker.start()
        yield
    finally:
        over.set()
        if undertaker.ident is not None:
            undertaker.join()
        with contextlib.suppress(CannotFreeze):  # it was killed meanwhile
            _ptrace(_DETACH, tid)


def _bury(tid: int, over: threading.Event) -> None:
    """Take note of its death. Until its tracer does, a dead thread keeps its whole process from ending."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(tid, _WAIT_FOR_THREADS | os.WNOHANG) == (0, 0) and not over.wait(_BURY_S):
            pass


def _ptrace(request: int, tid: int) -> None:
    call = ctypes.CDLL(None, use_errno=True).ptrace
    call.restype, call.argtypes = ctypes.c_long, [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if call(request, tid, None, None) == -1:
        error = os.strerror(ctypes.get_errno())
        raise CannotFreeze(f"Thread {tid} cannot be stopped ({error}); it takes root, and no other debugger on it.")


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _cpu_ticks(pid: int, tid: int) -> int | None:
    """None where it has ended by now."""
    try:
        text = Path(f"/proc/{pid}/task/{tid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return int(fields[11]) + int(fields[12])
