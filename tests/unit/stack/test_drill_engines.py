"""Replicas on several engines: each is hurt where it runs."""

from __future__ import annotations

import pytest

from controller.adapters.docker_faults import FaultRefused
from controller.stack.drill.engines import Engines, Separately
from controller.stack.trouble import Trouble


class Engine:
    """Replicas of one engine, and what was done to them."""

    def __init__(self, *names: str) -> None:
        self.names = frozenset(names)
        self.done: list[str] = []
        self.silent = False

    def running(self, pool: str) -> frozenset[str]:
        """All of them, where it answers."""
        if self.silent:
            raise FaultRefused("the Docker engine gave no answer")
        return self.names

    def kill(self, replica: str) -> None:
        """Its own only."""
        if replica not in self.names:
            raise FaultRefused(f"no container of {replica} runs")
        self.done.append(f"kill {replica}")

    def freeze(self, replica: str) -> None:
        """Noted."""
        self.done.append(f"freeze {replica}")

    def thaw(self, replica: str) -> None:
        """Noted."""
        self.done.append(f"thaw {replica}")

    def slow(self, replica: str, share: float) -> None:
        """Noted."""
        self.done.append(f"slow {replica}")

    def unslow(self, replica: str) -> None:
        """Noted."""
        self.done.append(f"unslow {replica}")

    def pids(self, replica: str) -> tuple[int, ...]:
        """As many as replicas."""
        return tuple(range(len(self.names)))

    def starve(self, replica: str) -> None:
        """Noted."""
        self.done.append(f"starve {replica}")

    def unstarve(self, replica: str) -> None:
        """Noted."""
        self.done.append(f"unstarve {replica}")

    def restore(self, replica: str) -> bool:
        """Its own only."""
        self.done.append(f"restore {replica}")
        return replica in self.names

    def close(self) -> None:
        """Noted."""
        self.done.append("close")


def test_each_is_hurt_and_given_back_where_it_runs() -> None:
    first, second = Engine("small-1"), Engine("small-2", "small-3")
    both = Engines([first, second], "small")

    both.kill("small-1")
    both.freeze("small-2")
    second.names = frozenset()  # it is gone meanwhile
    both.thaw("small-2")
    both.slow("small-1", 0.1)
    both.unslow("small-1")
    both.starve("small-3")
    both.unstarve("small-3")
    both.close()

    assert first.done == ["kill small-1", "slow small-1", "unslow small-1", "close"]
    assert second.done == ["freeze small-2", "thaw small-2", "starve small-3", "unstarve small-3", "close"]


def test_all_are_seen_but_those_of_a_silent_engine() -> None:
    first, second = Engine("small-1"), Engine("small-2")
    both = Engines([first, second], "small")

    assert both.running("small") == {"small-1", "small-2"}
    second.silent = True
    assert both.running("small") == {"small-1"}
    assert len(both.pids("small-2")) == 1


def test_one_that_runs_nowhere() -> None:
    with pytest.raises(FaultRefused, match="no container of small-9 runs"):
        Engines([Engine("small-1"), Engine()], "small").kill("small-9")


def test_which_are_on_which_engine() -> None:
    first, second, third = Engine("small-1"), Engine("small-2", "small-3"), Engine()
    all_of_them = Engines([first, second, third], "small", ["unix:///1", "unix:///2", "unix:///3"])

    assert all_of_them.by_host() == {"unix:///1": {"small-1"}, "unix:///2": {"small-2", "small-3"}}
    first.silent = True
    assert all_of_them.by_host() == {"unix:///2": {"small-2", "small-3"}}


def test_what_another_process_took_is_given_back_by_whichever_engine_has_it() -> None:
    first, second = Engine("small-1"), Engine("small-2")

    assert Engines([first, second], "small").restore("small-2")
    assert not Engines([first, second], "small").restore("small-9")
    assert second.done == ["restore small-2", "restore small-9"]


def test_what_was_taken_is_given_back_whatever_other_engine_is_silent() -> None:
    home = Engine("small-1")

    def silent() -> Engine:
        raise Trouble("the Docker engine gave no answer")

    assert Separately([silent, lambda: home]).restore("small-1")
    assert not Separately([lambda: home]).restore("small-2")
    with pytest.raises(Trouble, match="no answer"):
        Separately([silent, lambda: home]).restore("small-2")
