"""The boards as their JSON has them, and what a test asks of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dashboards

FOLDER = Path(dashboards.__file__).parent / "grafana/json"
JSON = Mapping[str, Any]


def boards() -> dict[str, JSON]:
    """By uid."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.json"))]
    return {board["uid"]: board for board in found}


def panels(board: JSON) -> list[JSON]:
    """Those that show something: all but the headings."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def variables(board: JSON) -> dict[str, JSON]:
    """By name."""
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def queries(board: JSON) -> Iterator[tuple[str, str]]:
    """Every PromQL expression of the board with where it is: panels, and annotations."""
    for panel in panels(board):
        for target in panel.get("targets", ()):
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for annotation in board["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["expr"]


def asked_values(board: JSON) -> dict[str, str]:
    """What the variables ask Prometheus: `label_values(SERIES, LABEL)` by the variable's name."""
    return {name: one["query"]["query"] for name, one in variables(board).items() if one["type"] == "query"}
