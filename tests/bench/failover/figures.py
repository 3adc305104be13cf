"""What a trial comes to, and what the trials of a run come to. Pure: reads no clock and starts nothing."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

REFERENCE = "stoker"  # whom the ratios refer to
TIMED_OUT = "no whole answer in time"


@dataclass(frozen=True)
class Request:
    """One request of the load, on the monotonic clock of the machine. `first`: its first byte of a body came."""

    began: float
    first: float | None
    ended: float
    error: str = ""  # empty: the whole answer came

    @property
    def refused(self) -> bool:
        """It failed at once, so how long that took is no latency."""
        return bool(self.error) and self.first is None and self.error != TIMED_OUT


@dataclass(frozen=True)
class Trial:
    """One fault on one side, and the window after it."""

    side: str
    fault: str
    requests: int
    failed: int
    cut: int
    full_s: float | None  # None: not within the window
    p95_s: float
    worst_s: float
    others_lost: int = 0  # replicas that nobody broke and that were gone at the window's end
    errors: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """A whole run, as its JSON has it."""

    about: dict[str, str]  # the machine and the load
    sides: dict[str, str]  # name -> how it was set up
    window_s: float
    trials: list[Trial]
    unmeasured: list[str] = field(default_factory=list)  # sentences

    def as_json(self) -> dict[str, object]:
        """Goes through `json.dumps`."""
        return asdict(self)

    @staticmethod
    def of(parsed: dict[str, object]) -> Report:
        """What `as_json` gave. Raises `KeyError` or `TypeError` where it is something else."""
        known = dict(parsed)
        trials = known.pop("trials")
        if not isinstance(trials, list):
            raise TypeError("trials is no list")
        return Report(trials=[Trial(**trial) for trial in trials], **known)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Line:
    """The trials of one fault on one side: medians, and the worst answer of all."""

    side: str
    fault: str
    trials: int
    requests: float
    failed: float
    cut: float
    full_s: float  # infinite: not within the window
    never: int  # trials of which that is true
    p95_s: float
    worst_s: float
    others_lost: int  # in all trials


def concerned(requests: Sequence[Request], fault_at: float, until: float) -> list[Request]:
    """Those that were under way at the fault or began in the window after it."""
    return [request for request in requests if request.ended >= fault_at and request.began < until]


def fold(side: str, fault: str, requests: Sequence[Request], full_s: float | None, others_lost: int) -> Trial:
    """Count. Latency is how long the clients waited, those left out that were refused unless all were.

    Raises:
        ValueError: there is no request at all, so nothing was measured.
    """
    if not requests:
        raise ValueError(f"no request of the load fell into the window after {fault} on {side}")
    kept = [request for request in requests if not request.refused] or requests
    waited = sorted(request.ended - request.began for request in kept)
    bad = [request for request in requests if request.error]
    return Trial(
        side,
        fault,
        requests=len(requests),
        failed=sum(request.first is None for request in bad),
        cut=sum(request.first is not None for request in bad),
        full_s=full_s,
        p95_s=waited[math.ceil(0.95 * len(waited)) - 1],
        worst_s=waited[-1],
        others_lost=others_lost,
        errors=dict(Counter(request.error for request in bad).most_common()),
    )


def lines(trials: Sequence[Trial]) -> list[Line]:
    """One line per fault and side, in the order in which they were first seen; faults together."""
    faults = dict.fromkeys(trial.fault for trial in trials)
    sides = dict.fromkeys(trial.side for trial in trials)
    groups = [[t for t in trials if (t.fault, t.side) == (fault, side)] for fault in faults for side in sides]
    return [_line(group) for group in groups if group]


def _line(group: Sequence[Trial]) -> Line:
    full = [math.inf if trial.full_s is None else trial.full_s for trial in group]
    return Line(
        group[0].side,
        group[0].fault,
        trials=len(group),
        requests=statistics.median(trial.requests for trial in group),
        failed=statistics.median(trial.failed for trial in group),
        cut=statistics.median(trial.cut for trial in group),
        full_s=statistics.median(full),
        never=full.count(math.inf),
        p95_s=statistics.median(trial.p95_s for trial in group),
        worst_s=max(trial.worst_s for trial in group),
        others_lost=sum(trial.others_lost for trial in group),
    )


def reference(line: Line, known: Sequence[Line]) -> Line | None:
    """Stoker's line of the same fault; None where there is none, and for Stoker itself."""
    found = (other for other in known if other.fault == line.fault and other.side == REFERENCE)
    return None if line.side == REFERENCE else next(found, None)


def failed_ratio(line: Line, base: Line) -> str:
    """Failed requests beside Stoker's. Nothing divides by 0: then both counts are told."""
    if base.failed == 0:
        return "both 0" if line.failed == 0 else f"{line.failed:g} : 0"
    return f"{line.failed / base.failed:.1f}"


def time_ratio(line: Line, base: Line, window_s: float) -> str:
    """Time to full strength beside Stoker's."""
    if math.isinf(base.full_s):
        return "neither" if math.isinf(line.full_s) else f"< {line.full_s / window_s:.2f}"
    if math.isinf(line.full_s):
        return f"> {window_s / base.full_s:.1f}"
    return f"{line.full_s / base.full_s:.2f}"


def remarks(known: Sequence[Line], window_s: float) -> list[str]:
    """A sentence for each comparison, the ones that Stoker loses first, and for replicas lost besides."""
    lost: list[str] = []
    won: list[str] = []
    for line in known:
        base = reference(line, known)
        if base is None:
            continue
        for worse, text in (_failed_remark(line, base), _time_remark(line, base, window_s)):
            (lost if worse else won).append(text)
    strays = [line for line in known if line.others_lost]
    return lost + won + [_strays(line) for line in strays]


def _strays(line: Line) -> str:
    return (
        f"{line.fault}: {line.side} ended {line.others_lost} replicas besides in {line.trials} trials, "
        "which nobody had broken: its figures tell of that as well."
    )


def _failed_remark(line: Line, base: Line) -> tuple[bool, str]:
    word = "more" if base.failed > line.failed else "as many" if base.failed == line.failed else "fewer"
    than = "as" if word == "as many" else "than"
    text = f"{line.fault}: Stoker failed {word} requests {than} {line.side} ({base.failed:g} and {line.failed:g})."
    return base.failed > line.failed, text


def _time_remark(line: Line, base: Line, window_s: float) -> tuple[bool, str]:
    if math.isinf(base.full_s) and math.isinf(line.full_s):
        return False, f"{line.fault}: neither Stoker nor {line.side} was at full strength within {window_s:g} s."
    word = "slower" if base.full_s > line.full_s else "as fast" if base.full_s == line.full_s else "faster"
    than = "as" if word == "as fast" else "than"
    times = f"{seconds(base.full_s, window_s)} and {seconds(line.full_s, window_s)}"
    return base.full_s > line.full_s, f"{line.fault}: Stoker was {word} at full strength {than} {line.side} ({times})."


def seconds(value: float, window_s: float) -> str:
    """A time to full strength for people."""
    return f"never within {window_s:g} s" if math.isinf(value) else f"{value:.1f} s"
