"""The table of GPUs of `stoker status`. Pure but for drawing."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from controller.core.capacity import gib, short
from controller.stack.api_client import Row

_COLUMNS = ("gpu", "node", "model", "memory", "replicas", "cordoned")


def table(rows: Sequence[Row]) -> Table:
    """One row per GPU, with why nothing new starts on it and what to do."""
    drawn = Table(title=Text("GPUs"), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in _COLUMNS:
        drawn.add_column(name, no_wrap=name != _COLUMNS[-1])
    for row in rows:
        cells = [Text(cell) for cell in gpu_cells(row)]
        cells[-1].stylize("red")
        drawn.add_row(*cells)
    return drawn


def gpu_cells(row: Row) -> tuple[str, ...]:
    """The text of each column; `?` is what is not known."""
    cordon = row["cordon"]
    told = "" if cordon is None else "; ".join(filter(None, (cordon["why"], cordon["advice"])))
    return (short(row["uuid"]), row["node"], row["model"] or "?", _memory(row), ", ".join(row["replicas"]) or "-", told)


def _memory(row: Row) -> str:
    """Used of total; where the one or the other is not told, what is free."""
    used, total, free = (row[f"memory_{name}_bytes"] for name in ("used", "total", "free"))
    if used is not None and total is not None:
        return f"{gib(used)} of {gib(total)}"
    return "?" if free is None else f"{gib(free)} free"
