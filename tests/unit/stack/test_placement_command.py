"""`stoker placement`, over what the API says of a fleet that really ticks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from controller.cli import app
from controller.installation import Layout
from controller.stack import api_client
from tests.fakes.big_fleet import TOKEN, BigFleet, app_of


@pytest.fixture
def fleet() -> BigFleet:
    return BigFleet(pools=3, nodes=2).warm_up(20)


@pytest.fixture
def stated(tmp_path: Path, fleet: BigFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory whose controller has those pools."""
    layout, client = Layout(tmp_path), TestClient(app_of(fleet), headers={"Authorization": f"Bearer {TOKEN}"})
    cordon = {"kind": "cordon", "subject": "node/gpu-01", "why": "a new fan"}
    client.post("/api/v1/orders", json=cordon).raise_for_status()
    fleet.step(2)
    pools = ", ".join(
        f"{{name: {policy.pool}, model: {policy.pool}, checkpoint: /m.gguf}}" for policy in fleet.policies
    )
    layout.config.write_text(f"pools: [{pools}]", encoding="utf-8")
    layout.api_token.write_text("secret", encoding="ascii")
    monkeypatch.setenv("STOKER_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")

    def ask(_: object, path: str, wanted: object = None, token: str = "", *, method: str | None = None) -> Any:
        return client.get(path).raise_for_status().json()

    monkeypatch.setattr(api_client, "ask", ask)


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["placement", *arguments])
    return done.exit_code, done.stdout if done.exit_code == 0 else str(done.exception)


@pytest.mark.usefixtures("stated")
def test_every_place_is_told_of(fleet: BigFleet) -> None:
    on_gpus = next(policy for policy in fleet.policies if policy.scaling.gpu_memory_bytes)
    _, text = run(str(on_gpus.pool), "--json")
    told = json.loads(text)
    code, shown = run(str(on_gpus.pool))

    assert code == 0
    assert shown.startswith(f"A replica of {on_gpus.pool} needs ")
    assert f"; {told['fits']} would fit now." in shown
    rows = shown.splitlines()[-len(told["places"]) :]
    assert [row.split()[0] for row in rows] == [place["node"] for place in told["places"]]
    closed = [place["text"] for place in told["places"] if place["lacks"]]
    assert closed, "a node is cordoned"
    assert [text for text in closed if text not in shown] == []
    assert len(rows) > len(closed)
