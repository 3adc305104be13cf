"""A run's figures as text: the same columns on the terminal, in the report and in the benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.simulate.score import FLIP_S, Result

NONE = "-"
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a run. `title` may be broken into two lines at its line break; `about` is a sentence for those who
    read it the first time."""

    heading: str
    text: Callable[[Result], str]
    about: str

    @property
    def title(self) -> str:
        """In one line."""
        return self.heading.replace("-\n", "-").replace("\n", " ")


def counted(count: int, what: str) -> str:
    """1 request, 1,234 requests."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def percent(share: float) -> str:
    """With two decimals; 100 and 0 only for what is really all or nothing."""
    shown = 100 * share
    if 0 < share < 1:
        shown = min(max(shown, 0.01), 99.99)
    return f"{shown:.2f} %" if 0 < share < 1 else f"{shown:.0f} %"


def seconds(value: float | None) -> str:
    """Three digits, or a dash for none."""
    if value is None:
        return NONE
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s" if value < 100 else f"{value:,.0f} s"


def span(value: float) -> str:
    """A time in the two largest units that it has: 57 min 16 s."""
    if value < 60:
        return f"{value:.4g} s"
    left, parts = round(value), list[str]()
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count:,} {unit}")
    return " ".join(parts[:2])


def clock(at_s: float) -> str:
    """A moment of a run: 0:57:16, with days before it where there are any."""
    minutes, second = divmod(int(at_s), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days} d {hour}:{minute:02}:{second:02}" if days else f"{hour}:{minute:02}:{second:02}"


SERVED = (
    Column(
        "within\nSLO",
        lambda run: percent(run.slo_share),
        "Requests whose first token and whole answer both came in time. One that failed or was cut is not among them.",
    ),
    Column(
        "first token\nin time",
        lambda run: percent(run.slo_first_token_share),
        "Requests whose first token was in time.",
    ),
    Column(
        "answer\nin time", lambda run: percent(run.slo_duration_share), "Requests whose whole answer was there in time."
    ),
    Column(
        "first token\np95",
        lambda run: seconds(run.first_token_p95_s),
        "Time to the first token that 95 % of the full answers kept to.",
    ),
    Column(
        "failed\n/ cut",
        lambda run: f"{run.failed} / {run.cut}",
        "Requests that found no ready replica, and answers whose replica died under them.",
    ),
    Column(
        "worst\nqueue",
        lambda run: f"{run.worst_queue:,}",
        "Most requests that waited for a slot, looked at each second.",
    ),
)
SPENT = (
    Column(
        "replica-\nhours",
        lambda run: f"{run.replica_hours:,.2f}",
        "From the order of a replica to its exit, up to the last arrival.",
    ),
    Column("cost", lambda run: f"{run.cost:,.2f}", "Replica-hours times the price."),
    Column("ups /\ndowns", lambda run: f"{run.scale_ups} / {run.scale_downs}", "Changes of the wanted count."),
    Column(
        "flips",
        lambda run: f"{run.flips}",
        f"Changes of direction within {FLIP_S / 60:g} minutes of the change before.",
    ),
    Column("peak", lambda run: f"{run.peak_replicas}", "Most replicas that were paid for at once."),
)
