"""Evaluations -> what the API answers. Pure."""

from __future__ import annotations

from controller import evidence
from controller.api.schemas import EvaluationOut, FlipOut, ReasonOut, ShadowOut, SignalOut, StepOut
from controller.core.evaluation import Evaluation, Flip, Move
from controller.core.model import Shadow
from controller.core.reason import Reason
from controller.core.votes import Vote
from controller.core.words import flip_text
from controller.ports import RecordedEvaluation


def recorded(item: RecordedEvaluation, *, with_evidence: bool) -> EvaluationOut:
    """One of the ledger."""
    found = evaluation_of(item.evaluation, item.tick, with_evidence=with_evidence)
    return found.model_copy(update={"id": item.id, "term": item.term, "changed": item.changed})


def evaluation_of(known: Evaluation, tick: int, *, with_evidence: bool) -> EvaluationOut:
    """One that is not in the ledger."""
    view = known.view
    return EvaluationOut(
        id=None,
        at=known.at,
        tick=tick,
        term=None,
        pool=known.pool,
        mode=known.mode.value,
        changed=known.current != known.desired,
        current=known.current,
        desired=known.desired,
        ready=len(view.ready),
        starting=view.starting,
        draining=view.draining,
        signals=signals_of(known),
        steps=[_step(move) for move in known.moves],
        held=[reason_of(reason) for reason in known.held],
        shadow=known.shadow,
        flip=None if known.flip is None else _flip(known.flip),
        evidence=evidence.as_object(known) if with_evidence else None,
    )


def signals_of(evaluation: Evaluation | None) -> list[SignalOut]:
    """In the order in which they were asked."""
    return [_signal(vote) for vote in evaluation.votes] if evaluation is not None else []


def shadow_of(shadow: Shadow | None) -> ShadowOut | None:
    """The second policy's count and both scores."""
    if shadow is None:
        return None
    return ShadowOut(
        desired=shadow.memory.desired,
        since=shadow.since,
        replica_hours=round(shadow.replica_s / 3600, 4),
        short_s=round(shadow.short_s, 3),
        changes=shadow.changes,
        live_replica_hours=round(shadow.live_replica_s / 3600, 4),
        live_short_s=round(shadow.live_short_s, 3),
        live_changes=shadow.live_changes,
    )


def reason_of(reason: Reason) -> ReasonOut:
    """One step of the why."""
    return ReasonOut(code=reason.code.value, text=reason.text, numbers=dict(reason.numbers))


def _signal(vote: Vote) -> SignalOut:
    return SignalOut(
        signal=vote.signal.value,
        known=vote.known.value,
        value=vote.value,
        load=vote.load,
        target=vote.target,
        age_s=vote.age_s,
        wanted=vote.wanted,
    )


def _step(move: Move) -> StepOut:
    reason = move.reason
    return StepOut(
        before=move.before, after=move.after, code=reason.code.value, text=reason.text, numbers=dict(reason.numbers)
    )


def _flip(flip: Flip) -> FlipOut:
    return FlipOut(
        signal=flip.signal.value,
        value=flip.value,
        needed=flip.needed,
        replicas=flip.replicas,
        text=flip_text(flip.signal, flip.value, flip.needed, flip.replicas),
    )
