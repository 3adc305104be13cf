"""A thread for each GPU, so that a call about one that does not come back holds up nobody else."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Round(Generic[T]):
    """The answers of one collection, by number. Later ones than it waited for are in nobody's way."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._answers: dict[int, T] = {}

    def put(self, number: int, answer: T) -> None:
        """An answer has come."""
        with self._changed:
            self._answers[number] = answer
            self._changed.notify()

    def wait(self, count: int, timeout_s: float) -> dict[int, T]:
        """Those that are there once there are so many, or when the time is up."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._answers) >= count, max(0.0, timeout_s))
            return dict(self._answers)


class Worker(Generic[T]):
    """One thread, for the calls about one GPU. Used by one collection at a time."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._jobs: queue.SimpleQueue[tuple[Callable[[], T], Round[T]]] = queue.SimpleQueue()
        self._busy = threading.Event()
        threading.Thread(target=self._work, name=f"gpu-{number}", daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether what was begun has not ended yet."""
        return self._busy.is_set()

    def begin(self, job: Callable[[], T], answers: Round[T]) -> None:
        """Do it in the thread, which must not be busy. `job` raises nothing."""
        self._busy.set()
        self._jobs.put((job, answers))

    def _work(self) -> None:
        while True:
            job, answers = self._jobs.get()
            answer = job()
            self._busy.clear()
            answers.put(self.number, answer)
