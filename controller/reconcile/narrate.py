"""Decisions, changes and failures -> events, in the words that people read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from controller.core.decision import Decision, GpuChange, Reason, ReasonCode, ScalePool, StateChange
from controller.core.event import Event
from controller.core.model import GatewayPlan, PoolName
from controller.reconcile.act import GatewayOutcome, Outcome

_PAST = {
    "start_replica": "replica_started",
    "recycle_replica": "replica_recycled",
    "drain_replica": "replica_drained",
    "terminate_replica": "replica_terminated",
    "remove_replica": "replica_removed",
}


# What stands over a pool until it is over, and is told when it begins and when it ends.
_ALARMS = {
    ReasonCode.PANIC_THRESHOLD: ("gateway_held", "gateway_free"),
    ReasonCode.FUSE_BLOWN: ("fuse_blown", "fuse_closed"),
    ReasonCode.CRASH_LOOP: ("pool_quarantined", "pool_released"),
    ReasonCode.ROLLED_BACK: ("spec_refused", "spec_accepted"),
    ReasonCode.NO_NODE: ("placement_blocked", "placement_free"),
    ReasonCode.GPU_PANIC: ("gpus_held", "gpus_free"),
}


def stamp(events: Iterable[Event], tick: int, term: int) -> list[Event]:
    """Tick and term, to join each event with everything else of that moment."""
    return [replace(event, tick=tick, term=term) for event in events]


def of_change(change: StateChange, at: datetime) -> Event:
    """A replica's state."""
    was = change.was.value if change.was else "unknown"
    message = f"Was {was}, is {change.now.value}: {change.reason.text}."
    subject = f"replica/{change.replica}"
    return Event(at, f"replica_{change.now.value}", subject, change.reason.code, message, change.reason.numbers)


def of_gpu(change: GpuChange, at: datetime) -> Event:
    """A GPU was cordoned or released, or wants watching."""
    message = f"Of node {change.node}: {change.reason.text}."
    return Event(at, change.event, f"gpu/{change.uuid}", change.reason.code, message, change.reason.numbers)


def of_outcome(outcome: Outcome, at: datetime) -> Event:
    """A decision that was carried out, or was not."""
    decision = outcome.decision
    subject = _subject(decision)
    if outcome.error is not None:
        message = f"{decision.kind} failed: {outcome.error}"
        return Event(at, f"{decision.kind}_failed", subject, type(outcome.error).__name__, message)
    reason = decision.reasons[-1]
    numbers = {name: value for step in decision.reasons for name, value in step.numbers.items()}
    if isinstance(decision, ScalePool):
        numbers = {"from": decision.current, "to": decision.desired, **numbers}
        message = f"Went from {decision.current} to {decision.desired}: {sentence(decision.reasons)}."
        return Event(at, "pool_scaled", subject, reason.code, message, numbers)
    return Event(at, _PAST[decision.kind], subject, reason.code, f"{sentence(decision.reasons)}.", numbers)


def of_alarms(
    before: Mapping[PoolName, Sequence[Reason]], now: Mapping[PoolName, Sequence[Reason]], at: datetime
) -> list[Event]:
    """What began to stand over a pool, and what ended."""
    old, new = _alarms(before), _alarms(now)
    begun = [
        Event(at, _ALARMS[code][0], f"pool/{pool}", code, _sentence(reason), reason.numbers)
        for (pool, code), reason in new.items()
        if (pool, code) not in old
    ]
    ended = [
        Event(at, _ALARMS[code][1], f"pool/{pool}", code, "It is over.")
        for pool, code in old
        if (pool, code) not in new and pool in now
    ]
    return begun + ended


def _alarms(standing: Mapping[PoolName, Sequence[Reason]]) -> dict[tuple[PoolName, ReasonCode], Reason]:
    return {
        (pool, reason.code): reason
        for pool, reasons in standing.items()
        for reason in reasons
        if reason.code in _ALARMS
    }


def _sentence(reason: Reason) -> str:
    return f"{reason.text[0].upper()}{reason.text[1:]}."


def of_gateway(outcome: GatewayOutcome, plan: GatewayPlan, at: datetime) -> list[Event]:
    """nginx took a new configuration, or refused it."""
    if outcome.error is not None:
        return [Event(at, "gateway_failed", "gateway", type(outcome.error).__name__, str(outcome.error))]
    if not outcome.changed:
        return []
    routed = [
        f"{routes.pool}: {', '.join(server.replica for server in routes.servers) or 'none'}" for routes in plan.pools
    ]
    numbers = {"servers": float(len(plan.replicas()))}
    return [
        Event(at, "gateway_reloaded", "gateway", "RoutesChanged", f"Sends requests to {'; '.join(routed)}.", numbers)
    ]


def of_targets(error: Exception | None, at: datetime) -> list[Event]:
    """Prometheus could not be told of the replicas."""
    return [] if error is None else [Event(at, "targets_failed", "targets", type(error).__name__, str(error))]


def of_sources(before: Sequence[str], now: Sequence[str], at: datetime) -> list[Event]:
    """A source fell silent, or came back."""
    lost = [
        Event(at, "source_lost", f"source/{name}", "NoAnswer", "Gave no answer.") for name in now if name not in before
    ]
    back = [
        Event(at, "source_back", f"source/{name}", "Answered", "Answers again.") for name in before if name not in now
    ]
    return lost + back


def sentence(reasons: Sequence[Reason]) -> str:
    """All steps in one line."""
    return "; ".join(reason.text for reason in reasons)


def _subject(decision: Decision) -> str:
    return f"pool/{decision.pool}" if isinstance(decision, ScalePool) else f"replica/{decision.replica}"
