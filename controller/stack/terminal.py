"""What terminals are shown: text, and no orders to the terminal, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from controller.core.printable import printable


class Terminal(Console):
    """A console for what others wrote: names, reasons, paths, the last words of an engine.

    rich passes on every character of a text but a few; an escape in one could move the cursor, hide lines or write
    into the clipboard. Colours and what rich itself asks of the terminal are no text, and stay.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does it, with spaces for what is not printable: as many as rich has counted, so columns stay."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                counted = "".join(char for char in segment.text if char.isprintable() or char == "\n" or cell_len(char))
                yield Segment(shown(counted), segment.style)


def shown(text: str) -> str:
    """The same of a text that is printed as it is. Its lines stay."""
    return printable(text, keep="\n\t")
