"""Says what is being done: a spinner on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
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
        with _whoever_reads_it():
            self._console.print(escape(text), soft_wrap=True, highlight=False)

    @contextmanager
    def step(self, text: str) -> Iterator[Report]:
        """Show `text` while the body runs, and its duration after. An exception leaves no "done" line."""
        began = time.monotonic()
        if self._console.is_terminal:
            with self._spinner(text) as report:
                yield report
        else:
            self.say(f"{text} ...")
            yield lambda detail: None
        self.say(f"{text}: done in {time.monotonic() - began:.1f} s")

    @contextmanager
    def _spinner(self, text: str) -> Iterator[Report]:
        status = self._console.status(escape(text))
        with _whoever_reads_it():
            status.start()
        try:
            yield lambda detail: status.update(f"{escape(text)}: {escape(detail)}")
        finally:
            with _whoever_reads_it():
                status.stop()


def _whoever_reads_it() -> contextlib.suppress:
    """A terminal that was closed or a full disk behind a pipe must not decide whether things are stopped."""
    return contextlib.suppress(OSError)
