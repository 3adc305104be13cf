"""What a fault does and how it is undone: the base of all of them, and what they work on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

from controller.installation import Layout
from controller.stack.drill import owed
from controller.stack.drill.owed import Step
from controller.stack.supervisor import Supervisor
from controller.stack.trouble import Trouble


class NotHere(Trouble):
    """This fault cannot be done on this installation; the text says why."""


class Replicas(Protocol):
    """The replicas of this installation, as things that can be hurt. `controller.adapters.docker_faults` is one."""

    def running(self, pool: str) -> frozenset[str]:
        """The names of the pool's replicas that run."""
        ...

    def kill(self, replica: str) -> None:
        """SIGKILL for its main process."""
        ...

    def freeze(self, replica: str) -> None:
        """Stop all of it where it stands."""
        ...

    def thaw(self, replica: str) -> None:
        """Let it go on. One that is gone is success."""
        ...

    def slow(self, replica: str, share: float) -> None:
        """Give it no more than so much of one core."""
        ...

    def unslow(self, replica: str) -> None:
        """Take that limit away. One that is gone is success."""
        ...

    def pids(self, replica: str) -> tuple[int, ...]:
        """Its processes, as this machine numbers them."""
        ...

    def starve(self, replica: str) -> None:
        """Use its memory up. Returns when the kernel killed in it."""
        ...

    def unstarve(self, replica: str) -> None:
        """Give back the memory. One that is gone is success."""
        ...

    def restore(self, replica: str) -> bool:
        """Give it back whatever any of these took from it, done by whom it was; whether there was something to give.

        One that is gone is success. For those who undo what another process did.
        """
        ...

    def close(self) -> None:
        """Let go of what was opened."""
        ...


@dataclass(frozen=True, slots=True)
class Ground:
    """The installation that is drilled. `own_engine`: its Docker engine is kept up by its own supervisor."""

    layout: Layout
    supervisor: Supervisor
    replicas: Replicas
    pool: str
    containers: bool
    own_engine: bool
    nodes: int


class Injury(ABC):
    """One fault, done once. All methods are called by one and the same thread.

    `hits` is how many replicas it takes at most, known once `require` returned. `takes_time`: the fault has come when
    `inflict` returns, else when it is called. `temporary`: it has an end of its own, and is undone then.
    """

    hits: int = 1
    takes_time: ClassVar[bool] = False
    temporary: ClassVar[bool] = False

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self._owes: tuple[Step, ...] = ()

    def require(self) -> None:  # noqa: B027 - most faults can be done anywhere
        """Raises `NotHere` where it cannot be done. Changes nothing."""

    def prepare(self, victim: str) -> None:  # noqa: B027 - most need no preparing
        """What takes its time and hurts nobody yet."""

    @abstractmethod
    def inflict(self, victim: str) -> None:
        """Do it."""

    def ended(self) -> bool:
        """Whether all of it was done. Asked again and again while the drill waits."""
        return True

    def more_victims(self) -> tuple[str, ...]:
        """Replicas that it took besides the first."""
        return ()

    def owe(self, *steps: Step) -> None:
        """For `inflict`, before it hurts anything: what others undo where this process is killed. Raises `Trouble`."""
        self._owes = steps
        owed.owe(self.ground.layout.root, steps)

    def owe_replica(self, replica: str) -> None:
        """The same of all that is taken from a replica."""
        what = f"{replica} has all of its CPU and memory and goes on"
        self.owe(Step(what, pool=self.ground.pool, replica=replica))

    def put_back(self) -> None:
        """`undo`, and nothing is owed any more. Idempotent."""
        self.undo()
        owed.settle(self.ground.layout.root, self._owes)
        self._owes = ()

    def undo(self) -> None:  # noqa: B027 - what is dead stays so
        """Put everything back as it was. Idempotent; also right where `inflict` came only half-way."""
