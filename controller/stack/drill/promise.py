"""What is promised for each fault, with the reason for each number. Times follow the pool's own settings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from controller.core.policy import HealthPolicy
from controller.stack.drill.facts import Fault
from controller.stack.drill.measure import Measured

HIDDEN_S = 20.0  # Prometheus stands still for so long
FULL_DISK_S = 15.0  # the controller can write nothing for so long

_EVENT_S = 2.0  # an engine tells of a death at once, processes are looked at twice a second; then one tick
_TICK_S = 3.0  # a probe that is on its way, one tick, and a machine that is busy
_LIST_S = 5.0  # the first tick in which an engine is silent waits for it so long
_RENDER_S = 1.0  # nginx's configuration is written, tested and loaded


@dataclass(frozen=True, slots=True)
class Pace:
    """The settings that the promises follow, in seconds."""

    probe_s: float = 1.0  # from one probe to the next, where none is answered
    failures: int = 3
    stall_s: float = 30.0
    cold_start_s: float = 300.0
    backoff_s: float = 10.0
    reload_s: float = 2.0  # between two reloads of nginx

    @staticmethod
    def of(health: HealthPolicy, reload_s: float) -> Pace:
        """That of a pool."""
        probe_s = max(health.probe_interval, health.probe_timeout).total_seconds()
        return Pace(
            probe_s,
            health.failures,
            health.stall_timeout.total_seconds(),
            health.cold_start_deadline.total_seconds(),
            health.backoff_base.total_seconds(),
            reload_s,
        )


@dataclass(frozen=True, slots=True)
class Promise:
    """One limit. `name` is that of the figure in `Measured`; `why` says where the number comes from."""

    name: str
    limit: float
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A promise and what came of it. `measured` is None for what never happened."""

    promise: Promise
    measured: float | None

    @property
    def kept(self) -> bool:
        """Whether it was."""
        return self.measured is not None and self.measured <= self.promise.limit


_FAILED = Promise("failed", 0, "nginx tries another replica until the first byte of an answer")
_CUT = Promise("cut_elsewhere", 0, "only a stream that the victim had begun may break off")
_REPLACED = Promise("replaced", 0, "what is not known is no reason to replace a replica")
_SHRUNK = Promise("missing", 0, "what is not known is no reason to shrink")


def promises(fault: Fault, pace: Pace) -> tuple[Promise, ...]:
    """What holds for this fault."""
    return (*_times(fault, pace), _FAILED, _CUT)


def judge(fault: Fault, pace: Pace, measured: Measured) -> tuple[Verdict, ...]:
    """Each promise against what was measured."""
    return tuple(Verdict(promise, measured.figure(promise.name)) for promise in promises(fault, pace))


def patience_s(fault: Fault, pace: Pace) -> float:
    """For how long a drill waits for the pool to be whole again: a little beyond what is promised."""
    limit = next((promise.limit for promise in promises(fault, pace) if promise.name == "whole_s"), 60.0)
    return limit + 15.0


def _times(fault: Fault, pace: Pace) -> Iterator[Promise]:
    whole = Promise("whole_s", pace.cold_start_s, "health.cold_start_deadline: a start that takes longer has failed")
    match fault:
        case Fault.KILL | Fault.OOM:
            yield from _within(_EVENT_S, pace.reload_s + _RENDER_S, "the engine tells of a death, and a tick follows")
            yield whole
        case Fault.EXIT_ON_START:
            yield from _within(_EVENT_S, pace.reload_s + _RENDER_S, "the engine tells of a death, and a tick follows")
            yield replace(
                whole, limit=whole.limit + pace.backoff_s, why="a cold start, and the pause after a failed one"
            )
        case Fault.FREEZE:
            asked = pace.failures * pace.probe_s + _TICK_S
            yield from _within(asked, pace.reload_s, f"{pace.failures} probes in a row, each {pace.probe_s:g} s")
            yield whole
        case Fault.LOST_NODE:
            asked = pace.failures * pace.probe_s + _LIST_S + _TICK_S
            yield from _within(asked, pace.reload_s, "the list of an engine that says nothing, beside the probes")
            yield replace(whole, limit=whole.limit + asked, why="a cold start elsewhere once that was noticed")
        case Fault.WEDGE:
            yield from _within(pace.stall_s + _TICK_S, pace.reload_s, "health.stall_timeout: work, and no token")
            yield replace(whole, limit=whole.limit + pace.stall_s, why="a cold start after the stall was noticed")
        case Fault.SLOW:
            yield whole
        case Fault.DISK_FULL:
            yield replace(whole, limit=whole.limit + FULL_DISK_S, why="a cold start once there is room on the disk")
        case Fault.HIDE_METRICS | Fault.ENGINE_DOWN:
            yield from (_REPLACED, _SHRUNK)


def _within(detected_s: float, then_s: float, why: str) -> Iterator[Promise]:
    yield Promise("detected_s", detected_s, why)
    yield Promise(
        "out_s", detected_s + then_s, "then nginx is told, gateway.reload_interval after the last time at most"
    )
