"""`stoker gateway history|diff|revert|join`: nginx's configurations, and nginx on other machines.

What a command needs is imported when it runs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from controller.stack.common_options import STATE_DIR, AsJson, StateDir
from controller.stack.join.options import JoinOptions
from controller.stack.options import taking

app = typer.Typer(help="The configurations that nginx took, and nginx on other machines.", no_args_is_help=True)


@app.command()
def history(state_dir: StateDir = STATE_DIR, as_json: AsJson = False) -> None:
    """Print the last configurations that nginx took, the newest first, and why."""
    from controller.stack.gateway_history import look

    found = look(state_dir)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        found.print()


@app.command()
def diff(
    first: Annotated[int | None, typer.Argument(metavar="N", help="What it changed; the last one without it.")] = None,
    second: Annotated[int | None, typer.Argument(metavar="M", help="From N to this one.")] = None,
    state_dir: StateDir = STATE_DIR,
) -> None:
    """Print what is different between two configurations."""
    from controller.stack.gateway_history import diff as compare

    compare(state_dir, first, second).print()


@app.command()
def revert(
    number: Annotated[int | None, typer.Argument(metavar="N", help="Of the history.")] = None,
    why: Annotated[str, typer.Option(help="For the history and the events.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Back to the settings of the file.")] = False,
    state_dir: StateDir = STATE_DIR,
    as_json: AsJson = False,
) -> None:
    """Go back to the settings of a configuration, with the servers of now, until the next `stoker apply` or `up`."""
    from controller.stack.gateway_history import revert as go_back

    if (number is None) != undo:
        raise typer.BadParameter("give the number of a configuration, or --undo")
    if not undo and not why.strip():
        raise typer.BadParameter("say why with --why: whoever looks at this next wants to know")
    wanted: dict[str, Any] = {"undo": True, "why": why} if undo else {"number": number, "why": why}
    done = go_back(state_dir, wanted)
    typer.echo(json.dumps(done, indent=2) if as_json else done["text"])


@app.command()
@taking(JoinOptions)
def join(options: JoinOptions) -> None:
    """Run nginx on this machine, in the foreground, as a controller elsewhere says; with that one away it serves on."""
    from controller.stack.join.run import join as follow

    follow(options)


def after_apply(state_dir: Path, *, changed: bool) -> None:
    """A `stoker apply` is a newer word than a revert."""
    from controller.stack.gateway_history import end_revert

    if told := end_revert(state_dir, changed=changed):
        sys.stderr.write(f"{told}\n")
