"""The table of API keys. Pure but for drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.table import Table
from rich.text import Text

from controller.stack.api_client import Row

_COLUMNS = ("id", "name", "plan", "models", "created", "expires", "used today", "state")
_CHOSEN = ("name", "models")  # by people, and so as long as they like: they are broken anywhere, the others at spaces
_NARROWEST = 7
_ROOMY = 110
_COLOURS = {"usable": "green", "blocked": "yellow", "expired": "bright_black", "revoked": "red"}


def table(rows: Sequence[Row], width: int) -> Table:
    """One row per key. On a narrow terminal all but the ids is wrapped."""
    padding = (0, 2 if width >= _ROOMY else 1, 0, 0)
    drawn = Table(box=None, padding=padding, caption="All times are UTC.", caption_justify="left", caption_style="none")
    cells = [key_cells(row) for row in rows]
    for index, name in enumerate(_COLUMNS):
        texts = [name, *(found[index] for found in cells)]
        words = [word for text in texts for word in ([text] if name == "id" else text.split())]
        least = min(max(len(text) for text in texts), _NARROWEST) if name in _CHOSEN else max(map(len, words))
        justify: Literal["left", "right"] = "right" if name == "used today" else "left"
        drawn.add_column(name, justify=justify, no_wrap=name == "id", min_width=least, overflow="fold")
    for row, line in zip(rows, cells, strict=True):
        drawn_cells = [Text(cell) for cell in line]
        drawn_cells[-1].stylize(_COLOURS.get(row["state"], ""))
        drawn.add_row(*drawn_cells)
    return drawn


def key_cells(row: Row) -> tuple[str, ...]:
    """The text of each column."""
    return (
        str(row["id"]),
        str(row["name"]),
        row["plan"] or "-",
        ", ".join(row["models"]) or "all",
        str(row["created_at"][:10]),
        _minute(row["expires_at"]) if row["expires_at"] else "never",
        used(row),
        state(row),
    )


def used(row: Row) -> str:
    """Tokens of this day, and how many there may be."""
    tokens, limit = row["tokens_today"], row["tokens_per_day"]
    told = "-" if tokens is None else f"{tokens:,}"
    return told if limit is None else f"{told} / {limit:,}"


def state(row: Row) -> str:
    """One word, and what it needs to be understood."""
    if row["state"] == "blocked":
        return f"blocked until {row['blocked_until'][11:16]} ({row['blocked_by']})"
    if row["state"] == "usable" and row["replaced_by"]:
        return "usable, rotated"
    return str(row["state"])


def _minute(at: str) -> str:
    return at[:16].replace("T", " ")
