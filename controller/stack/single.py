"""One `stoker up` at a time, and one way for it to be told to stop."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from controller.installation import Layout
from controller.stack.trouble import Trouble

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def only_one(layout: Layout) -> Iterator[None]:
    """Hold the installation's lock for the length of the body. The kernel lets go of it however we end.

    Raises:
        Trouble: another `stoker up` holds it, or the state directory cannot be written.
    """
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Trouble(f"the state directory {layout.root} cannot be used: {error.strerror}") from error
    with locked(layout.root / "up.lock", f"another `stoker up` uses the state directory {layout.root}"):
        yield


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold the kernel's lock on a file for the length of the body; it lets go however we end.

    Raises:
        Trouble: another process holds it, with the sentence `busy`; or the file cannot be written.
    """
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Trouble(f"the state directory {path.parent} cannot be used: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Trouble(busy) from error
        yield
    finally:
        os.close(lock)


def _deaf(number: int, frame: FrameType | None) -> None:
    """Not SIG_IGN: Python prints a traceback for a signal that arrived just before it was set."""


@contextmanager
def interruptible() -> Iterator[None]:
    """In the body SIGTERM and SIGHUP do what Ctrl-C does: raise `KeyboardInterrupt`, the first of them only."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        # Here and not where it is caught: an impatient second one must not find a gap between the two.
        for other in _STOPPING:
            signal.signal(other, _deaf)
        raise KeyboardInterrupt

    before = [(number, signal.signal(number, interrupt)) for number in _STOPPING]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextmanager
def postponed() -> Iterator[None]:
    """In the body those signals wait; the first of them comes at its end. For what must be done whole, amid a course
    that is to end all the same."""
    heard: list[int] = []
    before = [(number, signal.signal(number, lambda number, frame: heard.append(number))) for number in _STOPPING]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    if heard:
        signal.raise_signal(heard[0])


@contextmanager
def undisturbed() -> Iterator[None]:
    """In the body those signals do nothing: a second Ctrl-C must not leave half of it running."""
    before = [(number, signal.signal(number, _deaf)) for number in _STOPPING]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
