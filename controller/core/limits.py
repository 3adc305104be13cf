"""The steps between what the signals ask for and what a pool gets, in the order in which they run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from controller.core import capacity, history
from controller.core.capacity import gib
from controller.core.evaluation import Step
from controller.core.model import UNKNOWN, Known, PoolMemory, Signal
from controller.core.policy import ScalingPolicy
from controller.core.reason import ReasonCode
from controller.core.signals import ceil
from controller.core.votes import Moment, Vote
from controller.core.words import amount, name


@dataclass(frozen=True, slots=True)
class Context:
    """What a step may look at. `memory` has this tick's recommendation in it already."""

    moment: Moment
    votes: tuple[Vote, ...]
    memory: PoolMemory

    @property
    def policy(self) -> ScalingPolicy:
        """The pool's."""
        return self.moment.policy

    @property
    def now(self) -> datetime:
        """The time of the tick."""
        return self.moment.now

    @property
    def desired(self) -> int:
        """The count before this tick."""
        return self.moment.view.memory.desired

    @property
    def panicking(self) -> bool:
        """Whether it shrinks for nothing."""
        return self.memory.panic_until is not None and self.now < self.memory.panic_until

    @property
    def overrun(self) -> bool:
        """Whether it panics for the demand, and not only because this controller has just begun."""
        began, until = self.memory.history_since, self.memory.panic_until
        if began is None or until is None or not self.panicking:
            return False
        return until > began + self.policy.panic.hold


def panic(step: Step, context: Context) -> Step:
    """No shrinking for a while after demand was far over the target, or after a controller began."""
    until = context.memory.panic_until
    if step.replicas >= context.desired or until is None or not context.panicking:
        return step
    left_s = (until - context.now).total_seconds()
    why = "demand was far over the target" if context.overrun else "this controller has just begun"
    return step.then(
        context.desired, ReasonCode.PANIC, f"held: {why}, for {left_s:.0f} s more", left_s=round(left_s, 3)
    )


def stabilize_up(step: Step, context: Context) -> Step:
    """Go up no further than the lowest count recommended within the window (as the HPA does); not in a panic."""
    window = context.policy.scale_up_window
    if step.replicas <= context.desired or not window or context.panicking:
        return step
    lowest = max(history.lowest(context.memory.recommended, context.now - window), context.desired)
    window_s = window.total_seconds()
    text = f"no more than {lowest} were needed all through the last {window_s:.0f} s"
    return step.then(min(lowest, step.replicas), ReasonCode.UP_STABILIZED, text, lowest=lowest, window_s=window_s)


def stabilize_down(step: Step, context: Context) -> Step:
    """Go down no further than the highest count recommended within the window (as the HPA does)."""
    desired, window = context.desired, context.policy.scale_down_window
    if step.replicas >= desired:
        return step
    window_s = window.total_seconds()
    watched = context.now - (context.memory.history_since or context.now)
    if watched < window:
        # A controller that has just begun has no proof that the load was low for the whole window.
        watched_s = watched.total_seconds()
        text = f"held: watched for {watched_s:.0f} s of the {window_s:.0f} s window"
        return step.then(desired, ReasonCode.WARMING_UP, text, watched_s=round(watched_s, 3), window_s=window_s)
    peak = min(history.highest(context.memory.recommended, context.now - window), desired)
    text = f"{peak} were needed within the last {window_s:.0f} s"
    return step.then(max(peak, step.replicas), ReasonCode.STABILIZED, text, peak=peak, window_s=window_s)


def rate_up(step: Step, context: Context) -> Step:
    """Rise by no more than is allowed within a period."""
    limit, desired = context.policy.rate_up, context.desired
    if step.replicas <= desired:
        return step
    risen = history.moved(context.memory.counts, context.now - limit.period, up=True)
    most = max(desired - risen + limit.step(desired - risen), desired)
    period_s = limit.period.total_seconds()
    text = f"{most - desired + risen} more within {period_s:.0f} s are allowed"
    return step.then(min(step.replicas, most), ReasonCode.RATE_LIMITED, text, most=most, period_s=period_s)


def rate_down(step: Step, context: Context) -> Step:
    """Shrink only while nothing starts or drains, and by no more than is allowed within a period."""
    limit, desired, view = context.policy.rate_down, context.desired, context.moment.view
    if step.replicas >= desired:
        return step
    if moving := view.starting + view.draining:
        text = f"held: {moving} still starting or draining"
        return step.then(desired, ReasonCode.ONE_AT_A_TIME, text, moving=moving)
    fallen = history.moved(context.memory.counts, context.now - limit.period, up=False)
    least = min(desired + fallen - limit.step(desired + fallen), desired)
    period_s = limit.period.total_seconds()
    text = f"{desired + fallen - least} fewer within {period_s:.0f} s are allowed"
    return step.then(max(step.replicas, least), ReasonCode.RATE_LIMITED, text, least=least, period_s=period_s)


def survivors(step: Step, context: Context) -> Step:
    """Those that stay take over the load of those that go, and must stay within every target.

    Utilisation holds no more than it may ask for: one more than the other signals.
    """
    for vote in context.votes:
        if step.replicas >= context.desired or vote.load is None or not step.replicas:
            continue
        most = most_for_utilization(context) if vote.signal is Signal.UTILIZATION else context.desired
        enough = min(ceil(vote.load / vote.target), most, context.desired)
        each = vote.load / step.replicas
        told = f"{name(vote.signal)} {amount(vote.signal, each)}, target {amount(vote.signal, vote.target)}"
        text = f"{step.replicas} would each have {told}"
        numbers = {"each": round(each, 4), "target": vote.target}
        step = step.then(max(step.replicas, enough), ReasonCode.SURVIVORS, text, **numbers)
    return step


def most_for_utilization(context: Context) -> int:
    """One more than the other signals ask for; one more than serve where there is no other."""
    serving = len(context.moment.view.ready)
    others = [_needed(vote, context) for vote in others_than_utilization(context)]
    if not others:
        return max(serving + 1, context.desired)
    asked = max(*others, context.policy.floor)
    # Those that hold a count which does not serve as yet hold what utilisation has asked for already, and where more
    # serve than the others ask for there is one more.
    settled = serving == context.desired or not context.desired <= asked < max(serving, context.desired + 1)
    return asked + 1 if settled else asked


def others_than_utilization(context: Context) -> list[Vote]:
    """Those that ask for a count."""
    return [vote for vote in context.votes if vote.unguarded is not None and vote.signal is not Signal.UTILIZATION]


def _needed(vote: Vote, context: Context) -> int:
    """What it asks for, less where it only holds a count: inside the tolerance, or as a latency that is not high."""
    asked = vote.unguarded or 0
    if vote.signal is Signal.LATENCY:
        return asked if asked > context.desired else 0
    return asked if vote.load is None else min(asked, ceil(vote.load / vote.target))


def hold_unknown(step: Step, context: Context) -> Step:
    """A signal that is not known may be anything: no shrinking."""
    lost = [name(vote.signal) for vote in context.votes if vote.known is Known.UNKNOWN]
    if step.replicas >= context.desired or not lost:
        return step
    return step.then(context.desired, ReasonCode.SIGNAL_UNKNOWN, f"held: not known: {', '.join(lost)}")


def zero(step: Step, context: Context) -> Step:
    """With a floor of 0: the last one goes after a long idle time, and the first request brings one back."""
    if context.policy.floor or step.replicas:
        return step
    after, last = context.policy.zero_after, _last_request(context)
    if context.desired:
        if last is None:
            return step.then(1, ReasonCode.RECENTLY_USED, "held: not known when the last request came")
        idle_s, after_s = (context.now - last).total_seconds(), after.total_seconds()
        if idle_s >= after_s:
            return step
        text = f"the last request came {idle_s:.0f} s ago, to zero after {after_s:.0f} s"
        return step.then(1, ReasonCode.RECENTLY_USED, text, idle_s=round(idle_s, 3), zero_after_s=after_s)
    since = context.memory.zero_since or context.now - after
    if last is None or last <= max(since, context.now - after):
        return step
    text = "a request came; until one is ready the gateway answers 503 with Retry-After"
    return step.then(1, ReasonCode.FIRST_REQUEST, text)


def _last_request(context: Context) -> datetime | None:
    """When the newest request came. Where the gateway is known and has had none, none since this controller began."""
    reading = context.moment.fresh(context.moment.view.readings.last_request)
    if reading.known is not Known.UNKNOWN:
        return datetime.fromtimestamp(min(reading.value, context.now.timestamp()), tz=context.now.tzinfo)
    known = context.moment.fresh(context.moment.view.readings.pool.get(Signal.IN_FLIGHT, UNKNOWN))
    return context.memory.history_since if known.known is not Known.UNKNOWN and context.desired else None


def schedule(step: Step, context: Context) -> Step:
    """The floor of the hour, where the calendar has a higher one."""
    floor = scheduled_floor(context.policy, context.now)
    text = f"the floor is {floor} at this hour"
    return step.then(max(step.replicas, floor), ReasonCode.SCHEDULED_FLOOR, text, floor=floor)


def scheduled_floor(policy: ScalingPolicy, now: datetime) -> int:
    """The highest floor of the windows that are open; 0 where none is."""
    return max((window.floor for window in policy.schedule if window.open_at(now)), default=0)


def fits(step: Step, context: Context) -> Step:
    """No more than the GPUs hold."""
    free = room(context)
    if free is None or step.replicas <= context.desired:
        return step
    view, needed = context.moment.view, context.policy.gpu_memory_bytes
    most = max(len(view.ready) + view.starting + free, context.desired)
    text = no_room(context) if most == context.desired else f"{gib(needed)} of a GPU are free for {free} more"
    numbers = {"needed_bytes": needed, "fits": free}
    return step.then(min(step.replicas, most), ReasonCode.NO_GPU_FITS, text, **numbers)


def room(context: Context) -> int | None:
    """How many more replicas the GPUs hold; None where that is no question or not known."""
    view, policy = context.moment.view, context.policy
    if not policy.gpu_memory_bytes:
        return None
    return capacity.room(view.gpus, policy.gpu_memory_bytes, view.homeless, context.now, policy.max_reading_age)


def no_room(context: Context) -> str:
    """The sentence for a pool that cannot grow."""
    return capacity.no_room(context.policy.gpu_memory_bytes, context.moment.view.gpus)


def bounds(step: Step, context: Context) -> Step:
    """Floor and ceiling beat every earlier step."""
    floor, ceiling = context.policy.floor, context.policy.ceiling
    step = step.then(max(step.replicas, floor), ReasonCode.AT_FLOOR, f"the floor is {floor}", floor=floor)
    return step.then(min(step.replicas, ceiling), ReasonCode.AT_CEILING, f"the ceiling is {ceiling}", ceiling=ceiling)
