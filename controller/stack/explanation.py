"""An evaluation in words, for the terminal. Pure but for drawing; rows are the API's own objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from controller.core.model import Signal
from controller.core.words import amount, counted, name
from controller.stack.api_client import Row
from controller.stack.terminal import Terminal

_QUIET = "dim"
_UNASKED = "-"


def explanation(row: Row, now: datetime) -> Group:
    """One evaluation: the count, each signal, each step that moved it, and what would have changed it."""
    parts: list[RenderableType] = [headline(row, now), _indented(signal_table(row["signals"]))]
    parts += [_indented(step_table(row["steps"]))]
    parts += [Text(f"  not done yet: {reason['text']} ({reason['code']})", "yellow") for reason in row["held"]]
    if row["shadow"] is not None:
        parts.append(Text(f"  the second policy would have {row['shadow']}"))
    parts.append(Text(f"  {flip_sentence(row)}"))
    return Group(*parts)


def headline(row: Row, now: datetime) -> Text:
    """POOL: 5 replicas, 3 before, at 12:00:00 UTC, 3 min ago."""
    at = datetime.fromisoformat(row["at"])
    was = f", {row['current']} before" if row["current"] != row["desired"] else ", unchanged"
    text = Text(f"{row['pool']}: {counted(row['desired'])}{was}", "bold")
    text.append(f", at {clock(at)}, {ago((now - at).total_seconds())}", "not bold")
    others = [f"{row[state]} {state}" for state in ("ready", "starting", "draining") if row[state]]
    text.append(f" ({', '.join(others) or 'none lives'})", f"not bold {_QUIET}")
    if row["mode"] != "active":
        text.append(f" [{row['mode']}]", "not bold yellow")
    return text


def signal_table(signals: Sequence[Row]) -> Table:
    """Value, target, age and vote of each."""
    drawn = Table(box=None, padding=(0, 2, 0, 0), header_style=_QUIET)
    for title, side in (("signal", "left"), ("value", "right"), ("target", "right"), ("age", "right")):
        drawn.add_column(title, justify="right" if side == "right" else "left", no_wrap=True)
    drawn.add_column("asks for", justify="right")
    for row in signals:
        drawn.add_row(*signal_cells(row))
    return drawn


def signal_cells(row: Row) -> tuple[str, ...]:
    """The text of each column."""
    signal = Signal(row["signal"])
    in_all = signal is Signal.IN_FLIGHT and row["load"] is not None
    value = row["load"] if in_all else row["value"]
    told = row["known"] if row["known"] == "unknown" or value is None else amount(signal, value)
    each = "" if signal is Signal.LATENCY else " each"
    age = _UNASKED if row["age_s"] is None else f"{row['age_s']:.1f} s"
    wanted = _UNASKED if row["wanted"] is None else str(row["wanted"])
    return name(signal), f"{told} in all" if in_all else told, amount(signal, row["target"]) + each, age, wanted


def step_table(steps: Sequence[Row]) -> Table:
    """From, to and why, in the order in which they ran."""
    drawn = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    drawn.add_column(no_wrap=True)
    drawn.add_column()
    for step in steps:
        why = Text(step["text"])
        why.append(f"  {step['code']}", _QUIET)
        drawn.add_row(f"{step['before']} -> {step['after']}", why)
    return drawn


def flip_sentence(row: Row) -> str:
    """What would have led to another count."""
    if row["flip"] is None:
        return "No change of a single signal would have made a difference at that moment."
    text = row["flip"]["text"]
    return f"{text[0].upper()}{text[1:]}."


def score_lines(score: Row) -> Iterator[str]:
    """Both policies over the time that they ran side by side."""
    yield f"Since {clock(datetime.fromisoformat(score['since']))}, in replica-hours, seconds too few, changes:"
    for who, key in (("live", "live_"), ("second", "")):
        hours, short_s, changes = (score[f"{key}{name}"] for name in ("replica_hours", "short_s", "changes"))
        yield f"  {who:7} {hours:.2f}, {short_s:.0f} s, {changes}"


def change_lines(rows: Sequence[Row]) -> Iterator[str]:
    """One line for each evaluation that changed the count, newest first."""
    for row in rows:
        if row["current"] != row["desired"]:
            why = "; ".join(step["text"] for step in row["steps"])
            yield f"{clock(datetime.fromisoformat(row['at']))}  {row['current']} -> {row['desired']}  {why}"


def clock(at: datetime) -> str:
    """A time of day, with its date where that is not today's business to guess."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(seconds: float) -> str:
    """How long ago, in the unit that fits."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def show(parts: Sequence[RenderableType]) -> None:
    """On a terminal as wide as it is; elsewhere as wide as it takes."""
    console = Terminal(highlight=False)
    if not console.is_terminal:
        console.width = 200
    for part in parts:
        console.print(part)


def _indented(part: RenderableType) -> Padding:
    return Padding(part, (0, 0, 0, 2), expand=False)
