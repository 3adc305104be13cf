"""Starts the stack and the load, breaks something again and again, and ends everything, come what may."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from controller.adapters.docker_faults import DockerFaults
from controller.installation import Installation, Layout
from controller.stack.drill import injury
from controller.stack.engine import own_host
from controller.stack.progress import Progress
from controller.stack.supervisor import Supervisor
from controller.stack.trouble import Trouble
from tests.bench.failover.figures import Request
from tests.e2e.stack import Stack
from tests.soak import figures, invariants
from tests.soak.bag import Bag
from tests.soak.faults import KINDS, REFUSED, Ground
from tests.soak.figures import Done, Report
from tests.soak.invariants import WHOLE_S, Break
from tests.soak.load import Load
from tests.soak.stack import FLOOR, POOL, ask, in_folder, ready, start, whole
from tests.soak.witness import Watch, Witness

_FEWEST = 2  # ready replicas, before one of them is hurt
_AGAIN_S, _TEND_S = 1.0, 0.25
_READY_S, _QUIET_S, _DRAIN_S = 180.0, 60.0, 90.0


@dataclass(frozen=True)
class Order:
    """What was asked for."""

    minutes: float
    every_s: float
    clients: int
    seed: int
    kinds: tuple[str, ...]


def carry_out(order: Order, progress: Progress) -> Report:
    """The whole soak. Blocks for its minutes and about three more; `KeyboardInterrupt` ends everything, too.

    Raises:
        Trouble: the stack does not come up, or the clients ended by themselves.
    """
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    stack = in_folder(folder)
    about, kept = _about(order), True
    try:
        with _stopped_at_the_end(stack, progress), ExitStack() as held:
            with progress.step("Starting a stack of its own"):
                start(stack)
            ground = held.enter_context(_ground(stack))
            seconds = order.minutes * 60
            url = f"http://127.0.0.1:{stack.port('gateway')}"
            load = held.enter_context(Load(url, order.clients, seconds + _READY_S + WHOLE_S + _DRAIN_S, folder))
            watch = held.enter_context(Watch(stack))
            report = Soak(order, progress, ground, load, watch).run(about)
            kept = not report.sound
            return report
    except KeyboardInterrupt:
        kept = False
        raise
    finally:
        if kept:
            progress.say(f"The logs and the database are left in {folder}.")
        else:
            shutil.rmtree(folder, ignore_errors=True)


class Soak:
    """One run on a stack that is up."""

    def __init__(self, order: Order, progress: Progress, ground: Ground, load: Load, watch: Watch) -> None:
        self._order, self._progress, self._ground, self._load, self._watch = order, progress, ground, load, watch
        self._bag = Bag(order.kinds, order.seed)
        self._began, self._clock = time.monotonic(), datetime.now(UTC)  # the same moment on both clocks
        self._witness = Witness(ground.stack, self._began)
        self._faults: list[Done] = []
        self._postponed = 0
        self._told: set[str] = set()

    def run(self, about: dict[str, str]) -> Report:
        """Break things for the ordered time, wait until all is well, and count."""
        try:
            self._until(self._under_load, _READY_S, "the pool never came up under load")
            self._look()
            before = len(self._witness.evidence.containers)
            self._break_things(time.monotonic() + self._order.minutes * 60)
            self._await_whole()
            finished = time.monotonic()
            requests = self._load.finish()
            self._settle()
            return self._report(about, requests, finished, before)
        finally:
            self._witness.close()

    def _break_things(self, until: float) -> None:
        due, kind, waits = time.monotonic(), self._bag.next(), False
        while self._wait(min(due, until)) < until:
            if not waits:
                self._look()
            victim = self._victim(kind)
            if victim is None:
                self._postponed += not waits
                waits, due = True, time.monotonic() + _AGAIN_S
                continue
            self._inflict(kind, victim)
            due, waits = max(due + self._order.every_s, time.monotonic() + _AGAIN_S), False
            kind = self._bag.next()

    def _victim(self, kind: str) -> str | None:
        """Empty for a fault that takes no replica; None: not now, it would leave nobody."""
        if not KINDS[kind].hits:
            return ""
        found = [name for name in ready(ask(self._ground.stack, "replicas") or []) if name not in self._ground.hurt]
        return self._bag.victim(found) if len(found) >= _FEWEST else None

    def _inflict(self, kind: str, victim: str) -> None:
        at, refused = time.monotonic(), ""
        if KINDS[kind].lasts:
            self._ground.hurt.add(victim)
        try:
            KINDS[kind].do(self._ground, victim)
        except REFUSED as error:
            refused = str(error) or type(error).__name__
        done = Done(kind, at, time.monotonic(), victim, refused)
        self._faults.append(done)
        self._witness.evidence.breaks.append(Break(kind, self._when(at), self._when(done.ended)))
        self._say(f"{kind} {victim}".rstrip() + (f" could not be done: {refused}" if refused else ""), at)

    def _await_whole(self) -> None:
        """With the load still on."""
        last = max((fault.ended for fault in self._faults), default=time.monotonic())
        with contextlib.suppress(Trouble):
            self._until(self._whole, last + WHOLE_S - time.monotonic(), "it is not whole")
            self._witness.evidence.whole_after_s = time.monotonic() - last
        self._say("the last fault is over" if self._witness.evidence.whole_after_s else "it is not whole again")

    def _settle(self) -> None:
        """Nothing is asked any more: what drains is gone soon, and then all must be known."""
        with contextlib.suppress(Trouble):
            self._until(lambda: self._whole() and self._witness.settle(), _QUIET_S, "it never came to rest")
        self._witness.look()
        self._witness.accuse()

    def _look(self) -> None:
        self._witness.look()
        for check in invariants.during(self._witness.evidence):
            if not check.kept and check.what not in self._told and check.found != "never seen":
                self._told.add(check.what)
                self._say(f"BROKEN: {check.what}: {check.found}")

    def _under_load(self) -> bool:
        return len(self._load.look()) >= self._order.clients and self._whole()

    def _whole(self) -> bool:
        stack = self._ground.stack
        rows, pools = ask(stack, "replicas"), ask(stack, "pools")
        return rows is not None and pools is not None and whole(pools, rows)

    def _until(self, condition: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if self._wait(time.monotonic() + _TEND_S) > deadline:
                raise Trouble(otherwise)

    def _wait(self, until: float) -> float:
        """Tend what is held until then; the time now."""
        while (left := until - time.monotonic()) > 0:
            threading.Event().wait(min(left, _TEND_S))
            if gone := self._ground.tend():
                at = time.monotonic()
                self._faults = [replace(one, gone=at) if _holds(one, gone) else one for one in self._faults]
        return time.monotonic()

    def _when(self, at: float) -> datetime:
        return self._clock + timedelta(seconds=at - self._began)

    def _say(self, text: str, at: float | None = None) -> None:
        """A line of progress; `at`: it is about that time."""
        seen = self._load.look()
        failed = sum(1 for one in seen if one.error and one.first is None)
        cut = sum(1 for one in seen if one.error and one.first is not None)
        look = self._watch.looks[-1].ready if self._watch.looks else None
        minutes, seconds = divmod(int((at or time.monotonic()) - self._began), 60)
        counts = f"{'?' if look is None else look} ready, {len(seen)} requests, {failed} failed, {cut} cut"
        self._progress.say(f"{minutes:02}:{seconds:02} {text}: {counts}")

    def _report(self, about: dict[str, str], requests: list[Request], finished: float, before: int) -> Report:
        seen, times = self._witness.evidence, figures.latency(requests)
        return Report(
            about=about,
            seconds=round(finished - self._began, 1),
            requests=len(requests),
            **vars(times),
            strength=figures.strength([look for look in self._watch.looks if look.at < finished], FLOOR),
            reloads=self._witness.reloads,
            replicas_started=len(seen.containers) - before,
            postponed=self._postponed,
            faults=self._faults,
            bad=figures.bad(requests, self._faults, self._began),
            checks=invariants.at_the_end(seen),
            excused=invariants.excused(seen),
            vitals=[asdict(vital) for vital in seen.vitals],
        )


def _holds(fault: Done, gone: list[str]) -> bool:
    return fault.kind == "wedge" and fault.victim in gone


@contextmanager
def _ground(stack: Stack) -> Iterator[Ground]:
    layout = Layout(stack.state_dir)
    host = Installation.load(layout).engines[0].docker_host
    replicas = DockerFaults(host, layout.instance)
    own = host == own_host(layout)
    drill = injury.Ground(layout, Supervisor(layout), replicas, POOL, containers=True, own_engine=own, nodes=1)
    ground = Ground(stack, drill, replicas)
    try:
        yield ground
    finally:
        ground.release()
        replicas.close()


@contextmanager
def _stopped_at_the_end(stack: Stack, progress: Progress) -> Iterator[None]:
    """`stoker down`, which nobody may interrupt: it would leave the replicas behind."""
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with progress.step("Ending all of it"):
            went = stack.stoker("down")
        if went.returncode != 0 or stack.processes():
            left = ", ".join(str(process.pid) for process in stack.processes())
            progress.say(f"stoker down left something ({left}): {went.stdout}{went.stderr}")


def _about(order: Order) -> dict[str, str]:
    return {
        "clients": f"{order.clients} with one request at a time each, every second one streaming, 12 tokens an answer",
        "faults": f"one every {order.every_s:g} s, seed {order.seed}",
        "pool": f"{FLOOR} to 6 replicas of SmolLM2-135M-Instruct on the CPU, one thread and two slots each",
        "machine": f"{len(os.sched_getaffinity(0))} cores, shared by clients, gateway, replicas and control plane",
        "load average of the minute before": f"{os.getloadavg()[0]:.1f}",
    }
