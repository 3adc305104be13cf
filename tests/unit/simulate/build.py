"""Short ways to write down what an autoscaler sees."""

from __future__ import annotations

from collections.abc import Sequence

from controller.simulate.metrics import WINDOWS_S, Latency, Numbers, Usage, View

NOTHING = Latency((0,) * 65, 0, 0.0)


def numbers(
    held: Sequence[int] = (), *, mean: float | None = None, arrivals: int = 0, ended: int = 0, **more: object
) -> Numbers:
    """Replicas with so many requests each; the means of all windows are the sum unless given."""
    usages = {f"r{place}": Usage(count, 0, 0.0, 0.0, 0.0, 0.0) for place, count in enumerate(held)}
    total = sum(held)
    values: dict[str, object] = {
        "measured_at_s": 0.0,
        "in_flight": total,
        "of_replica": usages,
        "utilization": dict.fromkeys(usages, 0.0),
        "tokens_per_s": dict.fromkeys(usages, 0.0),
        "mean_in_flight": dict.fromkeys(WINDOWS_S, total if mean is None else mean),
        "arrivals": dict.fromkeys(WINDOWS_S, arrivals),
        "ended": dict.fromkeys(WINDOWS_S, ended),
        "first_byte": NOTHING,
        "duration": NOTHING,
        "error_share": 0.0,
        "last_request_s": None,
    }
    return Numbers(**(values | more))  # type: ignore[arg-type]


def view(now: float, desired: int, seen: Numbers | None, *, ready: int | None = None, starting: int = 0) -> View:
    """Everything that is desired is ready unless told otherwise."""
    return View(now, desired if ready is None else ready, starting, desired, seen)
