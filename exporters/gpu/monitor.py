"""One collection: every GPU is asked at once, each by a thread of its own, until the deadline."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exporters.gpu import host, nvml
from exporters.gpu.collect import Gpus
from exporters.gpu.docker import Containers
from exporters.gpu.facts import OVER, UNKNOWN, Identity, Look, Reading
from exporters.gpu.families import Page, families
from exporters.gpu.owners import Owners
from exporters.gpu.session import Keeper, Session, Tells
from exporters.gpu.text import render
from exporters.gpu.workers import Round, Worker

# One GPU after the other costs least, since Python runs one thread at a time: a GPU that takes longer than this is not
# waited for, and the next one is asked beside it.
_PATIENCE_S = 0.002


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """What it looks at."""

    node: str  # the label Hostname
    docker: tuple[Path, ...]  # sockets of the engines of this machine
    proc: Path  # the machine's /proc
    deadline_s: float  # for the answers of all GPUs


@dataclass(frozen=True, slots=True)
class _Known:
    """A GPU as a worker knows it, for as long as the session lasts."""

    session: int
    handle: nvml.Handle
    identity: Identity


class Monitor:
    """Asks GPUs and the kernel. One collection at a time; XIDs come meanwhile."""

    def __init__(self, options: MonitorOptions, say: Callable[[str], None]) -> None:
        self._options, self._say = options, say
        self._gpus, self._lock = Gpus(), threading.Lock()
        self._owners = Owners(options.proc, Containers(options.docker, time.monotonic))
        self._workers: list[Worker[Look]] = []
        self._identified: dict[int, _Known] = {}
        self._said = ""
        tells = Tells(self._say_once, self._idle, self._on_xid, self._on_fault)
        self._keeper = Keeper(options.proc, tells)

    def collect(self) -> bytes:
        """The page of now. Blocks until the deadline where a GPU begins to hang, and 0.2 s where Docker does."""
        began = time.monotonic()
        session = self._keeper.current(self._options.deadline_s)
        looks = [] if session is None else self._ask(session, began + self._options.deadline_s)
        up = None if self._keeper.absent else session is not None
        with self._lock:
            said = [] if session is None else self._gpus.take(looks, time.time())
            now = time.monotonic()
            page = Page(self._options.node, up, looks, tuple(self._gpus.known()), now - began)
            told = list(families(page, self._owners.of, now))
        self._owners.forget()
        for sentence in said:
            self._say(sentence)
        return render([*told, *host.families(self._options.proc)])

    def close(self) -> None:
        """Ask no more. Does not wait for a call that hangs."""
        self._keeper.close()

    def _ask(self, session: Session, deadline: float) -> list[Look]:
        while len(self._workers) < session.gpus:
            self._workers.append(Worker(len(self._workers)))
        answers: Round[Look] = Round()
        begun = 0
        for worker in self._workers[: session.gpus]:
            if not worker.busy:  # else it hangs since an earlier collection: another call would hang, too
                worker.begin(functools.partial(self._look, session, worker.number), answers)
                begun += 1
                answers.wait(begun, _PATIENCE_S)
        came = answers.wait(begun, deadline - time.monotonic())
        self._end_if_over(session, list(came.values()), begun)
        return [came.get(index) or Look(self._last_known(index), None) for index in range(session.gpus)]

    def _end_if_over(self, session: Session, came: list[Look], begun: int) -> None:
        readings = [look.reading for look in came if look.reading is not None]
        over = next((reading.over for reading in readings if reading.over), "")
        # All of them at once, for no reason that NVML knows: a container that its GPUs were taken from.
        if readings and len(readings) == begun and all(_is_deaf(reading) for reading in readings):
            over = over or UNKNOWN
        if over:
            self._keeper.end(session, over)

    def _look(self, session: Session, index: int) -> Look:
        """In the worker's thread."""
        known = self._identified.get(index)
        try:
            if known is None or known.session != session.number:
                known = _Known(session.number, *nvml.identify(index, session.driver))
                self._identified[index] = known
        except nvml.NvmlFault as fault:
            return Look(Identity(index, driver=session.driver), Reading(faults=(fault.name,)))
        return Look(known.identity, nvml.read(known.handle))

    def _last_known(self, index: int) -> Identity:
        known = self._identified.get(index)
        return Identity(index) if known is None else known.identity

    def _idle(self) -> bool:
        return not any(worker.busy for worker in tuple(self._workers))

    def _on_xid(self, identity: Identity, code: int) -> None:
        with self._lock:
            self._gpus.xid(identity, code)
        self._say(f"GPU {identity.index} ({identity.uuid}) has XID {code}")

    def _on_fault(self, identity: Identity, name: str) -> None:
        with self._lock:
            self._gpus.fault(identity, name)

    def _say_once(self, sentence: str) -> None:
        """What is tried again and again fails again and again."""
        if sentence != self._said:
            self._say(sentence)
        self._said = sentence


def _is_deaf(reading: Reading) -> bool:
    return not reading.values and not reading.instances and UNKNOWN in reading.faults and not OVER & {*reading.faults}
