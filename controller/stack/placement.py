"""`stoker placement`: where a replica of a pool could start now, and why nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from rich.table import Table
from rich.text import Text

from controller.core.capacity import gib, short
from controller.stack.api_client import Client, Row
from controller.stack.pool_choice import choose_pool
from controller.stack.terminal import Terminal


@dataclass(frozen=True, slots=True)
class Places:
    """The API's answer."""

    told: Row

    def as_json(self) -> Row:
        """The same."""
        return self.told

    def print(self) -> None:
        """A sentence, what the controller said of it, and a row for each place."""
        console = Terminal(highlight=False)
        console.print(Text(sentence(self.told)))
        for reason in self.told["reasons"]:
            console.print(Text(reason["text"], style="yellow"))
        drawn = Table(box=None, padding=(0, 2, 0, 0))
        for name in ("node", "gpu", "free", "promised", "takes"):
            drawn.add_column(name, no_wrap=name != "takes")
        for place in self.told["places"]:
            drawn.add_row(*map(Text, cells(place)))
        console.print(drawn)


def look(state_dir: Path, pool: str) -> Places:
    """As the last tick left it. Blocks for some seconds at most. Raises `Trouble`."""
    client = Client.of(state_dir)
    name = choose_pool(client.settings, pool).name
    return Places(client.ask(f"/api/v1/pools/{quote(name, safe='')}/placement"))


def sentence(told: Row) -> str:
    """What a replica needs, and how many of them there is room for."""
    needed, fits = told["needed_bytes"], told["fits"]
    needs = f"needs {gib(needed)} of one GPU" if needed else "needs no GPU"
    room = "" if fits is None else f"; {fits} would fit now"
    return f"A replica of {told['pool']} {needs}{room}."


def cells(place: Row) -> tuple[str, ...]:
    """The text of each column; `?` is what is not known, `-` what there is not."""
    gpu, free, fits = place["gpu"], place["free_bytes"], place["fits"]
    takes = place["text"] if place["lacks"] else "one more" if fits is None else f"{fits} more"
    told = ("?" if free is None else gib(free), gib(place["promised_bytes"])) if gpu else ("-", "-")
    return (place["node"], short(gpu) if gpu else "-", *told, takes)
