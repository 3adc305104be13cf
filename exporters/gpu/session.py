"""Keeps NVML initialised, in a thread of its own: each part of it may fail, or hang.

A session lasts until a call says that it is over (a driver that was loaded anew), or until there are other GPUs than at
its beginning: NVML itself only looks when it is initialised. It is not ended while anybody is in a call.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exporters.gpu import nvml, words
from exporters.gpu.events import Watcher
from exporters.gpu.facts import Identity

_LOOK_S = 1.0
_FIRST_S, _LONGEST_S = 1.0, 60.0  # between two tries
_IDLE_S = 0.05
NO_LIBRARY = "library_not_found"


@dataclass(frozen=True, slots=True)
class Session:
    """One time that NVML was initialised."""

    number: int
    gpus: int
    driver: str


@dataclass(frozen=True, slots=True)
class Tells:
    """Whom it tells, and what it has to know. All are called from other threads."""

    say: Callable[[str], None]
    idle: Callable[[], bool]  # nobody is in a call
    on_xid: Callable[[Identity, int], None]
    on_fault: Callable[[Identity, str], None]


class Keeper:
    """From its construction until `close`."""

    def __init__(self, proc: Path, tells: Tells) -> None:
        self._kernel_list = proc / "driver/nvidia/gpus"
        self._tells = tells
        self._session: Session | None = None
        self._fault = ""  # of the last try, or what ended the last session
        self._tried, self._over, self._closing = threading.Event(), threading.Event(), threading.Event()
        threading.Thread(target=self._run, name="nvml", daemon=True).start()

    def current(self, patience_s: float) -> Session | None:
        """The session that there is. Waits only for the very first try to end, and only once."""
        if not self._tried.is_set():
            self._tried.wait(patience_s)
            self._tried.set()
        return self._session

    @property
    def absent(self) -> bool:
        """Whether this machine has no NVML at all."""
        return self._fault == NO_LIBRARY

    def end(self, session: Session, fault: str) -> None:
        """A call in that session has said that it is over. Does not block."""
        if session is self._session:
            self._fault = fault
            self._over.set()

    def close(self) -> None:
        """Try no more. Does not wait for a call that hangs."""
        self._closing.set()
        self._over.set()

    def _run(self) -> None:
        delay_s, number = _FIRST_S, 0
        while not self._closing.is_set():
            number += 1
            began = time.monotonic()
            session = self._begin(number)
            if session is not None:
                self._live(session)
            if time.monotonic() - began > _LONGEST_S:
                delay_s = _FIRST_S
            # A library that is not there does not come soon.
            self._closing.wait(_LONGEST_S if self.absent else delay_s)
            delay_s = min(2 * delay_s, _LONGEST_S)

    def _begin(self, number: int) -> Session | None:
        try:
            nvml.begin()
            try:
                session = Session(number, nvml.count(), nvml.driver())
            except nvml.NvmlFault:
                nvml.end()
                raise
        except nvml.NvmlFault as fault:
            self._fault = fault.name
            self._tells.say(words.no_nvml(fault.name))
            self._tried.set()
            return None
        self._fault = ""
        self._over.clear()
        self._tells.say(words.nvml_is_up(session.gpus, session.driver))
        self._session = session
        self._tried.set()
        return session

    def _live(self, session: Session) -> None:
        """Returns when it is over and NVML is shut down."""
        watchers = [
            Watcher(index, session.driver, self._tells.on_xid, self._tells.on_fault) for index in range(session.gpus)
        ]
        listed = self._listed()
        while not self._over.wait(_LOOK_S):
            self._look(session, listed)
        self._session = None
        if self._closing.is_set():
            return  # the process ends, and with it all that the driver keeps for it
        self._tells.say(words.nvml_is_over(self._fault))
        for watcher in watchers:
            watcher.stop()
        while not (self._tells.idle() and all(watcher.ended for watcher in watchers)):
            self._closing.wait(_IDLE_S)
        with contextlib.suppress(nvml.NvmlFault):  # it is over anyhow
            nvml.end()

    def _look(self, session: Session, listed: frozenset[str]) -> None:
        try:
            same = nvml.count() == session.gpus and self._listed() == listed
        except nvml.NvmlFault as fault:
            self.end(session, fault.name)
            return
        if not same and self._tells.idle():  # while a GPU hangs, the others are worth more than a new one
            self.end(session, words.OTHER_GPUS)

    def _listed(self) -> frozenset[str]:
        """The GPUs that the kernel's driver knows; empty where it does not say."""
        try:
            return frozenset(entry.name for entry in self._kernel_list.iterdir())
        except OSError:
            return frozenset()
