"""What the routes of the drills need of those who run them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Wish:
    """A drill that somebody wants. `clients` are those of its load; `force`: also where users may notice it."""

    fault: str
    pool: str
    clients: int = 8
    force: bool = False


@dataclass(frozen=True, slots=True)
class Possible:
    """A fault, and whether it can be done here and now.

    `why_not` is why it can never be done on this installation, `not_now` why users would notice it now, which `force`
    is for; empty: it can. `hits` replicas are hurt at most, 0: another part is. `promises` are the limits, by the name
    of the figure, `patience_s` is how long it goes on at most.
    """

    fault: str
    what: str
    hits: int
    why_not: str = ""
    not_now: str = ""
    promises: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    patience_s: float = 0.0


class DrillRefused(Exception):
    """It cannot be done now; the text is one sentence and says what would be right."""


class UnknownFault(DrillRefused):
    """There is no such fault."""


class DrillDesk(Protocol):
    """Runs drills, one at a time, each in a process of its own."""

    def possible(self, pool: str, clients: int) -> Sequence[Possible]:
        """Every fault there is. Blocks for some seconds where a node gives no answer. Raises `DrillRefused`."""
        ...

    def start(self, name: str, wish: Wish, begins: Callable[[], None]) -> None:
        """Begin it under this id; it tells of itself from then on. Blocks as `possible` does. Raises `DrillRefused`.

        `begins` is called right before, once nothing stands in its way any more; what it raises is raised.
        """
        ...

    def running(self) -> str | None:
        """The id of the one that runs with this state directory, whoever began it. Does not block."""
        ...

    def stop(self, name: str) -> bool:
        """Tell it to undo what it did and end; whether it runs. Does not block."""
        ...

    def follow(self, gone: Callable[[str, str], None]) -> None:
        """From now on tell the id of each whose process has ended, and how, from another thread; and undo what those
        left that were killed, before now, too."""
        ...

    def close(self) -> None:
        """End what was begun through a controller. Blocks for at most 3 s."""
        ...
