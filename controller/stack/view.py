"""The table of replicas, and the same as lines for where there is no terminal. Pure but for drawing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from controller.stack.api_client import Row, Seen

_ALARMS = ("FuseBlown", "CrashLoopQuarantine", "PanicThreshold", "RolledBack", "NoNode", "GpuPanic")
_WISHES = ("PauseSet", "BoundsSet", "BoundsRefused")
_COLUMNS = ("replica", "state", "phase", "cold start", "in flight", "waiting", "routed", "why")
_NUMBERS = ("cold start", "in flight", "waiting")
_COLOURS = {
    "ready": "green",
    "starting": "yellow",
    "suspect": "yellow",
    "draining": "cyan",
    "quarantined": "magenta",
    "unready": "red",
    "stopped": "red",
}


def table(seen: Seen, now: datetime) -> Table:
    """One row per replica, under a title with the count of each pool."""
    drawn = Table(title=Text(headline(seen)), title_justify="left", box=None, padding=(0, 2, 0, 0))
    rows = [replica_cells(row, now) for row in seen.replicas]
    for index, name in enumerate(_COLUMNS):
        # On a narrow terminal only the last column, the why, gives way.
        widest = max([len(name), *(len(cells[index]) for cells in rows)]) if name != _COLUMNS[-1] else None
        drawn.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True, min_width=widest)
    for row, texts in zip(seen.replicas, rows, strict=True):
        cells = [Text(cell) for cell in texts]
        cells[1].stylize(_COLOURS.get(row["state"], ""))
        drawn.add_row(*cells)
    return drawn


def headline(seen: Seen) -> str:
    """POOL: 3 of 3 ready; ..., and below it a line for each thing that keeps a pool from healing, or that is wanted."""
    if not seen.pools:
        return "the controller has not looked yet"
    counts = "; ".join(f"{pool['pool']}: {pool['ready']} of {pool['desired']} ready" for pool in seen.pools)
    return "\n".join([counts, *(line for pool in seen.pools for line in _warnings(pool))])


def _warnings(pool: Row) -> Sequence[str]:
    told = [reason["text"] for reason in pool.get("reasons", ()) if reason["code"] in _ALARMS + _WISHES]
    return [f"{pool['pool']}: {text}" for text in told]


def replica_cells(row: Row, now: datetime) -> tuple[str, ...]:
    """The text of each column."""
    return (
        str(row["replica"]),
        str(row["state"]),
        row["phase"] or "-",
        cold_start(row, now),
        _count(row["in_flight"]),
        _count(row["waiting"]),
        "yes" if row["routed"] else "no",
        row["why"] or "",
    )


def cold_start(row: Row, now: datetime) -> str:
    """How long it took from creation to ready, or has taken so far; a dash for one that never got there."""
    if row["cold_start_s"] is not None:
        return f"{row['cold_start_s']:.1f} s"
    if row["state"] != "starting":
        return "-"
    created_at, eta_s = datetime.fromisoformat(row["created_at"]), row.get("eta_s")
    told = f"{max(0.0, (now - created_at).total_seconds()):.0f} s so far"
    return told if eta_s is None else f"{told}, {eta_s:.0f} s to go"


def changes(before: Seen, after: Seen, now: datetime) -> Sequence[str]:
    """One line per replica that came, went or changed its state, phase or route."""
    old = {row["replica"]: row for row in before.replicas}
    new = {row["replica"]: row for row in after.replicas}
    lines = [_line(row, now) for name, row in new.items() if name not in old or _gist(row) != _gist(old[name])]
    return lines + [f"{name}: gone" for name in old if name not in new]


def _gist(row: Row) -> tuple[object, ...]:
    return (row["state"], row["phase"], row["routed"])


def _line(row: Row, now: datetime) -> str:
    told = f"{row['replica']}: {row['state']}"
    if row["phase"] and row["phase"] != row["state"]:
        told += f", {row['phase']}"
    if row["state"] in ("starting", "ready"):
        told += f", cold start {cold_start(row, now)}"
    if row["routed"]:
        told += ", routed"
    return told + (f" ({row['why']})" if row["why"] else "")


def _count(value: int | None) -> str:
    return "?" if value is None else str(value)
