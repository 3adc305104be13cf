"""`stoker alerts`: what fires, what ended within the last hour, and what the controller did about each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from controller.installation import Layout
from controller.settings import load
from controller.stack import api_client
from controller.stack.api_client import Row
from controller.stack.api_token import token_of
from controller.stack.terminal import Terminal
from controller.stack.trouble import Trouble

_COLUMNS = ("state", "severity", "alert", "about", "since", "for", "summary", "what followed")
_STYLES = {"critical": "red", "warning": "yellow"}
_NAMING = ("pool", "replica", "node", "UUID", "gateway", "instance")  # labels that say what it is about, best first
_WIDTH = 200


@dataclass(frozen=True, slots=True)
class Alerts:
    """Firing ones first, each kind the newest first. `enabled`: there is an Alertmanager to tell of them."""

    rows: tuple[Row, ...]
    enabled: bool = True

    def as_json(self) -> list[Row]:
        """For `--json`: the API's own objects."""
        return list(self.rows)

    def print(self) -> None:
        """The table."""
        console = Terminal()
        if not console.is_terminal:
            console.width = _WIDTH  # rich takes 80 columns for a pipe and would cut the sentences
        if self.rows:
            console.print(table(self.rows, datetime.now(UTC)))
        elif self.enabled:
            console.print("No alert fires, and none did within the last hour.")
        else:
            console.print("No alert fires. alerting.enabled is false: only the controller itself looks for any.")


def look(state_dir: Path) -> Alerts:
    """Ask the controller. Blocks for a few seconds at most.

    Raises:
        Trouble: nothing runs, or the controller does not answer.
    """
    layout = Layout(state_dir)
    if not layout.config.exists():
        raise Trouble(f"nothing runs with the state directory {layout.root}; `stoker up` starts it")
    settings = load(layout.config)
    return Alerts(tuple(api_client.ask(settings, "/api/v1/alerts", token=token_of(layout))), settings.alerting.enabled)


def table(rows: Sequence[Row], now: datetime) -> Table:
    """One row for each alert. What comes from outside is text, never markup."""
    drawn = Table(box=None, padding=(0, 2, 0, 0))
    for name in _COLUMNS:
        drawn.add_column(name, justify="right" if name == "for" else "left", no_wrap=name not in _COLUMNS[-2:])
    for row in rows:
        cells = [Text(cell) for cell in alert_cells(row, now)]
        if row["status"] == "firing":
            cells[1].stylize(_STYLES.get(row["severity"], ""))
        else:
            cells[0].stylize("green")
        drawn.add_row(*cells)
    return drawn


def alert_cells(row: Row, now: datetime) -> tuple[str, ...]:
    """The text of each column."""
    since = datetime.fromisoformat(row["since"])
    until = datetime.fromisoformat(row["resolved_at"]) if row["resolved_at"] else now
    return (
        row["status"],
        row["severity"],
        row["alert"],
        about(row["labels"]),
        since.astimezone(UTC).strftime("%H:%M:%S"),
        _span(max(0.0, (until - since).total_seconds())),
        row["summary"],
        _followed(row["followed"]),
    )


def about(labels: dict[str, str]) -> str:
    """The first of its labels that name something, and the replica of a pool rather than the pool."""
    if labels.get("pool") and labels.get("replica"):
        return labels["replica"]
    return next((labels[name] for name in _NAMING if labels.get(name)), "")


def _followed(followed: Row | None) -> str:
    if followed is None:
        return "nothing yet"
    at = datetime.fromisoformat(followed["at"]).astimezone(UTC).strftime("%H:%M:%S")
    name = followed["subject"].partition("/")[2] or followed["subject"]
    at += ", before it fired:" if followed["before"] else ""
    return f"{at} {followed['kind'].replace('_', ' ')} {name}: {followed['text']}"


def _span(seconds: float) -> str:
    minutes = int(seconds) // 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
