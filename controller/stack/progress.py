"""Says what is being done: a spinner on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

Report = Callable[[str], None]  # takes what a step is doing just now: "pulling 40 of 62 MB"


class Progress:
    """One line per finished step, with the time it took where that is worth a line."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        """A fact worth knowing, on a line of its own."""
        self._console.print(escape(text), soft_wrap=True, highlight=False)

    @contextmanager
    def step(self, text: str) -> Iterator[Report]:
        """Show `text` while the body runs, and its duration after. An exception leaves no "done" line."""
        began = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(escape(text)) as status:
                yield lambda detail: status.update(f"{escape(text)}: {escape(detail)}")
            self.say(f"{text}: done in {time.monotonic() - began:.1f} s")
        else:
            self.say(f"{text} ...")
            yield lambda detail: None
            self.say(f"{text}: done in {time.monotonic() - began:.1f} s")
