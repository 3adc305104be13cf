"""`stoker keys` from outside, against the API as it is, on a port of its own."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from rich.console import Console

from controller.api.app import create_app
from controller.core.access import SECRET, KeyId
from controller.core.quota import Block, DayUsage, KeyUsage, QuotaKind, QuotaMemory
from controller.ports import AccessState
from controller.stack.key_requests import seconds
from controller.stack.keys_view import key_cells, table
from controller.stack.trouble import Trouble
from tests.fakes.clock import START
from tests.fakes.people import FakePeople
from tests.unit.api.test_keys import Given, sources
from tests.waiting import wait_for

CONFIG = """\
pools: [{{name: small, model: small, checkpoint: small.gguf}}]
gateway: {{host: {host}}}
ports: {{controller: {port}, gateway: 8099}}
"""


@dataclass
class Installation:
    """A state directory, and the controller that answers for it."""

    folder: Path
    port: int
    given: Given = field(default_factory=Given)

    def __post_init__(self) -> None:
        self.people = FakePeople(self.given.store)

    def configure(self, host: str = "127.0.0.1") -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "stoker.yaml").write_text(CONFIG.format(host=host, port=self.port))
        (self.folder / "api.token").write_text("secret\n")

    def keys(self, *arguments: str, columns: int = 160) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "STOKER_STATE_DIR": str(self.folder), "COLUMNS": str(columns), "NO_COLOR": "1"}
        return subprocess.run(
            [sys.executable, "-m", "controller.cli", "keys", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def done(self, *arguments: str) -> str:
        """What it printed; it must have gone well."""
        done = self.keys(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    listening = socket.create_server(("127.0.0.1", 0))
    made = Installation(tmp_path / "state", listening.getsockname()[1])
    made.configure()
    server = uvicorn.Server(
        uvicorn.Config(create_app(replace(sources(made.given), people=made.people)), log_config=None)
    )
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    wait_for(lambda: server.started, 20, "the API answers")
    yield made
    server.should_exit = True
    thread.join(20)
    listening.close()


def test_create_prints_the_key_alone_and_the_rest_elsewhere(installation: Installation) -> None:
    done = installation.keys(
        "create", "ci", "--plan", "gold", "--model", "small", "--model", "llama", "--expires", "30d"
    )

    assert done.returncode == 0
    assert SECRET.fullmatch(done.stdout.removesuffix("\n"))
    (key,) = installation.given.keys.list_keys()
    assert (key.name, key.plan, key.models) == ("ci", "gold", ("llama-70b", "small"))
    assert key.expires_at == START + timedelta(days=30)
    assert done.stderr == (
        f"{key.id} (ci) is shown this once; keep it where only its user sees it. To use it:\n"
        "    export OPENAI_BASE_URL=http://127.0.0.1:8099/v1 OPENAI_API_KEY=sk-stoker-...\n"
    )


def test_as_json(installation: Installation) -> None:
    made = json.loads(installation.done("create", "ci", "--json"))
    assert SECRET.fullmatch(made.pop("key"))
    assert json.loads(installation.done("list", "--json")) == [made]
    rotated = json.loads(installation.done("rotate", made["id"], "--grace", "1h", "--json"))
    assert (rotated["replaces"], rotated["replaced_expires_at"]) == (made["id"], "2026-01-05T13:00:00Z")
    assert json.loads(installation.done("revoke", made["id"], "--json"))["state"] == "revoked"


def test_a_reason_is_in_the_audit_log(installation: Installation) -> None:
    for number, arguments in enumerate((("create", "ci"), ("rotate", "ci"), ("revoke", "ci"))):
        installation.done(*arguments, "--why", f"reason {number}")

    told = [(entry.action, entry.why.partition(": ")[2]) for entry in installation.people.rows.audit]
    assert told == [("key create", "reason 0."), ("key rotate", "reason 1."), ("key revoke", "reason 2.")]


def test_a_key_is_rotated_and_revoked_by_its_name(installation: Installation) -> None:
    installation.done("create", "ci")
    rotated = installation.keys("rotate", "ci", "--grace", "1h")
    old, new = sorted(installation.given.keys.list_keys(), key=lambda key: key.replaced_by is None)

    assert SECRET.fullmatch(rotated.stdout.strip())
    assert rotated.stderr.splitlines()[-1] == f"The old one, {old.id}, ends 2026-01-05 13:00 UTC."
    assert installation.done("revoke", "ci") == f"{new.id} (ci) is revoked; nginx refuses it within seconds.\n"
    assert [key.revoked_at is None for key in (old, new)] == [True, True]
    assert installation.given.key(new.id).revoked_at == START


def test_a_name_that_means_several_keys_is_asked_back(installation: Installation) -> None:
    for _ in range(2):
        installation.done("create", "ci")
    first, second = (key.id for key in installation.given.keys.find_keys(limit=2))
    done = installation.keys("revoke", "ci")

    assert (done.returncode, done.stderr) == (
        2,
        f"stoker: ci is the name of several keys; write {first} or {second}\n",
    )
    installation.done("revoke", first)
    assert second in installation.done("revoke", "ci"), "of those that are left only one is good for anything"
    done = installation.keys("rotate", "ci")
    assert done.stderr == "stoker: every key ci is revoked or has expired; `stoker keys list` shows them\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("revoke", "nobody"), "there is no key nobody; `stoker keys list` shows what there is"),
        (("create", "ci", "--plan", "silver"), "there is no plan 'silver'; there is free, gold"),
        (("create", "ci", "--model", "gpt"), "there is no model 'gpt'; there is llama, llama-70b, small"),
        (
            ("create", "ci", "--expires", "soon"),
            "--expires: 'soon' is no time; write a number with its unit, one of s, m, h, d, such as 30d",
        ),
        (("create", " "), "the name must be 1 to 64 printable characters, without a space at its ends"),
    ],
)
def test_what_cannot_be_is_one_sentence(installation: Installation, arguments: tuple[str, ...], said: str) -> None:
    done = installation.keys(*arguments)

    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"stoker: {said}\n")


def test_list_where_there_are_none(installation: Installation) -> None:
    assert installation.done("list") == "There are no keys; `stoker keys create NAME` makes one.\n"


def test_list(installation: Installation) -> None:
    names = ("ci", "web of the shop", "old", "gone", "rotated")
    rows = [
        json.loads(installation.done("create", name, "--json", *more))["id"]
        for name, more in zip(
            names,
            (("--plan", "gold"), ("--model", "small"), ("--expires", "60s"), (), ("--plan", "free")),
            strict=True,
        )
    ]
    installation.done("revoke", "gone")
    installation.done("rotate", "rotated", "--grace", "7d")
    given, ci = installation.given, KeyId(rows[0])
    used = {ci: KeyUsage(DayUsage(ci, START.date(), 123_456, 123_456, START))}
    given.state = AccessState(5, QuotaMemory(used, {ci: Block(START + timedelta(hours=12), QuotaKind.DAY)}), True)
    given.clock.advance(60)
    successor = next(key.id for key in given.keys.list_keys() if key.id not in rows)

    lines = [re.split(r"\s{2,}", line.strip()) for line in installation.done("list").splitlines()]
    assert lines[0] == ["id", "name", "plan", "models", "created", "expires", "used today", "state"]
    assert lines[-1] == ["All times are UTC."]
    told = ["|".join(line) for line in lines[1:-1]]
    wanted = [
        f"{rows[0]}|ci|gold|all|2026-01-05|never|123,456 / 1,000|blocked until 00:00 (day)",
        f"{rows[1]}|web of the shop|-|small|2026-01-05|never|0|usable",
        f"{rows[2]}|old|-|all|2026-01-05|2026-01-05 12:01|0|expired",
        f"{rows[3]}|gone|-|all|2026-01-05|never|0|revoked",
        f"{rows[4]}|rotated|free|all|2026-01-05|2026-01-12 12:00|0|usable, rotated",
        f"{successor}|rotated|free|all|2026-01-05|never|0|usable",
    ]
    assert sorted(told) == sorted(wanted)


def row(**changes: Any) -> dict[str, Any]:
    made = {
        "id": "key_0123456789ab",
        "name": "[red]ci[/red]",
        "plan": None,
        "models": [],
        "created_at": "2026-01-05T12:00:00Z",
        "expires_at": None,
        "revoked_at": None,
        "replaced_by": None,
        "state": "usable",
        "blocked_until": None,
        "blocked_by": None,
        "tokens_today": None,
        "tokens_per_minute": None,
        "tokens_per_day": None,
    }
    return {**made, **changes}


@pytest.mark.parametrize(
    ("tokens", "limit", "said"),
    [(None, None, "-"), (0, None, "0"), (None, 500, "- / 500"), (1234, 5000, "1,234 / 5,000")],
)
def test_what_was_used(tokens: int | None, limit: int | None, said: str) -> None:
    assert key_cells(row(tokens_today=tokens, tokens_per_day=limit))[6] == said


@pytest.mark.parametrize("width", [100, 120, 200])
def test_nothing_is_cut_off(width: int) -> None:
    blocked = row(state="blocked", blocked_until="2026-01-06T00:00:00Z", blocked_by="minute", tokens_today=1_234_567)
    rows = [row(name="n" * 64, models=["a-model-with-a-long-name", "another"]), {**blocked, "tokens_per_day": 10**7}]
    rows.append(row(expires_at="2026-01-12T12:00:00Z", replaced_by="key_ffffffffffff"))
    text = drawn(rows, width)

    assert "\u2026" not in text
    assert max(len(line) for line in text.splitlines()) <= width
    assert text.count("n") >= 64
    for word in ("key_0123456789ab", "minute", "rotated", "1,234,567", "10,000,000", "2026-01-12", "blocked"):
        assert word in text


def test_a_name_is_no_markup() -> None:
    assert "[red]ci[/red]" in drawn([row()], 160)


def drawn(rows: list[dict[str, Any]], width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table(rows, width))
    return console.export_text()


def test_the_token_must_be_readable(installation: Installation) -> None:
    (installation.folder / "api.token").unlink()
    done = installation.keys("list")

    assert done.returncode == 2
    assert (
        "api.token cannot be read (No such file or directory); run this as who ran `stoker up`, or put" in done.stderr
    )


def test_where_nothing_runs(installation: Installation) -> None:
    (installation.folder / "stoker.yaml").unlink()
    done = installation.keys("list")

    assert (done.returncode, done.stderr) == (
        2,
        f"stoker: nothing runs with the state directory {installation.folder}; `stoker up` starts it\n",
    )


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:8099/v1"), ("::1", "http://[::1]:8099/v1")])
def test_where_to_use_a_key(installation: Installation, host: str, url: str) -> None:
    installation.configure(f'"{host}"')
    assert f"OPENAI_BASE_URL={url} " in installation.keys("create", "ci").stderr


def test_no_secret_is_left_in_the_state_directory(installation: Installation) -> None:
    secret = installation.done("create", "ci").strip()
    for path in installation.folder.rglob("*"):
        if stat.S_ISREG(path.stat().st_mode):
            assert secret.encode() not in path.read_bytes()


@pytest.mark.parametrize(("text", "found"), [("30d", 2_592_000), ("1.5h", 5400), ("90m", 5400), ("0s", 0)])
def test_times(text: str, found: float) -> None:
    assert seconds("--expires", text) == found


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1y", "40000d", "1 d", "1d\n"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(Trouble, match="--expires"):
        seconds("--expires", text)
