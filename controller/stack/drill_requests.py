"""What `stoker drills` asks of the controller, and what it says of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from controller.installation import Layout
from controller.settings import load
from controller.stack import api_client
from controller.stack.api_client import Row
from controller.stack.api_token import token_of
from controller.stack.terminal import shown
from controller.stack.trouble import Trouble

_DRILLS = "/api/v1/drills"


@dataclass(frozen=True, slots=True)
class DrillRows:
    """The API's own objects: one drill, or all that are remembered."""

    rows: tuple[Row, ...]
    single: bool = False

    def as_json(self) -> Any:
        """For `--json`."""
        return self.rows[0] if self.single else list(self.rows)

    def print(self) -> None:
        """A line for each; of a single one its course, too."""
        for row in self.rows:
            print(shown(_line(row)))
            for line in _course(row) if self.single else ():
                print(shown(f"  {line}"))
        if not self.rows:
            print("No drill is remembered.")


def look(state_dir: Path, drill: str | None) -> DrillRows:
    """All, or that one. Blocks for a few seconds at most. Raises `Trouble`."""
    if drill is None:
        return DrillRows(tuple(_ask(state_dir, _DRILLS)))
    return DrillRows((_ask(state_dir, f"{_DRILLS}/{quote(drill, safe='')}"),), single=True)


def stop_drill(state_dir: Path, drill: str, why: str) -> DrillRows:
    """End it. Blocks for a few seconds at most. Raises `Trouble`."""
    path = f"{_DRILLS}/{quote(drill, safe='')}?{urlencode({'why': why})}"
    return DrillRows((_ask(state_dir, path, "DELETE"),), single=True)


def _ask(state_dir: Path, path: str, method: str | None = None) -> Any:
    layout = Layout(state_dir)
    if not layout.config.exists():
        raise Trouble(f"nothing runs with the state directory {layout.root}; `stoker up` starts it")
    return api_client.ask(load(layout.config), path, None, token_of(layout), method=method)


def _line(row: Row) -> str:
    hit = f" of {', '.join(row['victims'])}" if row["victims"] else ""
    times = [
        f"{name} {row['figures'][figure]:.1f} s"
        for figure, name in (("detected_s", "detected"), ("out_s", "out of nginx"), ("whole_s", "whole"))
        if row["figures"].get(figure) is not None
    ]
    failed = row["figures"].get("failed")
    told = ", ".join([*times, *([f"{failed:g} failed"] if failed is not None else [])]) or row["told"]
    at = f"{row['at'][:19].replace('T', ' ')} UTC"
    return f"{row['id']}  {at}  {row['pool']}: {row['fault']}{hit}, {row['state']}{f': {told}' if told else ''}"


def _course(row: Row) -> Iterator[str]:
    yield f"by {row['by']}{f': {why}' if (why := row['why']) else ''}"
    for line in row["lines"]:
        yield f"{line['at'][11:19]}  {line['text']}"
