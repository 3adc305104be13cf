"""Progress bars on stderr, where that is a terminal; elsewhere nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

Advance = Callable[[float, float], None]  # done so far, and in all


class Bars:
    """One bar for each thing that is done, one after the other; they vanish at the end."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def begin(self, what: str) -> Advance:
        """The one before is complete."""
        for task in self._progress.tasks:
            self._progress.update(task.id, completed=task.total)
        task_id = self._progress.add_task(what, total=None)
        return lambda done, total: self._progress.update(task_id, completed=done, total=total or None)


@contextmanager
def bars(console: Console) -> Iterator[Bars]:
    """Show them for as long as the body runs."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bars(progress)
