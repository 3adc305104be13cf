"""What `stoker status` shows of gateways. Pure but for drawing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from controller.stack.api_client import Row

_COLUMNS = ("gateway", "state", "lag", "heard", "configuration", "version", "error")


def standing(gateway: Row) -> Sequence[str]:
    """A line where nginx does not run what the file says."""
    lines = []
    if gateway["reverted_to"] is not None:
        at = datetime.fromisoformat(gateway["reverted_at"]).astimezone(UTC).strftime("%Y-%m-%d %H:%M")
        why = f": {gateway['why']}" if gateway["why"] else ""
        lines.append(f"nginx has the settings of revision {gateway['reverted_to']} since {at} UTC{why}")
        lines.append("`stoker gateway revert --undo` takes those of the file again")
    if gateway["refused"]:
        lines.append(f"nginx refuses its settings and runs with others: {gateway['refused']}")
    return lines


def table(gateways: Sequence[Row], now: datetime) -> Table:
    """One row for each nginx on another machine."""
    drawn = Table(box=None, padding=(0, 2, 0, 0))
    for name in _COLUMNS:
        drawn.add_column(name, justify="right" if name in ("lag", "heard") else "left", no_wrap=name != "error")
    for row in gateways:
        cells = [Text(cell) for cell in gateway_cells(row, now)]
        cells[1].stylize("red" if row["lags"] else "green")
        drawn.add_row(*cells)
    return drawn


def gateway_cells(row: Row, now: datetime) -> tuple[str, ...]:
    """The text of each column."""
    heard = max(0.0, (now - datetime.fromisoformat(row["heard_at"])).total_seconds())
    return (
        str(row["name"]),
        "lags" if row["lags"] else "current",
        f"{row['lag_s']:.0f} s",
        f"{heard:.0f} s ago",
        row["applied"] or "none yet",
        str(row["version"]),
        row["error"] or "",
    )
