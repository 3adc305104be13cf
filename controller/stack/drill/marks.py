"""What stands out on a drill's time axis, for the terminal and the chart. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from controller.stack.drill.result import Drill


@dataclass(frozen=True, slots=True)
class Mark:
    """A time with a name; `letter` stands for it where there is no room."""

    at_s: float
    name: str
    letter: str


def marks(drill: Drill) -> tuple[Mark, ...]:
    """Fault, detection, out of nginx, its end, full strength: those that came about, in the order of time."""
    measured, recording = drill.measured, drill.recording
    if measured is None or recording is None:
        return ()
    times = (
        (0.0, "fault", "F"),
        (measured.detected_s, "detected", "D"),
        (measured.out_s, "out of nginx", "O"),
        (recording.over_s, "undone", "U"),
        (measured.whole_s or None, "full strength", "S"),  # at 0 it never lost any
    )
    return tuple(sorted((Mark(at_s, name, letter) for at_s, name, letter in times if at_s is not None), key=_time))


def _time(mark: Mark) -> float:
    return mark.at_s
