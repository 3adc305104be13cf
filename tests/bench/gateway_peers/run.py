"""Starts engines and all contenders, lets them take turns, and ends everything, come what may."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from controller.core.errors import ControllerError
from controller.stack.progress import Progress
from controller.stack.trouble import Trouble
from tests.bench.gateway_peers import engines, homemade, load, plain, router, stoker
from tests.bench.gateway_peers.contender import Contender, Running
from tests.bench.gateway_peers.engines import Engines
from tests.bench.gateway_peers.figures import DIRECT, Gap, Report, Sample
from tests.bench.gateway_peers.tools import Tools
from tests.bench.gateway_peers.workload import CONNECTIONS

_DIRECT = "nothing in front of them: what client and engines can do at most"
KEYS = (10, 1_000, 100_000)
_LONGEST, _SPARE_S = 4.0, 300.0  # what bounds the life of the engines of streams, whatever happens to the bench
_AGAINST_PEERS = ("requests", "latency", "streams")
_START_S, _RELOADS_S, _ZIPF_S = 15.0, 2.0, 7.0  # about; the first is all starts of a section, and its warming up


@dataclass(frozen=True, slots=True)
class Turn:
    """One contender's turn in a round. Round 0 warms up, is short, and is forgotten."""

    name: str
    running: Running
    round: int
    seconds: int


_FAILURES = (Trouble, ControllerError, AssertionError, psutil.NoSuchProcess)  # AssertionError: of `wait_for`

Measure = Callable[[Turn], dict[str, float]]
StartEngines = Callable[[Path], AbstractContextManager[Engines]]


@dataclass(frozen=True, slots=True)
class Order:
    """What to measure."""

    sections: Sequence[str]
    rounds: int
    seconds: int
    tools: Path | None = None  # none: a folder that is deleted at the end


@dataclass(frozen=True, slots=True)
class Tell:
    """Who is told: `keep` is called after each sample."""

    progress: Progress
    keep: Callable[[], None]


def minutes(order: Order) -> float:
    """About how long it takes, without installations."""
    seconds = order.seconds
    round_s = {
        "requests": 7 * seconds,
        "latency": 7 * _short(seconds),
        "streams": 6 * 1.25 * seconds,
        "keys": (len(KEYS) + 1) * (seconds + _RELOADS_S),
        "cache": 2 * _ZIPF_S,
    }
    return sum(_START_S + order.rounds * round_s[section] for section in order.sections) / 60


def carry_out(order: Order, report: Report, tell: Tell) -> None:
    """Measure everything into the report.

    Raises:
        Trouble: the engines do not start. A contender that does not is left out, and the report says why.
    """
    folder = Path(tempfile.mkdtemp(prefix="sg-"))  # short: a socket's path has 108 bytes
    try:
        bench = Bench(order, report, tell, folder)
        report.contenders[DIRECT] = _DIRECT
        if not set(_AGAINST_PEERS).isdisjoint(order.sections):
            peers = list(bench.peers(Tools(order.tools or folder / "tools", tell.progress)))
            bench.whole_answers(peers)
            bench.streams([peer for peer in peers if peer.name != router.name("consistent_hash")])
        bench.keys()
        bench.cache()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Bench:
    """One run."""

    order: Order
    report: Report
    tell: Tell
    folder: Path

    def peers(self, tools: Tools) -> Iterator[Contender]:
        """Stoker, and all that it is compared with; what cannot be installed is left out."""
        yield stoker.contender()
        yield stoker.kept_open()
        yield plain.contender()
        try:
            yield from router.contenders(tools)
        except Trouble as error:
            self.report.gaps.extend(Gap(section, router.PACKAGE, str(error)) for section in _AGAINST_PEERS)
        yield homemade.contender(tools)

    def whole_answers(self, peers: Sequence[Contender]) -> None:
        """`requests` and `latency`."""
        measures: dict[str, Measure] = {
            "requests": lambda turn: load.ask(turn.running, CONNECTIONS, turn.seconds),
            "latency": lambda turn: load.ask(turn.running, 1, _short(turn.seconds)),
        }
        self._phase("whole", engines.whole_answers, peers, measures, direct=True)

    def streams(self, peers: Sequence[Contender]) -> None:
        """`streams`."""
        lifetime_s = _LONGEST * (self.order.rounds + 1) * (len(peers) + 1) * self.order.seconds + _SPARE_S
        made = partial(engines.streams, lifetime_s=lifetime_s)
        measures: dict[str, Measure] = {"streams": lambda turn: load.stream(turn.running, turn.seconds)}
        self._phase("streams", made, peers, measures, direct=True)

    def keys(self) -> None:
        """`keys`: the same gateway without keys, and with few or many of them."""
        found = [stoker.with_keys(count) for count in KEYS if "keys" in self.order.sections]
        sent = {peer.name: keys for peer, keys in found}

        def measure(turn: Turn) -> dict[str, float]:
            asked = load.ask(turn.running, CONNECTIONS, turn.seconds, sent.get(turn.name, ()))
            return asked if turn.running.reload_s is None else {**asked, "reload_s": turn.running.reload_s()}

        peers = [stoker.contender(), *(peer for peer, _ in found)]
        self._phase("keys", engines.whole_answers, peers, {"keys": measure})

    def cache(self) -> None:
        """`cache`: the same gateway without its cache and with it."""
        peers = [stoker.contender(), stoker.with_cache()]
        measure: Measure = lambda turn: load.ask_zipf(turn.running, turn.round)  # noqa: E731
        self._phase("cache", engines.whole_answers, peers, {"cache": measure})

    def _phase(
        self,
        name: str,
        start: StartEngines,
        peers: Sequence[Contender],
        measures: Mapping[str, Measure],
        *,
        direct: bool = False,
    ) -> None:
        """All contenders in front of engines of the same kind, in turns."""
        wanted = {section: measure for section, measure in measures.items() if section in self.order.sections}
        if not wanted:
            return
        place = self.folder / name
        (place / "engines").mkdir(parents=True)
        with start(place / "engines") as made, ExitStack() as ends:
            running = {DIRECT: made.running} if direct else {}
            for number, peer in enumerate(peers):
                try:
                    with self.tell.progress.step(f"starting {peer.name}"):
                        running[peer.name] = ends.enter_context(peer.run(made.addresses, _made(place / str(number))))
                    self.report.contenders.setdefault(peer.name, peer.what)
                except _FAILURES as error:
                    self.report.gaps.extend(Gap(section, peer.name, str(error)) for section in wanted)
            if running:
                self._rounds(running, wanted)

    def _rounds(self, running: Mapping[str, Running], measures: Mapping[str, Measure]) -> None:
        """Each round begins with another contender."""
        for number in range(self.order.rounds + 1):
            seconds = self.order.seconds if number else 1
            for section, measure in measures.items():
                with self.tell.progress.step(f"{section}: round {number} of {self.order.rounds}") as says:
                    for name in rotated(list(running), number):
                        says(name)
                        self._take(section, measure, Turn(name, running[name], number, seconds))

    def _take(self, section: str, measure: Measure, turn: Turn) -> None:
        try:
            values = measure(turn)
        except _FAILURES as error:
            self.report.gaps.append(Gap(section, turn.name, f"in round {turn.round} {error}"))
            return
        if turn.round > 0:
            self.report.samples.append(Sample(section, turn.round, turn.name, values))
            self.tell.keep()


def rotated(names: Sequence[str], by: int) -> list[str]:
    """The same circle, begun so many places later."""
    begin = by % len(names)
    return [*names[begin:], *names[:begin]]


def _short(seconds: int) -> int:
    return max(1, seconds // 2)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
