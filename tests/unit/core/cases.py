"""One line for each evaluation: what is seen and remembered, and the count and the reasons that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from controller.core.capacity import GIB
from controller.core.cron import FloorWindow
from controller.core.decision import ReasonCode
from controller.core.evaluation import Evaluation
from controller.core.limits import Context
from controller.core.model import Gpu, Recommendation, Signal
from controller.core.policy import Mode, RateLimit, ScalingPolicy
from controller.core.scaling import decide_scale
from tests.fakes.clock import START
from tests.unit.core.build import only, readings, view

F, U, K, L = Signal.IN_FLIGHT, Signal.UTILIZATION, Signal.KV_CACHE, Signal.LATENCY


def ago(seconds: float) -> datetime:
    """A time before START."""
    return START - timedelta(seconds=seconds)


def past(*entries: tuple[float, int]) -> tuple[Recommendation, ...]:
    """Counts, each with how many seconds ago it began."""
    return tuple(Recommendation(ago(seconds), count) for seconds, count in entries)


def asked(*entries: tuple[float, int]) -> dict[str, object]:
    """What the signals asked for in the past."""
    return {"recommended": past(*entries)}


def had(*entries: tuple[float, int]) -> dict[str, object]:
    """How many there were in the past."""
    return {"counts": past(*entries)}


def rising(slope: float, now: float = 12.0, cold_start_s: float | None = 60.0) -> dict[str, object]:
    """Forty seconds of a demand that moves by `slope` requests a second and is `now` in flight."""
    samples = tuple((ago(2 * number), now - slope * 2 * number) for number in range(20, 0, -1))
    return {"demand": samples, "cold_start_s": cold_start_s}


# Policies. The rate downwards is free unless a case is about it.
FREE = RateLimit(100, 100, timedelta(seconds=15))
PLAIN = only(F, ceiling=8, rate_down=FREE)
SLOW = only(F, ceiling=8)
WITH_U, WITH_K, WITH_L = (only(F, signal, ceiling=8, rate_down=FREE) for signal in (U, K, L))
ONLY_U, ONLY_K, ONLY_L = (only(signal, ceiling=9, rate_down=FREE) for signal in (U, K, L))
TWENTY = replace(PLAIN, ceiling=20)
DELAYED = replace(PLAIN, scale_up_window=timedelta(seconds=30))
TO_ZERO = replace(PLAIN, floor=0, zero_after=timedelta(minutes=10))
ON_GPU = replace(PLAIN, gpu_memory_bytes=18 * GIB)
NOON = FloorWindow("0 12 * * *", timedelta(hours=1), 5)  # START is at noon
BY_DAY = replace(PLAIN, schedule=(NOON,))
# Memories.
NEW: dict[str, object] = {"history_since": None}
PANIC: dict[str, object] = {"panic_until": START + timedelta(seconds=20)}
LATE: dict[str, object] = {"over_since": {"latency": ago(15)}}
BUSY: dict[str, object] = {"over_since": {"utilization": ago(60)}}


@dataclass(frozen=True)
class Case:
    """`load` is in flight at the gateway; `memory` is what is remembered beside the desired count."""

    name: str
    load: float | None
    want: int
    why: tuple[ReasonCode, ...]
    policy: ScalingPolicy = PLAIN
    memory: Mapping[str, object] = field(default_factory=dict)
    desired: int = 4
    ready: int | None = None
    starting: int = 0
    draining: int = 0
    each: Mapping[Signal, tuple[float | None, ...]] = field(default_factory=dict)
    latency: float | None = None
    last_s: float | None = None
    gpus: tuple[Gpu, ...] = ()
    mode: Mode = Mode.ACTIVE

    def decide(self) -> tuple[Evaluation, Context]:
        """What comes of it at START."""
        seen = view(
            self.desired,
            readings({F: self.load, L: self.latency}, self.each, last_s=self.last_s),
            ready=self.ready,
            starting=self.starting,
            draining=self.draining,
            gpus=self.gpus,
            **self.memory,
        )
        return decide_scale(seen, self.policy, START, self.mode)

    def check(self) -> None:
        """The count and the reasons are as wanted."""
        found, context = self.decide()
        codes = tuple(reason.code for reason in found.reasons)
        assert (found.desired, codes) == (self.want, self.why), [reason.text for reason in found.reasons]
        assert context.memory.desired == self.want
