"""`stoker users invite|invitations|withdraw|list|role|remove`: who may log in.

What a command needs is imported when it runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from controller.stack.common_options import STATE_DIR, AsJson, StateDir

app = typer.Typer(help="Invite, list and remove those who may log in, and change what they may.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A to Z, 0 to 9 and _ . @ + -, 64 at most.")]
Why = Annotated[str, typer.Option(help="For the audit log.")]


@app.command()
def invite(
    name: Name,
    role: Annotated[
        str | None, typer.Option(help="viewer, operator or admin; viewer without it. Of somebody new only.")
    ] = None,
    why: Why = "",
    config: Annotated[Path, typer.Option(help="Where nothing was ever started: for the link.")] = Path("stoker.yaml"),
    state_dir: StateDir = STATE_DIR,
    as_json: AsJson = False,
) -> None:
    """Print a link with which somebody chooses a password, once; also where it was forgotten."""
    from controller.stack.users_requests import invite as ask

    made = ask(state_dir, config, name, _role(role), why)
    if as_json:
        typer.echo(json.dumps(made.row, indent=2))
    else:
        made.print()


@app.command()
def invitations(state_dir: StateDir = STATE_DIR, as_json: AsJson = False) -> None:
    """Print who is invited and has not opened the link yet."""
    from controller.stack.users_requests import PeopleClient
    from controller.stack.users_view import print_invitations

    rows = PeopleClient(state_dir).invitations()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_invitations(rows)


@app.command()
def withdraw(name: Name, why: Why = "", state_dir: StateDir = STATE_DIR) -> None:
    """Make the link of an invitation good for nothing."""
    from controller.stack.users_requests import PeopleClient

    PeopleClient(state_dir).withdraw(name, why)
    typer.echo(f"The invitation of {name} is withdrawn.")


@app.command("list")
def list_users(state_dir: StateDir = STATE_DIR, as_json: AsJson = False) -> None:
    """Print who may log in."""
    from controller.stack.users_requests import PeopleClient
    from controller.stack.users_view import print_users

    rows = PeopleClient(state_dir).users()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_users(rows)


@app.command()
def role(
    name: Name,
    to: Annotated[str, typer.Argument(help="viewer, operator or admin.")],
    why: Why = "",
    state_dir: StateDir = STATE_DIR,
) -> None:
    """Give somebody another role; that one's sessions end."""
    from controller.stack.users_requests import PeopleClient

    row = PeopleClient(state_dir).give_role(name, str(_role(to)), why)
    typer.echo(f"{row['name']} is {row['role']} from now on.")


@app.command()
def remove(name: Name, why: Why = "", state_dir: StateDir = STATE_DIR) -> None:
    """Let somebody in no more; sessions and tokens end at once."""
    from controller.stack.users_requests import PeopleClient

    PeopleClient(state_dir).remove(name, why)
    typer.echo(f"{name} is removed.")


def _role(text: str | None) -> str | None:
    if text not in (None, "viewer", "operator", "admin"):
        raise typer.BadParameter(f"{text!r} is no role; write viewer, operator or admin")
    return text
