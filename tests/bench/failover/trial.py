"""One fault on one side, under load."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import docker

from tests.bench.failover import figures, strength
from tests.bench.failover.faults import FAULTS
from tests.bench.failover.figures import Trial
from tests.bench.failover.load import Load, LoadSettings
from tests.bench.failover.side import Side

_BEGIN_S = 180.0  # until a side is whole, at the start and again after a trial
_SETTLE_S = 5.0  # of load on a whole side before the fault


class NotWhole(Exception):
    """A side was not at full strength before anything was broken; nothing was measured. The text is a sentence."""


@dataclass(frozen=True)
class Bench:
    """What all trials share."""

    client: docker.DockerClient
    load: LoadSettings
    window_s: float
    folder: Path

    def run(self, side: Side, fault: str) -> Trial:
        """Wait until the side is whole under load, break one replica, and watch for the window.

        Blocks for the window and up to four minutes. The fault is there until the last request of the load has ended.

        Raises:
            NotWhole: the side was not whole within three minutes.
        """
        with Load(side.url, self.load, self.folder) as load:
            if asyncio.run(strength.reached(side, time.monotonic() + _BEGIN_S)) is None:
                raise NotWhole(f"{side.name} was not at full strength within {_BEGIN_S:g} s, before any {fault}.")
            time.sleep(_SETTLE_S)
            victim, *others = [place.container for place in side.places()]
            with FAULTS[fault](self.client, victim):
                fault_at = time.monotonic()
                until = fault_at + self.window_s
                full_at = asyncio.run(strength.reached(side, until))
                time.sleep(max(0.0, until - time.monotonic()))
                lost = set(others) - {place.container for place in side.places()}
                requests = figures.concerned(load.finish(), fault_at, until)
        full_s = None if full_at is None else full_at - fault_at
        return figures.fold(side.name, fault, requests, full_s, len(lost))
