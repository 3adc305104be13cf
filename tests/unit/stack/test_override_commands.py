"""`stoker pause|resume|bounds|drills`: what they ask of the controller, and what they print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from controller.cli import app
from controller.installation import Layout
from controller.stack import api_client
from controller.stack.trouble import Trouble

POOL = "/api/v1/pools/small"
DRILL = {
    "id": "cafe",
    "at": "2026-01-05T12:00:00Z",
    "pool": "small",
    "fault": "kill",
    "victims": ["small-1"],
    "state": "passed",
    "told": "",
    "by": "alice",
    "why": "Friday",
    "lines": [{"at": "2026-01-05T12:00:05Z", "text": "kill of small-1"}],
    "figures": {"detected_s": 0.25, "out_s": 1.0, "whole_s": None, "failed": 0},
}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, str, object]]:
    """What the controller was asked."""
    layout = Layout(tmp_path)
    layout.config.write_text("pools: [{name: small, model: small, checkpoint: /m.gguf}]", encoding="utf-8")
    layout.api_token.write_text("secret", encoding="ascii")
    monkeypatch.setenv("STOKER_STATE_DIR", str(tmp_path))
    found: list[tuple[str | None, str, object]] = []

    def ask(_: object, path: str, wanted: object = None, token: str = "", *, method: str | None = None) -> Any:
        found.append((method, path, wanted))
        until = "2026-01-05T13:00:00Z" if isinstance(wanted, dict) and wanted.get("for_s") else None
        if path.startswith("/api/v1/drills"):
            return [DRILL] if path == "/api/v1/drills" else DRILL
        return {"pool": "small", "pause": {"until": until}}

    monkeypatch.setattr(api_client, "ask", ask)
    return found


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "method", "path", "wanted", "said"),
    [
        (
            ("pause", "small", "--for", "1h", "--why", "leak"),
            "POST",
            f"{POOL}/pause",
            {"why": "leak", "for_s": 3600},
            "small keeps its count until 2026-01-05 13:00:00 UTC. Failed replicas are still replaced.",
        ),
        (
            ("resume", "small", "--why", "found"),
            "POST",
            f"{POOL}/resume",
            {"why": "found"},
            "small follows its load again.",
        ),
        (
            ("bounds", "small", "--floor", "4", "--ceiling", "8", "--why", "launch"),
            "PUT",
            f"{POOL}/bounds",
            {"floor": 4, "ceiling": 8, "why": "launch"},
            "small has 4 to 8 replicas, until `stoker bounds small --clear`.",
        ),
        (
            ("bounds", "small", "--clear", "--why", "launch is over"),
            "DELETE",
            f"{POOL}/bounds?why=launch+is+over",
            None,
            "small has the bounds of its configuration again.",
        ),
        (
            ("drills",),
            None,
            "/api/v1/drills",
            None,
            "cafe  2026-01-05 12:00:00 UTC  small: kill of small-1, passed: "
            "detected 0.2 s, out of nginx 1.0 s, 0 failed",
        ),
    ],
)
def test_each_asks_for_what_it_says(
    asked: list[tuple[str | None, str, object]],
    arguments: tuple[str, ...],
    method: str | None,
    path: str,
    wanted: object,
    said: str,
) -> None:
    assert run(*arguments) == said
    assert asked == [(method, path, wanted)]


def test_a_single_drill_is_shown_with_its_course_and_can_be_stopped(
    asked: list[tuple[str | None, str, object]],
) -> None:
    assert run("drills", "cafe").splitlines()[1:] == ["  by alice: Friday", "  12:00:05  kill of small-1"]
    run("drills", "cafe", "--stop", "--why", "enough")
    assert asked[-1] == ("DELETE", "/api/v1/drills/cafe?why=enough", None)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("pause", "small", "--why", " "), "give --why"),
        (("pause", "small", "--for", "soon", "--why", "x"), "--for: 'soon' is no time"),
        (("pause", "big", "--why", "x"), "the stack has no pool 'big'"),
        (("bounds", "small", "--floor", "4", "--why", "x"), "given --floor N and --ceiling M, or --clear"),
        (("bounds", "small", "--floor", "4", "--ceiling", "5"), "give --why"),
        (("bounds", "small", "--clear", "--floor", "4"), "given --floor N and --ceiling M, or --clear"),
        (("drills", "--stop"), "is given the id of a drill"),
    ],
)
def test_what_means_nothing_is_not_asked(
    asked: list[tuple[str | None, str, object]], arguments: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(Trouble, match=sentence):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert asked == []
