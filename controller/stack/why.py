"""`stoker why POOL`: how the size of a pool came about, now or at an earlier time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from controller.installation import Layout
from controller.settings import Settings, load
from controller.stack import api_client, explanation
from controller.stack.api_client import Row
from controller.stack.api_token import token_of
from controller.stack.trouble import Trouble
from controller.stack.when import parse_when

_CHANGES = 8


@dataclass(frozen=True, slots=True)
class Why:
    """The evaluation that held at a time, the change that led to its count, and the changes before."""

    held: Row
    changes: tuple[Row, ...]
    score: Row | None = None  # of a second policy in the shadow of the live one, as of now

    def as_json(self) -> dict[str, Any]:
        """For `--json`: what `stoker explain --snapshot` reads."""
        return {"evaluation": self.held, "changes": list(self.changes), "shadow": self.score}

    def print(self) -> None:
        """In words."""
        now, parts = datetime.now(UTC), list[RenderableType]()
        cause = self.changes[0] if self.changes else None
        if cause is not None and cause["id"] != self.held["id"]:
            parts += [Text("The last change:", "dim"), explanation.explanation(cause, now), Text("Since then:", "dim")]
        parts.append(explanation.explanation(self.held, now))
        if self.score is not None:
            parts += [Text(f"  {line}") for line in explanation.score_lines(self.score)]
        lines = list(explanation.change_lines(self.changes))
        if lines:
            parts += [Text("Changes, newest first:", "dim"), *(Text(f"  {line}") for line in lines)]
        explanation.show(parts)


def look(state_dir: Path, pool: str, at: str | None) -> Why:
    """Ask the controller. Blocks for a few seconds at most.

    Raises:
        Trouble: nothing runs, the controller does not answer, there is no such pool, or nothing is known of that time.
    """
    layout = Layout(state_dir)
    if not layout.config.exists():
        raise Trouble(f"nothing runs with the state directory {layout.root}; `stoker up` starts it")
    settings = load(layout.config)
    until = parse_when(at, datetime.now().astimezone()) if at else None
    source = _Ledger(settings, pool, until, token_of(layout))
    held = source.ask(changed=False, limit=1)
    if not held:
        when = f"at or before {explanation.clock(until)}" if until else "yet"
        raise Trouble(f"nothing was decided of {pool} {when}; the ledger begins with the controller's first tick")
    changes = tuple(source.ask(changed=True, limit=_CHANGES))
    seen = api_client.look(settings, source.token) if held[0]["mode"] == "shadow" else None
    score = next((row["shadow"] for row in seen.pools if row["pool"] == pool), None) if seen else None
    return Why(held[0], changes, score)


@dataclass(frozen=True, slots=True)
class _Ledger:
    """What was decided of a pool until then."""

    settings: Settings
    pool: str
    until: datetime | None
    token: str

    def ask(self, *, changed: bool, limit: int) -> list[Row]:
        asked = {"limit": str(limit), "changed": str(changed).lower(), "evidence": "true"}
        if self.until is not None:
            asked["at"] = self.until.astimezone(UTC).isoformat()
        return api_client.pool_decisions(self.settings, self.pool, asked, self.token)
