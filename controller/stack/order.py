"""`stoker cordon|drain|restart|quarantine|release`: what a person wants of a node, a replica or a pool."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.installation import Layout
from controller.settings import Settings, load
from controller.stack import api_client
from controller.stack.api_token import token_of
from controller.stack.trouble import Trouble

_KINDS = ("replica", "pool", "node")
_SAID = {
    "cordon": "Nothing new starts on {name}; `stoker release {name}` ends that.",
    "drain": "{name} is replaced: a successor starts, and once it serves the old one drains.",
    "restart": "{name} is restarted, one replica at a time: a successor starts, then the old one drains.",
    "quarantine": "{name} gets no requests and is kept as it is, until `stoker release {name}`. A successor starts.",
    "release": "{name} is released.",
}


@dataclass(frozen=True, slots=True)
class Given:
    """An order that the controller took."""

    order: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return self.order

    def print(self) -> None:
        """What follows from it."""
        print(_SAID[self.order["kind"]].format(name=self.order["subject"].partition("/")[2]))


def give(state_dir: Path, kind: str, name: str, why: str) -> Given:
    """Give the order. Blocks for a few seconds at most.

    Raises:
        Trouble: nothing runs, the name means nothing or several things, or the controller refuses.
    """
    layout = Layout(state_dir)
    if not layout.config.exists():
        raise Trouble(f"nothing runs with the state directory {layout.root}; `stoker up` starts it")
    settings = load(layout.config)
    wanted = {"kind": kind, "subject": _subject(settings, name), "why": why}
    return Given(api_client.ask(settings, "/api/v1/orders", wanted, token_of(layout)))


def _subject(settings: Settings, name: str) -> str:
    """The name with what it is a name of; a person may have said that, and must where it means several things."""
    if name.partition("/")[0] in _KINDS and "/" in name:
        return name
    found = [
        f"{kind}/{name}"
        for kind in _KINDS
        if name in [row[kind] for row in api_client.ask(settings, f"/api/v1/{kind}s")]
    ]
    if len(found) > 1:
        raise Trouble(f"{name} is the name of several things; write {' or '.join(found)}")
    if not found:
        raise Trouble(f"there is no replica, pool or node {name}; `stoker status` shows what there is")
    return found[0]
