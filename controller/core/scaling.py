"""How many replicas a pool should have.

Pure: the same arguments, the same answer. The steps run in a fixed order; each may move the count and must then say
why. What each does is in its docstring, and as a table in docs/tick.md.

The bounds come once early, so that the steps after them speak only of what can happen, and once more last, because
they win.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from controller.core import forecast, history, limits, thresholds
from controller.core.evaluation import Evaluation, Step
from controller.core.limits import Context
from controller.core.model import Known, PoolMemory, Signal
from controller.core.policy import Mode, ScalingPolicy
from controller.core.reason import Reason, ReasonCode
from controller.core.signals import ceil
from controller.core.votes import Moment, PoolView, votes_of
from controller.core.words import load_of, name, numbers_of

AFTER_SIGNALS: tuple[Callable[[Step, Context], Step], ...] = (
    limits.panic,
    limits.stabilize_up,
    limits.stabilize_down,
    limits.rate_up,
    limits.rate_down,
    limits.survivors,
    limits.hold_unknown,
    limits.zero,
    limits.schedule,
    limits.fits,
    limits.bounds,
)


def decide_scale(
    view: PoolView, policy: ScalingPolicy, now: datetime, mode: Mode = Mode.ACTIVE
) -> tuple[Evaluation, Context]:
    """The pool's count for this tick with everything that led to it; the context has the memory with that count.

    Without any known signal the count is held; floor and ceiling count even then.
    """
    context = _watch(view, policy, now)
    step = Step(view.memory.desired)
    for signal_step in (strongest, alone, idle, foreseen, pending, limits.schedule, limits.bounds):
        step = signal_step(step, context)
    context = Context(context.moment, context.votes, _recommend(context, step.replicas))
    for limit in AFTER_SIGNALS:
        step = limit(step, context)
    if mode is Mode.PAUSED:
        step = limits.bounds(paused(step, context), context)
    evaluation = Evaluation(view.memory.pool, now, view, policy, mode, context.votes, step.moves, step.replicas)
    return evaluation, Context(context.moment, context.votes, _remember(context, step.replicas))


def strongest(step: Step, context: Context) -> Step:
    """The highest count that any signal asks for."""
    asking = [vote for vote in context.votes if vote.unguarded is not None]
    if not asking:
        names = ", ".join(name(vote.signal) for vote in context.votes) or "no signal is enabled"
        return step.because(step.replicas, Reason(ReasonCode.NO_DATA, f"held: nothing is known of the load ({names})"))
    vote = max(asking, key=lambda one: one.unguarded or 0)
    wanted = vote.unguarded or 0
    code = ReasonCode.ON_TARGET
    if wanted != step.replicas:
        code = ReasonCode.ABOVE_TARGET if wanted > step.replicas else ReasonCode.BELOW_TARGET
    spread_over = step.replicas if vote.signal is Signal.IN_FLIGHT else len(context.moment.view.ready)
    text = load_of(vote, spread_over) + ("" if wanted == step.replicas else f": {wanted} would do")
    return step.because(wanted, Reason(code, text, numbers_of(vote)))


def alone(step: Step, context: Context) -> Step:
    """Utilisation alone asks for one more than the other signals do: one request keeps a GPU as busy as ten.

    Source: dcgm-exporter issue 301, a scaler that ran away on it.
    """
    if not any(vote.signal is Signal.UTILIZATION and vote.unguarded is not None for vote in context.votes):
        return step
    asked = [vote.unguarded or 0 for vote in limits.others_than_utilization(context)]
    most = max(limits.most_for_utilization(context), *asked, 0)
    text = f"utilization alone may ask for {most}, at most one more than the other signals do"
    return step.then(min(step.replicas, most), ReasonCode.UTILIZATION_ALONE, text, most=most)


def idle(step: Step, context: Context) -> Step:
    """With a floor of 0: where nothing is in flight the last one is not needed, whatever else it is busy with."""
    nothing = any(vote.signal is Signal.IN_FLIGHT and vote.known is Known.IDLE for vote in context.votes)
    if context.policy.floor or step.replicas != 1 or not nothing:
        return step
    return step.then(0, ReasonCode.BELOW_TARGET, "nothing is in flight, and what else it is busy with is no request")


def foreseen(step: Step, context: Context) -> Step:
    """What the trend of the requests in flight will need once a replica that starts now is ready. Never fewer."""
    demand, cold_start_s = _trend(context), context.memory.cold_start_s or 0.0
    text = f"at this rate {demand:.1f} will be in flight {cold_start_s:.0f} s on, when a new replica would be ready"
    numbers = {"forecast": round(demand, 3), "cold_start_s": round(cold_start_s, 3)}
    needed = ceil(demand / context.policy.in_flight.target)
    return step.then(max(step.replicas, needed), ReasonCode.FORECAST, text, **numbers)


def _trend(context: Context) -> float:
    """The demand one cold start ahead; 0 where no forecast is wanted or possible."""
    cold_start_s = context.memory.cold_start_s
    if not context.policy.forecast.enabled or cold_start_s is None:
        return 0.0
    return forecast.ahead(context.memory.demand, context.now, cold_start_s) or 0.0


def pending(step: Step, context: Context) -> Step:
    """Replicas that are still to come count: nothing new while they cover the need."""
    guarded = [vote.wanted for vote in context.votes if vote.wanted is not None]
    coming = context.moment.view.pending
    if not coming or step.replicas <= context.desired or not guarded:
        return step
    enough = max(*guarded, context.desired, ceil(_trend(context) / context.policy.in_flight.target))
    text = f"{coming} more are still to come, and with them {enough} will do"
    return step.then(min(step.replicas, enough), ReasonCode.PENDING, text, pending=coming)


def paused(step: Step, context: Context) -> Step:
    """The operator holds the count; the steps above say what it would be."""
    return step.then(context.desired, ReasonCode.PAUSED, "held: the pool is paused")


def _watch(view: PoolView, policy: ScalingPolicy, now: datetime) -> Context:
    """What is crossed and for how long, then the votes. A new controller begins in a panic (as Knative's does)."""
    moment = Moment(view, policy, now)
    since = thresholds.watch(view.memory.over_since, thresholds.crossed_by(moment), now)
    moment = Moment(view, policy, now, thresholds.long_enough(since, thresholds.durations_of(policy), now))
    begins = view.memory.history_since is None
    until, held = view.memory.panic_until, now + policy.panic.hold
    until = held if begins or thresholds.PANIC in moment.over else until and min(until, held)
    votes = votes_of(moment)
    memory = view.memory.but(over_since=since, panic_until=until, history_since=view.memory.history_since or now)
    demand = next((vote.load for vote in votes if vote.signal is Signal.IN_FLIGHT and vote.load is not None), None)
    if policy.forecast.enabled and demand is not None:
        memory = memory.but(demand=forecast.sample(memory.demand, demand, now, policy.forecast.window))
    return Context(moment, votes, memory)


def _recommend(context: Context, replicas: int) -> PoolMemory:
    """The memory with what the signals ask for."""
    keep = max(context.policy.scale_down_window, context.policy.scale_up_window)
    return context.memory.but(recommended=history.record(context.memory.recommended, replicas, context.now, keep))


def _remember(context: Context, desired: int) -> PoolMemory:
    """The memory with the new count. A change gives every threshold of the count its whole duration again."""
    memory, policy, now = context.memory, context.policy, context.now
    keep = max(policy.rate_up.period, policy.rate_down.period)
    counts = memory.counts or history.record((), context.desired, now - timedelta(days=1), keep)
    over = memory.over_since
    if desired != context.desired:
        over = {key: at for key, at in over.items() if key not in (Signal.LATENCY, Signal.UTILIZATION)}
    zero_since = (memory.zero_since if not context.desired else now) if not desired else None
    counts = history.record(counts, desired, now, keep)
    return memory.but(desired=desired, counts=counts, over_since=over, zero_since=zero_since)
