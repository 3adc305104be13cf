"""Plan -> port calls, one outcome each. Every call is idempotent: a repeated, late or half-done tick does no harm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import assert_never

from controller.core.decision import (
    Decision,
    DrainReplica,
    Plan,
    RecycleReplica,
    RemoveReplica,
    ScalePool,
    StartReplica,
    TerminateReplica,
)
from controller.core.errors import GatewayRejected, GatewayUnavailable, LostLease, PermanentError, TransientError
from controller.core.model import Container, GatewayPlan
from controller.core.reason import ReasonCode
from controller.ports import GatewayState
from controller.reconcile.parts import Parts

DONE = "done"
_WANTED = (ReasonCode.DRAINED, ReasonCode.DUPLICATE)  # removed because it was to go, and not because it failed
_AT_ONCE = 4  # calls to the runtime in parallel: a start takes a few tenths of a second, nearly all of it waiting


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one decision ended. `error` is None when it was carried out."""

    decision: Decision
    error: Exception | None = None
    last_words: str = ""

    @property
    def text(self) -> str:
        """For the ledger."""
        return DONE if self.error is None else f"{type(self.error).__name__}: {self.error}"


@dataclass(frozen=True, slots=True)
class GatewayOutcome:
    """What became of the routes. `changed` says that nginx took a new configuration just now."""

    state: GatewayState
    changed: bool = False
    error: Exception | None = None


def apply_routes(parts: Parts, plan: GatewayPlan) -> GatewayOutcome:
    """Bring the routes to nginx. Blocks for at most 5 s."""
    before = parts.gateway.state()
    try:
        after = parts.gateway.apply(plan)
    except (GatewayRejected, GatewayUnavailable) as error:
        return GatewayOutcome(parts.gateway.state(), error=error)
    return GatewayOutcome(after, changed=after.applied != before.applied)


def write_targets(parts: Parts, containers: Sequence[Container]) -> Exception | None:
    """Tell Prometheus; what went wrong, if it did. A disk that is full must not keep a dead replica in nginx."""
    try:
        parts.targets.write(containers)
    except OSError as error:
        return error
    return None


def carry_out(parts: Parts, plan: Plan) -> tuple[Outcome, ...]:
    """Do what was decided, several at once, and wait for all; outcomes in the order of the decisions.

    What has not begun when the lease runs out does not begin: whoever leads by then decides it anew.
    """
    if not plan.decisions:
        return ()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="act") as pool:
        return tuple(pool.map(lambda decision: _attempt(parts, decision), plan.decisions))


def _attempt(parts: Parts, decision: Decision) -> Outcome:
    words = ""
    try:
        if parts.lease.holds():
            words = _last_words(parts, decision)
        if not parts.lease.holds():  # again: that may have taken its time
            raise LostLease("the lease ran out before it was begun")
        _do(parts, decision)
    except (TransientError, PermanentError, LostLease) as error:
        return Outcome(decision, error, words)
    return Outcome(decision, last_words=words)


def _last_words(parts: Parts, decision: Decision) -> str:
    """What a replica that failed wrote last; asked before it is gone for good."""
    if not isinstance(decision, RemoveReplica) or decision.reasons[-1].code in _WANTED:
        return ""
    try:
        return parts.fleet.last_words(decision.node, decision.replica)
    except (TransientError, PermanentError) as error:
        return f"its log could not be read: {error}"


def _do(parts: Parts, decision: Decision) -> None:
    match decision:
        case ScalePool() | RecycleReplica() | DrainReplica():
            pass  # what they want is in the memory and in the routes already
        case StartReplica():
            spec = parts.spec_for(decision.pool, decision.replica, decision.spec_hash)
            parts.fleet.start(decision.node, replace(spec, gpu=decision.gpu))
        case TerminateReplica():
            parts.fleet.terminate(decision.node, decision.replica)
        case RemoveReplica():
            parts.fleet.remove(decision.node, decision.replica)
        case _:
            assert_never(decision)


def failed(outcomes: Iterable[Outcome]) -> list[Decision]:
    """What was not done. A start that was not even begun says nothing against the pool, and is none of them."""
    return [
        outcome.decision
        for outcome in outcomes
        if outcome.error is not None
        and not (isinstance(outcome.error, LostLease) and isinstance(outcome.decision, StartReplica))
    ]
