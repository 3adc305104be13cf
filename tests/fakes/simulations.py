"""Desks of the simulator: one that plays nothing, and the real one over pools that have only a policy."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from controller.api.deps import Sources
from controller.api.simulation_schemas import (
    KnobOut,
    OptionsOut,
    ResultOut,
    SimulationIn,
    SimulationOut,
    SimulationResultOut,
    TrafficOut,
    UploadOut,
)
from controller.api.simulations import Simulations
from controller.core.model import PoolName
from controller.core.policy import PoolPolicy
from controller.settings import PoolSettings, Settings
from controller.settings.scaling import ReplicaBounds, ScalingSettings
from controller.stack.simulations.ask import Traffic
from controller.stack.simulations.desk import SimulationDesk, World
from tests.fakes.clock import START, FakeClock
from tests.fakes.store import FakeStore

ASKED: dict[str, Any] = {"pool": "small", "trace": {"source": "synthetic", "kind": "spike"}, "changes": {"floor": 2}}
YAML = "replicas:\n  floor: 2\n"


@dataclass
class FakeSimulations:
    """See `Simulations`. `fault` is what everything raises."""

    asked: list[Any] = field(default_factory=list)
    fault: Exception | None = None
    result: ResultOut | None = None
    knobs: list[KnobOut] = field(default_factory=list)

    def options(self, pool: str) -> OptionsOut:
        self._do(pool)
        return OptionsOut(
            pool=pool,
            pools=[pool],
            knobs=self.knobs,
            cold_start_s=60,
            cold_start_learned=False,
            price_per_hour=None,
            currency="",
            suggested_rps=3,
            history=False,
        )

    def traffic(self, pool: str, hours: float) -> TrafficOut:
        self._do((pool, hours))
        return TrafficOut(step_s=60, rates=[1.0, None], prompt=None, output=None)

    def start(self, wanted: SimulationIn) -> SimulationOut:
        self._do(wanted)
        return self._one(wanted)

    def find(self, identity: str) -> SimulationResultOut:
        self._do(identity)
        return SimulationResultOut(**dict(self._one(SimulationIn.model_validate(ASKED))), result=self.result)

    def recent(self) -> list[SimulationOut]:
        return [self._one(SimulationIn.model_validate(ASKED))]

    def cancel(self, identity: str) -> SimulationOut:
        self._do(f"cancel {identity}")
        return self._one(SimulationIn.model_validate(ASKED))

    def upload(self, name: str, content: bytes) -> UploadOut:
        self._do((name, len(content)))
        return UploadOut(
            id="up",
            until=START,
            name=name,
            requests=1,
            duration_s=1,
            mean_rps=1,
            mean_prompt_tokens=1,
            mean_output_tokens=1,
        )

    def close(self) -> None:
        pass

    def _do(self, what: Any) -> None:
        if self.fault is not None:
            raise self.fault
        self.asked.append(what)

    def _one(self, wanted: SimulationIn) -> SimulationOut:
        return SimulationOut(
            id="one",
            state="waiting",
            made_at=START,
            asked=wanted,
            ahead=0,
            progress=0,
            playing="",
            settings=[],
            yaml=YAML,
        )


def desk_of(policies: Iterable[PoolPolicy], now: Callable[[], datetime]) -> SimulationDesk:
    """Each pool with its bounds and target; its traffic of the last hours goes up and down."""
    pools = tuple(
        PoolSettings(
            name=policy.pool,
            model=f"{policy.model}-{number}",
            checkpoint="m.gguf",
            replicas=ReplicaBounds(floor=policy.scaling.floor, ceiling=policy.scaling.ceiling),
            scaling=ScalingSettings(
                target_in_flight=policy.scaling.in_flight.target,
                scale_down_window=policy.scaling.scale_down_window,
            ),
        )
        for number, policy in enumerate(policies)
    )
    price = {pool.name: 2.5 for pool in pools}
    folder = Path(tempfile.gettempdir()) / f"stoker-simulations-{os.getpid()}"
    world = World(Settings(pools=pools), folder, now, price=price.get, currency="USD", traffic=_traffic)
    return SimulationDesk(world)


def _traffic(pool: str, hours: float) -> Traffic:
    steps = max(int(hours * 60), 1)
    return Traffic(60.0, [6 + 5 * math.sin(step / 20) for step in range(steps)])


def sources_of(desk: Simulations, *pools: str) -> Sources:
    """Of an application that has no more than that desk, and pools of those names."""
    return Sources(
        policies=[PoolPolicy(PoolName(name), name) for name in pools],
        nodes=(),
        store=FakeStore(),
        latest=lambda: None,
        healthy=lambda: True,
        metrics=lambda: b"",
        now=FakeClock().now,
        token="secret",
        simulations=desk,
    )
