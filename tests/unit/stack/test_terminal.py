"""No text of others is an order to the terminal."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.live import Live
from rich.table import Table
from rich.text import Text

from controller.stack import alerts, drill_requests, events_requests, explanation, last_words, users_view, view
from controller.stack.api_client import Seen
from controller.stack.terminal import Terminal, shown

AT = "2026-01-05T12:00:00Z"
EVIL = "\x1b]52;c;c3R1ZmY=\x07\x1b[2J\x9b31mgone"  # into the clipboard, and away with what stood there
_ORDERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")
AUDIT = {
    **dict.fromkeys(("name", "how", "address", "action", "subject", "why", "outcome"), EVIL),
    "id": 1, "at": AT, "role": "", "refused": True,
}  # fmt: skip
TOKEN = {
    **dict.fromkeys(("id", "name", "owner", "role", "prefix", "state"), EVIL),
    "expires_at": None, "used_at": None,
}  # fmt: skip
USER = {"name": EVIL, "role": EVIL, "source": EVIL, "created_at": AT, "logged_in_at": None}
EVENT = {
    **dict.fromkeys(("kind", "severity", "subject", "reason", "text", "outcome"), EVIL), "at": AT, "what": "event"
}  # fmt: skip
WORDS = {"at": AT, "replica": EVIL, "reason": EVIL, "text": f"{EVIL}\n{EVIL}"}
ALERT = {
    **dict.fromkeys(("alert", "severity", "status", "summary"), EVIL),
    "since": AT, "resolved_at": None, "heard_at": AT, "came_at": AT, "labels": {"pool": EVIL},
    "followed": {"at": AT, "kind": EVIL, "subject": EVIL, "text": EVIL, "before": False},
}  # fmt: skip
DRILL: dict[str, Any] = {
    **dict.fromkeys(("id", "fault", "pool", "by", "why", "told", "state"), EVIL),
    "at": AT, "victims": [EVIL], "figures": {}, "lines": [{"at": AT, "text": EVIL}],
}  # fmt: skip


@pytest.mark.parametrize(
    "show",
    [
        pytest.param(lambda: users_view.print_audit([AUDIT]), id="audit"),
        pytest.param(lambda: users_view.print_tokens([TOKEN]), id="tokens"),
        pytest.param(lambda: users_view.print_users([USER]), id="users"),
        pytest.param(lambda: [events_requests.show(_dumped([EVENT]))], id="events"),
        pytest.param(lambda: last_words.LastWords((WORDS,)).print(), id="last-words"),
        pytest.param(lambda: alerts.Alerts((ALERT,)).print(), id="alerts"),
        pytest.param(lambda: drill_requests.DrillRows((DRILL,), single=True).print(), id="drills"),
        pytest.param(lambda: explanation.show([Text(EVIL)]), id="why"),
    ],
)
def test_what_commands_print_is_text(show: Any, capsys: pytest.CaptureFixture[str]) -> None:
    show()

    printed = capsys.readouterr().out
    assert "gone" in printed
    assert _ORDERS.findall(printed) == []


def _dumped(rows: list[dict[str, Any]]) -> str:
    return json.dumps({"lines": rows, "older": None})


def test_colours_and_live_tables_stay() -> None:
    file = io.StringIO()
    console = Terminal(file=file, force_terminal=True, color_system="standard", width=60)
    seen = Seen(({"pool": "small", "ready": 1, "desired": 1, "reasons": [{"code": "PauseSet", "text": EVIL}]},), ())
    with Live(console=console, auto_refresh=False) as live:
        live.update(view.table(seen, datetime(2026, 1, 5, tzinfo=UTC)), refresh=True)
    console.print(Text("red", "red"))

    drawn = file.getvalue()
    assert "\x1b[31mred\x1b[0m" in drawn
    assert "\x1b[?25l" in drawn  # the cursor is hidden while it is drawn
    assert "c3R1ZmY=" in drawn
    assert not any(order in drawn for order in ("\x1b]52", "\x1b[2J", "\x9b", "\x07"))


def test_a_table_keeps_its_columns() -> None:
    console = Terminal(file=io.StringIO(), width=60, record=True)
    drawn = Table(box=None, show_header=False)
    for _ in range(2):
        drawn.add_row(Text("\x1b[1mx"), Text("second"))
    console.print(drawn)

    assert len({line.index("s") for line in console.export_text().splitlines()}) == 1


def test_lines_of_a_plain_text_stay() -> None:
    assert shown("a\n\tb\x1b[2J\r") == "a\n\tb [2J "
