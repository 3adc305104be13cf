"""`stoker last-words`: what the replicas that failed wrote last, kept when they were removed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from rich.text import Text

from controller.installation import Layout
from controller.settings import load
from controller.stack import api_client
from controller.stack.api_client import Row
from controller.stack.api_token import token_of
from controller.stack.terminal import Terminal
from controller.stack.trouble import Trouble


@dataclass(frozen=True, slots=True)
class LastWords:
    """The newest first."""

    rows: tuple[Row, ...]

    def as_json(self) -> list[Row]:
        """For `--json`: the API's own objects."""
        return list(self.rows)

    def print(self) -> None:
        """A line for each replica, and what it wrote below it; the newest at the end, where one looks first."""
        console = Terminal(soft_wrap=True)
        for row in reversed(self.rows):
            console.print(Text(f"{row['at'][:19].replace('T', ' ')} UTC  {row['replica']}  {row['reason']}", "bold"))
            console.print(Text("\n".join(f"    {line}" for line in row["text"].splitlines())))
        if not self.rows:
            console.print("No replica has failed.")


def look(state_dir: Path, pool: str | None, limit: int) -> LastWords:
    """Ask the controller. Blocks for a few seconds at most.

    Raises:
        Trouble: nothing runs, or the controller does not answer.
    """
    layout = Layout(state_dir)
    if not layout.config.exists():
        raise Trouble(f"nothing runs with the state directory {layout.root}; `stoker up` starts it")
    asked = {"limit": str(limit), **({"pool": pool} if pool else {})}
    path = f"/api/v1/last-words?{urlencode(asked)}"
    return LastWords(tuple(api_client.ask(load(layout.config), path, token=token_of(layout))))
