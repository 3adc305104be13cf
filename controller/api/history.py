"""Numbers over time, as the pages and the API get them: what was said, when, and since when nobody says anything."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from controller.core.timeline import Axis, Column
from controller.records import Series

#: For how many seconds whoever asks waits for an answer. A page that renews itself gets along without one for a while.
patience: ContextVar[float] = ContextVar("patience", default=7.0)


@dataclass(frozen=True, slots=True)
class Told:
    """The newest answer to a question, on its own axis: that of an old answer is in the past.

    `as_of` is when it was given; None: there never was one. `stale_since` is since when there is no newer one.
    """

    axis: Axis
    series: tuple[Series, ...] = ()
    as_of: datetime | None = None
    stale_since: datetime | None = None

    def columns(self, *names: str) -> dict[tuple[str, ...], Column]:
        """Each series on the axis, by the values of these labels; a label that it lacks is empty."""
        return {
            tuple(series.labels.get(name, "") for name in names): self.axis.column(series.points)
            for series in self.series
        }


class HistoryBook(Protocol):
    """What Prometheus tells of the past. Answers are a few seconds old, and nothing raises where it is away."""

    def ask(self, promql: str, axis: Axis, *, moves: bool = True) -> Told:
        """The answer on this axis. Blocks for `patience`, 7 s unless told, and not at all while it is young.

        `moves`: the axis ends now, and an old answer to the same question will do while there is no new one.
        """
        ...

    def close(self) -> None:
        """No more questions. Idempotent; does not block."""
        ...


class UnopenedHistory:
    """See `HistoryBook`: of a controller that stands by. Nothing was ever told."""

    def ask(self, promql: str, axis: Axis, *, moves: bool = True) -> Told:
        """Nothing."""
        return Told(axis)

    def close(self) -> None:
        """There is nothing to close."""
