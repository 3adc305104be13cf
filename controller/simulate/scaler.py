"""What decides in a simulation: the port, and the way of the peers, who give a count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from controller.simulate.fleet import Fleet, State
from controller.simulate.metrics import View

Look = Callable[[], View]  # costs something: called only where it is needed


class Scaler(Protocol):
    """Decides on a fleet. One object plays one run."""

    @property
    def name(self) -> str: ...
    @property
    def interval_s(self) -> float:
        """Between two calls of `step`."""
        ...

    @property
    def desired(self) -> int:
        """The count that it wants now."""
        ...

    def begin(self, fleet: Fleet) -> None:
        """Put the warm replicas in place, before anything happens."""
        ...

    def step(self, fleet: Fleet, look: Look) -> None:
        """Look, decide and act."""
        ...

    def on_death(self, fleet: Fleet, look: Look) -> None:
        """A replica has died just now."""
        ...


class CountPolicy(Protocol):
    """A peer's arithmetic: how many replicas."""

    @property
    def name(self) -> str: ...
    @property
    def interval_s(self) -> float: ...

    def decide(self, view: View) -> int:
        """The count, within floor and ceiling."""
        ...


class Counted:
    """Carries out a peer's count as an orchestrator does, at its best.

    Everything that is missing starts at once, everything that is too many drains at once and for as long as it needs,
    the dead are replaced at once, and a replica is routed in the moment in which it is ready.
    """

    def __init__(self, policy: CountPolicy, desired: int) -> None:
        self._policy, self._desired = policy, desired

    @property
    def name(self) -> str:
        return self._policy.name

    @property
    def interval_s(self) -> float:
        return self._policy.interval_s

    @property
    def desired(self) -> int:
        return self._desired

    def begin(self, fleet: Fleet) -> None:
        for _ in range(self._desired):
            fleet.start(warm=True)

    def step(self, fleet: Fleet, look: Look) -> None:
        self._desired = self._policy.decide(look())
        resize(fleet, self._desired)

    def on_death(self, fleet: Fleet, look: Look) -> None:
        resize(fleet, self._desired)


def resize(fleet: Fleet, count: int) -> None:
    """Start what is missing. What is too many drains: those that still start first, then the youngest."""
    live = fleet.live()
    for _ in range(count - len(live)):
        fleet.start()
    going = live[::-1]
    going.sort(key=lambda known: known.state is not State.STARTING)
    for replica in going[: max(len(live) - count, 0)]:
        fleet.drain(replica.name)
