"""How Stoker's run compares with the others, in one sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from controller.simulate.figures import percent
from controller.simulate.score import Result


def as_often(results: Sequence[Result]) -> list[Result]:
    """The others that met the SLO at least as often as the first one, the cheapest first."""
    found = [other for other in results[1:] if other.slo_share >= results[0].slo_share]
    return sorted(found, key=lambda other: other.replica_hours)


def sentence(results: Sequence[Result]) -> str:
    """Who met the SLO at least as often as the first one, Stoker, and with how many replica-hours."""
    ours, others = results[0], results[1:]
    text = f"Stoker met the SLO for {_met(ours)}"
    equal = as_often(results)
    if not others:
        return f"{text}."
    if equal:
        told = ", ".join(f"{other.scaler} for {_met(other)} ({_more(ours, other)})" for other in equal)
        return f"{text}; at least as often did {told}{_rest(len(others) - len(equal))}."
    best = max(others, key=lambda other: (other.slo_share, -other.replica_hours))
    if len(others) == 1:
        return f"{text}; {best.scaler} met it less often, for {_met(best)}."
    return f"{text}; all {len(others)} others met it less often, most of all {best.scaler}, for {_met(best)}."


def _met(result: Result) -> str:
    return f"{percent(result.slo_share)} of the requests with {result.replica_hours:,.2f} replica-hours"


def _more(ours: Result, other: Result) -> str:
    """How the cost of another run stands to ours."""
    if ours.replica_hours <= 0:
        return "Stoker paid for none"
    change = round(100 * (other.replica_hours / ours.replica_hours - 1))
    return "as many" if change == 0 else f"{abs(change)} % {'more' if change > 0 else 'fewer'} than Stoker"


def _rest(count: int) -> str:
    return (
        f"; the other {count} met it less often" if count > 1 else "; the other one met it less often" if count else ""
    )
