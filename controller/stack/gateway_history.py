"""What `stoker gateway history|diff|revert` shows and asks.

The history is read from its files: no controller is needed for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from controller.adapters.nginx.history import HistoryFolder
from controller.core.revision import Revision
from controller.core.revision import diff as revision_diff
from controller.installation import Layout
from controller.settings import load
from controller.stack import api_client
from controller.stack.api_token import token_of
from controller.stack.gateway_files import history_folder, revert_file
from controller.stack.terminal import Terminal
from controller.stack.trouble import Trouble

_WIDTH = 200
_CAUSES_SHOWN = 6
_COLUMNS = ("", "when", "tick", "generation", "servers", "why")
_NUMBERS = ("", "tick", "servers")
_COLOURS = (("+++", "bold"), ("---", "bold"), ("@@", "cyan"), ("+", "green"), ("-", "red"))


@dataclass(frozen=True, slots=True)
class History:
    """The configurations that nginx took, the newest first."""

    revisions: tuple[Revision, ...]

    def as_json(self) -> list[dict[str, Any]]:
        """For `--json`: as the API has it, without the texts."""
        return [_row(revision) for revision in self.revisions]

    def print(self) -> None:
        """The table."""
        drawn = Table(box=None, padding=(0, 2, 0, 0), caption="All times are UTC.", caption_justify="left")
        for name in _COLUMNS:
            drawn.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=name != "why")
        for revision in self.revisions:
            drawn.add_row(*(Text(cell) for cell in _cells(revision)))
        _console().print(drawn)


@dataclass(frozen=True, slots=True)
class Diff:
    """What is different between two configurations."""

    lines: tuple[str, ...]

    def print(self) -> None:
        """In colours where somebody sees them."""
        console = _console()
        for line in self.lines:
            style = next((colour for begin, colour in _COLOURS if line.startswith(begin)), "")
            console.print(Text(line, style), soft_wrap=True)


def look(state_dir: Path) -> History:
    """All that are kept. Raises `Trouble` where there are none."""
    folder = history_folder(Layout(state_dir))
    found = HistoryFolder(folder).all()
    if not found:
        raise Trouble(f"no configuration of nginx is kept in {folder} yet")
    return History(found)


def diff(state_dir: Path, first: int | None, second: int | None) -> Diff:
    """From the first to the second; of one alone, what it changed; of none, what the last one did.

    Raises:
        Trouble: one of them is not kept.
    """
    revisions = look(state_dir).revisions
    after = revisions[0] if first is None else _one(revisions, first)
    if second is not None:
        return _between(after, _one(revisions, second))
    before = next((revision for revision in revisions if revision.number < after.number), None)
    if before is None:
        raise Trouble(f"{after.number} is the oldest one that is kept, so there is none to compare it with")
    return _between(before, after)


def revert(state_dir: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """Go back, as the body of the API says. Blocks for 15 s at most.

    Raises:
        Trouble: that cannot be, with the controller's sentence.
    """
    layout = Layout(state_dir)
    if not layout.config.exists():
        raise Trouble(f"nothing runs with the state directory {layout.root}; `stoker up` starts it")
    settings, path = load(layout.config), "/api/v1/gateway/revert"
    done: dict[str, Any] = api_client.ask(settings, path, wanted, token_of(layout), patience_s=api_client.SLOW_S)
    return done


def end_revert(state_dir: Path, *, changed: bool) -> str:
    """After a `stoker apply`, which is a newer word than a revert; what came of it, empty where there was none.

    One that changed something has started a controller that knows of no revert.
    """
    if changed or not revert_file(Layout(state_dir)).exists():
        return ""
    done = revert(state_dir, {"undo": True})
    return str(done["text"]) if done["changed"] else ""


def _one(revisions: Sequence[Revision], number: int) -> Revision:
    for revision in revisions:
        if revision.number == number:
            return revision
    kept = f"{revisions[-1].number} to {revisions[0].number} are kept"
    raise Trouble(f"there is no revision {number}; {kept}, see `stoker gateway history`")


def _between(before: Revision, after: Revision) -> Diff:
    return Diff(revision_diff(before.configuration, after.configuration, (_name(before), _name(after))))


def _name(revision: Revision) -> str:
    return f"nginx.conf of {revision.number}, {_when(revision)} UTC"


def _cells(revision: Revision) -> tuple[str, ...]:
    told = [cause.text.rstrip(".") for cause in revision.causes]
    if len(told) > _CAUSES_SHOWN:
        told = [*told[: _CAUSES_SHOWN - 1], f"and {len(told) - _CAUSES_SHOWN + 1} more"]
    now, moment = revision.configuration, revision.moment
    back = f" (settings of {now.reverted_to})" if now.reverted_to else ""
    servers = str(len(now.plan.replicas()))
    return str(revision.number), _when(revision), str(moment.tick), now.generation, servers, "; ".join(told) + back


def _when(revision: Revision) -> str:
    return revision.moment.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _row(revision: Revision) -> dict[str, Any]:
    now = revision.configuration
    return {
        "number": revision.number,
        "at": revision.moment.at.astimezone(UTC).isoformat(),
        "tick": revision.moment.tick,
        "term": revision.moment.term,
        "generation": now.generation,
        "causes": [{"code": cause.code, "text": cause.text} for cause in revision.causes],
        "servers": {routes.pool: [server.replica for server in routes.servers] for routes in now.plan.pools},
        "entered": list(revision.entered),
        "left": list(revision.left),
        "reverted_to": now.reverted_to,
    }


def _console() -> Terminal:
    console = Terminal()
    if not console.is_terminal:
        console.width = _WIDTH  # rich takes 80 columns for a pipe and would cut the reasons
    return console
