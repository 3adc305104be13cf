"""Runs the drills that were asked for through the API, one at a time, each as `stoker drill` in a process of its own.

It is no child of the ticks and in no process group of the controller: it outlives a controller that is killed, and is
told to end by one that is stopped.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from controller.adapters.docker_faults import FaultRefused
from controller.api.drills import DrillRefused, Possible, UnknownFault, Wish
from controller.installation import Installation, Layout
from controller.settings import Settings
from controller.stack.api_client import Seen
from controller.stack.drill import owed, promise, refusal
from controller.stack.drill.catalogue import INJURIES
from controller.stack.drill.command import restorable_of, site_of
from controller.stack.drill.facts import Fault
from controller.stack.drill.injury import NotHere
from controller.stack.drill.owed import Mended
from controller.stack.drill.pid_file import runs_now
from controller.stack.drill.run import Site
from controller.stack.pool_choice import choose_pool
from controller.stack.trouble import Trouble
from controller.stack.waiting import wait_until

_PATIENCE_S = 3.0  # for one that is to end with the controller
_GOES_S = 3.0
_LOOKERS, _PLACE_S = 4, 1.0  # a silent engine holds the thread of whoever looks what is possible
_LOOK_S, _AGAIN_S = 2.0, 30.0  # whether a drill was killed that owes something; and where that could not be undone
_LOG = "drill.log"


@dataclass(frozen=True, slots=True)
class DrillPlace:
    """Where the drills take place. `seen` are the pools and replicas of the last tick, None before the first."""

    layout: Layout
    settings: Settings
    installation: Installation
    seen: Callable[[], Seen | None]


class DrillDesk:
    """See `controller.api.drills.DrillDesk`."""

    def __init__(self, place: DrillPlace) -> None:
        self._place = place
        self._lock, self._mending = threading.Lock(), threading.Lock()
        self._closing = threading.Event()
        self._places = threading.Semaphore(_LOOKERS)
        self._child: tuple[str, subprocess.Popen[bytes]] | None = None
        self._gone: Callable[[str, str], None] = lambda name, told: None

    def possible(self, pool: str, clients: int) -> Sequence[Possible]:
        """See `DrillDesk.possible`."""
        if not self._places.acquire(timeout=_PLACE_S):
            raise DrillRefused("others look at what is possible just now; ask again")
        try:
            with self._site(pool, clients) as site:
                return [self._one(site, fault) for fault in Fault]
        finally:
            self._places.release()

    def start(self, name: str, wish: Wish, begins: Callable[[], None]) -> None:
        """See `DrillDesk.start`. What would be refused at once is refused here."""
        try:
            fault = Fault(wish.fault)
        except ValueError as error:
            raise UnknownFault(f"there is no fault {wish.fault!r}; there is {', '.join(Fault)}") from error
        with self._site(wish.pool, wish.clients) as site:
            found = self._one(site, fault)
        if found.why_not or (found.not_now and not wish.force):
            raise DrillRefused(found.why_not or found.not_now)
        with self._lock:
            wait_until(lambda: self.running() is None, _GOES_S)  # one that has told of its end takes a moment to go
            if (running := self.running()) is not None:
                raise DrillRefused(f"the drill {running} runs; wait for its end, or stop it")
            begins()
            self._child = name, self._spawn(name, wish)
        threading.Thread(target=self._follow, args=self._child, name=f"drill-{name}", daemon=True).start()

    def running(self) -> str | None:
        """See `DrillDesk.running`."""
        child = self._child
        if child is not None and child[1].poll() is None:
            return child[0]
        known = runs_now(self._place.layout.root)
        return known.id if known is not None else None

    def stop(self, name: str) -> bool:
        """See `DrillDesk.stop`."""
        child, known = self._child, runs_now(self._place.layout.root)
        if child is not None and child[0] == name and child[1].poll() is None:
            child[1].terminate()
            return True
        if known is None or known.id != name:
            return False
        known.end()
        return True

    def follow(self, gone: Callable[[str, str], None]) -> None:
        """See `DrillDesk.follow`."""
        self._gone = gone
        threading.Thread(target=self._look_after, name="drill-owed", daemon=True).start()

    def close(self) -> None:
        """See `DrillDesk.close`. What takes longer it does by itself."""
        self._closing.set()
        known = runs_now(self._place.layout.root)
        if known is not None and known.asked:
            known.end()
        child = self._child
        if child is not None and child[1].poll() is None:
            child[1].terminate()
            try:
                child[1].wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                return

    @contextlib.contextmanager
    def _site(self, pool: str, clients: int) -> Iterator[Site]:
        """Where it would take place; the connections to the engines end with the body."""
        place = self._place
        try:
            site = site_of(place.settings, place.installation, place.layout, choose_pool(place.settings, pool), clients)
        except Trouble as error:
            raise DrillRefused(str(error)) from error
        with contextlib.closing(site.ground.replicas):
            yield site

    def _one(self, site: Site, fault: Fault) -> Possible:
        injury, why_not, not_now = INJURIES[fault](site.ground), "", ""
        seen = self._place.seen()
        try:
            injury.require()
        except NotHere as error:
            why_not = str(error)
        except (Trouble, FaultRefused) as error:
            not_now = str(error)
        if seen is None:
            not_now = not_now or "the controller has not looked yet; ask again in a moment"
        elif not not_now:
            pool = refusal.Pool.of(site.ground.pool, seen.pools, seen.replicas)
            not_now = refusal.refusal(pool, site.clients, injury.hits) or ""
        promises = {one.name: (one.limit, one.why) for one in promise.promises(fault, site.pace)}
        patience_s = promise.patience_s(fault, site.pace)
        what = (injury.__doc__ or "").partition("\n")[0]
        return Possible(fault.value, what, injury.hits, why_not, "" if why_not else not_now, promises, patience_s)

    def _spawn(self, name: str, wish: Wish) -> subprocess.Popen[bytes]:
        root = self._place.layout.root
        command = [sys.executable, "-m", "controller.cli", "drill", "--json", "--state-dir", str(root)]
        command += ["--pool", wish.pool, "--fault", wish.fault, "--load", str(wish.clients), "--drill-id", name]
        command += ["--force"] if wish.force else []
        log = self._place.layout.logs / _LOG
        try:
            with log.open("wb") as told:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=told,
                    start_new_session=True,
                    env=dict(os.environ),
                )
        except OSError as error:
            raise DrillRefused(f"no process could be started for it: {error.strerror}; try again") from error

    def _follow(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """It tells of its end itself. What it cannot tell of is that it was killed."""
        code, words = process.wait(), "it said nothing"
        with contextlib.suppress(OSError):
            lines = (self._place.layout.logs / _LOG).read_text(encoding="utf-8", errors="replace").splitlines()
            words = next((line.removeprefix("stoker: ") for line in reversed(lines) if line.strip()), words)
        with self._mending:  # whoever undoes something tells of it first
            mended = self._mend()
            self._gone(name, f"its process ended ({code}): {words}{f'; {mended}' if mended else ''}"[:2000])

    def _look_after(self) -> None:
        """Undo what those left that were killed, also where no controller led then, or a terminal began them."""
        pause_s = 0.0
        while not self._closing.wait(pause_s):
            with self._mending:
                mended = self._mend()
                if mended is not None and mended.drill:
                    self._gone(mended.drill, f"its process is gone; {mended}"[:2000])
            pause_s = _AGAIN_S if mended is not None and mended.left else _LOOK_S

    def _mend(self) -> Mended | None:
        layout, installation = self._place.layout, self._place.installation
        return owed.mend_if_gone(layout.root, lambda pool: restorable_of(installation, layout))
