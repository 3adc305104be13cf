"""People, tokens and the audit log as tables. What comes from outside is text, never markup."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from controller.stack.api_client import Row
from controller.stack.terminal import Terminal

_WIDTH = 200
_NEVER = "never"


def print_users(rows: Sequence[Row]) -> None:
    """A line for each."""
    if not rows:
        _console().print("Nobody may log in yet; `stoker users invite NAME --role admin` prints a link.")
        return
    cells = [
        (row["name"], row["role"], row["source"], _when(row["created_at"]), _when(row["logged_in_at"])) for row in rows
    ]
    _show(("name", "role", "by", "since", "last login"), cells)


def print_invitations(rows: Sequence[Row]) -> None:
    """A line for each."""
    if not rows:
        _console().print("Nobody is invited; `stoker users invite NAME` prints a link.")
        return
    cells = [(row["name"], row["role"], row["by"] or "-", _when(row["expires_at"])) for row in rows]
    _show(("name", "role", "invited by", "ends"), cells)


def print_tokens(rows: Sequence[Row]) -> None:
    """A line for each."""
    if not rows:
        _console().print("There are no tokens; `stoker tokens create NAME` makes one.")
        return
    cells = [
        (
            row["id"],
            row["name"],
            row["owner"],
            row["role"],
            f"{row['prefix']}…",
            row["state"],
            _when(row["expires_at"]),
            _when(row["used_at"]),
        )
        for row in rows
    ]
    _show(("id", "name", "of", "role", "begins", "state", "ends", "last used"), cells)


def print_audit(rows: Sequence[Row]) -> None:
    """A line for each, the newest at the end, where one looks first."""
    if not rows:
        _console().print("Nothing of that is in the audit log.")
        return
    cells = [
        (
            str(row["id"]),
            _when(row["at"]),
            row["name"] or "nobody known",
            row["how"],
            row["address"],
            row["action"],
            row["subject"],
            "refused: " + row["outcome"] if row["refused"] else " ".join([row["why"], row["outcome"]]).strip(),
        )
        for row in reversed(rows)
    ]
    _show(("id", "when", "who", "how", "from", "what", "of", "why and outcome"), cells)


def _show(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    drawn = Table(box=None, padding=(0, 2, 0, 0), caption="All times are UTC.", caption_justify="left")
    for name in columns:
        drawn.add_column(name, no_wrap=name != columns[-1])
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    _console().print(drawn)


def _when(text: str | None) -> str:
    if text is None:
        return _NEVER
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _console() -> Terminal:
    console = Terminal()
    if not console.is_terminal:
        console.width = _WIDTH  # rich takes 80 columns for a pipe and would cut the reasons
    return console
