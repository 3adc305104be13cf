"""`stoker cordon|drain|restart|quarantine|release`: what a person wants of a node, a GPU, a replica or a pool."""

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
    "cordon": "Nothing new starts on {name}; `stoker release {told}` ends that.",
    "drain": "{name} is replaced: a successor starts, and once it serves the old one drains.",
    "drain gpu": "What runs on {name} is replaced elsewhere; nothing new starts there until `stoker release {told}`.",
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
        kind, (what, _, name) = self.order["kind"], self.order["subject"].partition("/")
        said = _SAID.get(f"{kind} {what}") or _SAID[kind]
        print(said.format(name=name, told=f"--gpu {name}" if what == "gpu" else name))


@dataclass(frozen=True, slots=True)
class Named:
    """What a person named: something by its name, or a GPU by the beginning of its UUID and perhaps its node."""

    name: str = ""
    gpu: str = ""
    node: str = ""


def give(state_dir: Path, kind: str, named: Named, why: str) -> Given:
    """Give the order. Blocks for a few seconds at most.

    Raises:
        Trouble: nothing runs, the name means nothing or several things, or the controller refuses.
    """
    layout = Layout(state_dir)
    if not layout.config.exists():
        raise Trouble(f"nothing runs with the state directory {layout.root}; `stoker up` starts it")
    if bool(named.name) == bool(named.gpu) or (named.node and not named.gpu):
        raise Trouble(f"`stoker {kind}` is given a name, or --gpu UUID with perhaps --node NAME")
    settings = load(layout.config)
    token = token_of(layout)
    subject = _gpu(settings, named, token) if named.gpu else _subject(settings, named.name, token)
    wanted = {"kind": kind, "subject": subject, "why": why}
    return Given(api_client.ask(settings, "/api/v1/orders", wanted, token))


def _subject(settings: Settings, name: str, token: str) -> str:
    """The name with what it is a name of; a person may have said that, and must where it means several things."""
    if name.partition("/")[0] in _KINDS and "/" in name:
        return name
    found = [
        f"{kind}/{name}"
        for kind in _KINDS
        if name in [row[kind] for row in api_client.ask(settings, f"/api/v1/{kind}s", token=token)]
    ]
    if len(found) > 1:
        raise Trouble(f"{name} is the name of several things; write {' or '.join(found)}")
    if not found:
        raise Trouble(f"there is no replica, pool or node {name}; `stoker status` shows what there is")
    return found[0]


def _gpu(settings: Settings, named: Named, token: str) -> str:
    """The GPU whose UUID begins so."""
    rows = api_client.ask(settings, "/api/v1/gpus", token=token)
    found = [row for row in rows if row["uuid"].startswith(named.gpu) and named.node in ("", row["node"])]
    if len(found) > 1:
        told = " or ".join(f"{row['uuid']} of {row['node']}" for row in found)
        raise Trouble(f"{named.gpu} is the beginning of several UUIDs; write {told}")
    if not found:
        place = f" on {named.node}" if named.node else ""
        raise Trouble(f"there is no GPU {named.gpu}{place}; `stoker status` shows those that there are")
    return f"gpu/{found[0]['uuid']}"
