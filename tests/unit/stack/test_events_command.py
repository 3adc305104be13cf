"""`stoker events`: what it asks of the controller, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from controller.cli import app
from controller.installation import Layout
from controller.stack import api_client
from controller.stack.trouble import Trouble

LINE: dict[str, Any] = {
    "at": "2026-01-05T12:00:01.5Z",
    "what": "event",
    "kind": "replica_unready",
    "severity": "warning",
    "subject": "replica/llama-1",
    "reason": "ProbesFailed",
    "text": "[bold]3 probes failed.",
    "outcome": None,
}
FAILED = LINE | {
    "at": "2026-01-05T12:00:02Z",
    "what": "decision",
    "kind": "start_replica",
    "severity": "info",
    "outcome": "no answer",
}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, list[str]]]:
    """What the controller was asked."""
    layout = Layout(tmp_path)
    layout.config.write_text("pools: [{name: small, model: small, checkpoint: /m.gguf}]", encoding="utf-8")
    layout.api_token.write_text("secret", encoding="ascii")
    monkeypatch.setenv("STOKER_STATE_DIR", str(tmp_path))
    found: list[dict[str, list[str]]] = []

    def text(_: object, path: str, token: str = "") -> str:
        query = parse_qs(urlsplit(path).query)
        found.append(query)
        if query["format"] == ["csv"]:
            return "at,what\r\n1,event\r\n"
        return json.dumps({"lines": [] if query.get("q") else [FAILED, LINE], "older": None if query.get("q") else "x"})

    monkeypatch.setattr(api_client, "text", text)
    return found


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["events", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_option_is_asked_for(asked: list[dict[str, list[str]]]) -> None:
    run(
        *(
            "--text",
            "a b",
            "--pool",
            "llama",
            "--kind",
            "x",
            "--kind",
            "y",
            "--what",
            "event",
            "--severity",
            "critical",
        ),
        *("--reason", "NoGpuFits", "--about", "node/a", "--since", "2026-01-05T12:00:00Z", "--limit", "7", "--json"),
    )
    assert asked == [
        {
            "q": ["a b"],
            "pool": ["llama"],
            "kind": ["x", "y"],
            "what": ["event"],
            "severity": ["critical"],
            "reason": ["NoGpuFits"],
            "subject": ["node/a"],
            "from": ["2026-01-05T12:00:00+00:00"],
            "limit": ["7"],
            "format": ["json"],
        }
    ]


@pytest.mark.usefixtures("asked")
def test_what_is_printed() -> None:
    assert run().splitlines() == [
        "2026-01-05 12:00:01  replica_unready replica/llama-1  warning  [bold]3 probes failed.  ProbesFailed",
        "2026-01-05 12:00:02  start_replica replica/llama-1  [bold]3 probes failed. (no answer)  ProbesFailed",
        "There are older ones; --limit shows more of them.",
    ]
    assert run("--text", "x") == "Nothing of that is in the ledger.\n"
    assert json.loads(run("--json"))["older"] == "x"


@pytest.mark.usefixtures("asked")
def test_csv_is_printed_as_it_comes() -> None:
    done = CliRunner().invoke(app, ["events", "--csv"], catch_exceptions=False)
    assert done.stdout_bytes == b"at,what\r\n1,event\r\n"


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--json", "--csv"), "leave one out"),
        (("--what", "nothing"), "--what is decision or event, and not 'nothing'"),
        (("--severity", "info"), "--severity is warning or critical, and not 'info'"),
        (("--since", "soon"), "'soon' is no time"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(Trouble, match=said):
        run(*arguments)
