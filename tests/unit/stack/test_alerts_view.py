"""`stoker alerts`: what the table shows of what the API says."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from controller.cli import app
from controller.stack import alerts, api_client
from controller.stack.trouble import Trouble
from tests.fakes.clock import START

FOLLOWED = {
    "at": (START + timedelta(seconds=3)).isoformat(),
    "kind": "scale_pool",
    "subject": "pool/small",
    "text": "from 3 to 4: it is slow",
    "before": False,
}
FIRING: dict[str, Any] = {
    "fingerprint": "aa",
    "status": "firing",
    "alert": "StokerLatencyHigh",
    "severity": "warning",
    "pool": "small",
    "since": START.isoformat(),
    "came_at": START.isoformat(),
    "resolved_at": None,
    "heard_at": START.isoformat(),
    "summary": "Requests of small wait too long.",
    "labels": {"pool": "small"},
    "annotations": {},
    "followed": FOLLOWED,
}
OVER = {**FIRING, "status": "resolved", "resolved_at": (START + timedelta(minutes=5)).isoformat(), "followed": None}


def test_a_row_says_what_since_when_and_what_followed() -> None:
    assert alerts.alert_cells(FIRING, START + timedelta(seconds=42)) == (
        "firing",
        "warning",
        "StokerLatencyHigh",
        "small",
        "12:00:00",
        "42 s",
        "Requests of small wait too long.",
        "12:00:03 scale pool small: from 3 to 4: it is slow",
    )


def test_what_was_decided_before_it_fired_is_told_as_that() -> None:
    row = {**FIRING, "followed": {**FOLLOWED, "before": True}}

    assert alerts.alert_cells(row, START)[7].startswith("12:00:03, before it fired: scale pool small")


@pytest.mark.parametrize(
    ("row", "later", "span", "followed"),
    [
        (OVER, timedelta(hours=9), "5 min", "nothing yet"),
        (FIRING, timedelta(hours=3), "3 h", "12:00:03 scale pool small: from 3 to 4: it is slow"),
        (FIRING, timedelta(seconds=-5), "0 s", "12:00:03 scale pool small: from 3 to 4: it is slow"),
    ],
)
def test_for_how_long(row: dict[str, Any], later: timedelta, span: str, followed: str) -> None:
    cells = alerts.alert_cells(row, START + later)

    assert (cells[5], cells[7]) == (span, followed)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"pool": "small", "replica": "small-1", "node": "a"}, "small-1"),
        ({"pool": "small", "node": "a"}, "small"),
        ({"node": "a", "UUID": "GPU-1"}, "a"),
        ({"gateway": "east"}, "east"),
        ({"job": "edge"}, ""),
    ],
)
def test_what_it_is_about(labels: dict[str, str], said: str) -> None:
    assert alerts.about(labels) == said


def test_markup_in_a_label_is_text() -> None:
    console = Console(width=300, file=io.StringIO())
    with console.capture() as captured:
        console.print(alerts.table([{**FIRING, "summary": "[red]x[/red] [link=http://y]z"}], START))

    assert "[red]x[/red] [link=http://y]z" in captured.get()


def test_the_command_prints_both_forms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "stoker.yaml").write_text("pools: [{name: small, model: small, checkpoint: a.gguf}]\n")
    (tmp_path / "api.token").write_text("a token\n")
    rows: list[dict[str, Any]] = [FIRING, OVER]
    monkeypatch.setattr(api_client, "ask", lambda settings, path, token: rows if path == "/api/v1/alerts" else None)
    run = CliRunner()

    table = run.invoke(app, ["alerts", "--state-dir", str(tmp_path)])
    printed = run.invoke(app, ["alerts", "--state-dir", str(tmp_path), "--json"])
    rows.clear()
    nothing = run.invoke(app, ["alerts", "--state-dir", str(tmp_path)])

    assert [line.split()[0] for line in table.output.splitlines()] == ["state", "firing", "resolved"]
    assert json.loads(printed.output) == [FIRING, OVER]
    assert nothing.output == "No alert fires, and none did within the last hour.\n"


def test_without_an_alertmanager_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "stoker.yaml").write_text(
        "pools: [{name: small, model: small, checkpoint: a.gguf}]\nalerting: {enabled: false}\n"
    )
    (tmp_path / "api.token").write_text("a token\n")
    monkeypatch.setattr(api_client, "ask", lambda settings, path, token: [])

    said = CliRunner().invoke(app, ["alerts", "--state-dir", str(tmp_path)])

    assert "only the controller itself looks for any" in said.output


def test_where_nothing_runs_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="nothing runs with the state directory"):
        alerts.look(tmp_path)
