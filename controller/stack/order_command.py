"""`stoker cordon|drain|restart|quarantine|release`: orders. What a command needs is imported when it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from controller.stack.common_options import STATE_DIR, AsJson, StateDir

Subject = Annotated[str, typer.Argument(help="A name, or replica/NAME, pool/NAME, node/NAME where that is not clear.")]
Perhaps = Annotated[str, typer.Argument(help="A name, or replica/NAME, pool/NAME, node/NAME; none with --gpu.")]
Gpu = Annotated[str, typer.Option(help="A GPU's UUID, or its beginning.")]
OnNode = Annotated[str, typer.Option(help="With --gpu: the node that it is on.")]
Why = Annotated[str, typer.Option(help="For the ledger.")]


def add_orders(app: typer.Typer) -> None:
    """Make them commands of `app`."""
    for command in (cordon, drain, restart, quarantine, release):
        app.command()(command)


def cordon(
    name: Perhaps = "",
    gpu: Gpu = "",
    node: OnNode = "",
    why: Why = "",
    state_dir: StateDir = STATE_DIR,
    as_json: AsJson = False,
) -> None:
    """Start nothing new on a node or a GPU."""
    _order(("cordon", why), (name, gpu, node), state_dir, as_json)


def drain(
    name: Perhaps = "",
    gpu: Gpu = "",
    node: OnNode = "",
    why: Why = "",
    state_dir: StateDir = STATE_DIR,
    as_json: AsJson = False,
) -> None:
    """Replace a replica, or all of a node or a GPU elsewhere: new first, and what is in flight finishes."""
    _order(("drain", why), (name, gpu, node), state_dir, as_json)


def restart(name: Subject, why: Why = "", state_dir: StateDir = STATE_DIR, as_json: AsJson = False) -> None:
    """Replace a replica, or every one of a pool in turn: new first, and what is in flight finishes."""
    _order(("restart", why), (name, "", ""), state_dir, as_json)


def quarantine(name: Subject, why: Why = "", state_dir: StateDir = STATE_DIR, as_json: AsJson = False) -> None:
    """Take a replica out of nginx and keep it as it is, to be looked at; a successor starts."""
    _order(("quarantine", why), (name, "", ""), state_dir, as_json)


def release(
    name: Perhaps = "",
    gpu: Gpu = "",
    node: OnNode = "",
    why: Why = "",
    state_dir: StateDir = STATE_DIR,
    as_json: AsJson = False,
) -> None:
    """End what was ordered of a node, a GPU or a replica; say that a GPU is well; close a pool's fuse and end the
    quarantine of its starts."""
    _order(("release", why), (name, gpu, node), state_dir, as_json)


def _order(wanted: tuple[str, str], of: tuple[str, str, str], state_dir: Path, as_json: bool) -> None:
    from controller.stack.order import Named, give

    kind, why = wanted
    given = give(state_dir, kind, Named(*of), why)
    if as_json:
        typer.echo(json.dumps(given.as_json(), indent=2))
    else:
        given.print()
