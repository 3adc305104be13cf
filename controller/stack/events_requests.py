"""What `stoker events` asks of the controller, and how it prints the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlencode

from rich.text import Text

from controller.stack.api_client import Client, Row
from controller.stack.events_command import EventsOptions
from controller.stack.terminal import Terminal
from controller.stack.trouble import Trouble
from controller.stack.when import parse_when

_WIDTH = 200
_WORDS = {"what": ("decision", "event"), "severity": ("warning", "critical")}


def look(options: EventsOptions) -> str:
    """The API's own answer, JSON or CSV. Blocks for a minute at most. Raises `Trouble`."""
    return Client.of(options.state_dir).text(f"/api/v1/activity?{urlencode(asked(options), doseq=True)}")


def asked(options: EventsOptions) -> dict[str, str | list[str]]:
    """As the API takes it. Raises `Trouble` for what is no time, or no word that it knows."""
    for name, words in _WORDS.items():
        if (given := getattr(options, name)) and given not in words:
            raise Trouble(f"--{name} is {' or '.join(words)}, and not {given!r}")
    given_all: dict[str, str | list[str]] = {
        "q": options.text,
        "pool": options.pool,
        "kind": options.kind or [],
        "what": options.what,
        "severity": options.severity,
        "reason": options.reason,
        "subject": options.about,
        "from": _time(options.since),
        "to": _time(options.until),
        "limit": str(options.limit),
        "format": "csv" if options.as_csv else "json",
    }
    return {name: value for name, value in given_all.items() if value}


def _time(text: str) -> str:
    if not text:
        return ""
    return parse_when(text, datetime.now().astimezone()).astimezone(UTC).isoformat()


def show(answer: str) -> None:
    """A line for each, the newest at the end, where one looks first."""
    console = Terminal(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _WIDTH
    told = json.loads(answer)
    for line in printed(told["lines"]):
        console.print(line)
    if not told["lines"]:
        console.print("Nothing of that is in the ledger.")
    elif told["older"]:
        console.print(Text("There are older ones; --limit shows more of them.", "dim"))


def printed(rows: list[Row]) -> Iterator[Text]:
    """As text, never markup: it comes from anywhere."""
    for row in reversed(rows):
        line = Text(f"{row['at'][:10]} {row['at'][11:19]}  ", "dim")
        line.append(f"{row['kind']} ", "bold" if row["what"] == "decision" else "")
        line.append(f"{row['subject']}  ")
        if row["severity"] != "info":
            line.append(f"{row['severity']}  ", "yellow")
        outcome = f" ({row['outcome']})" if row["outcome"] not in (None, "done") else ""
        yield line.append(f"{row['text']}{outcome}").append(f"  {row['reason']}", "dim")
