"""`stoker tokens create|list|revoke`: what programs show to the controller's API. `stoker audit`: who did what.

What a command needs is imported when it runs.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from controller.stack.common_options import STATE_DIR, AsJson, StateDir

app = typer.Typer(help="Make, list and revoke tokens for the controller's API.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="For people: what it is for.")],
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")] = "viewer",
    expires: Annotated[str | None, typer.Option(help="After how long it ends: 30d, 12h. Never without it.")] = None,
    why: Annotated[str, typer.Option(help="For the audit log.")] = "",
    state_dir: StateDir = STATE_DIR,
    as_json: AsJson = False,
) -> None:
    """Make a token, and print it: this once."""
    from controller.stack.key_requests import seconds
    from controller.stack.users_requests import PeopleClient

    wanted: dict[str, Any] = {"name": name, "role": role, "why": why}
    if expires is not None:
        wanted["expires_in_s"] = seconds("--expires", expires)
    row = PeopleClient(state_dir).make_token(wanted)
    if as_json:
        typer.echo(json.dumps(row, indent=2))
    else:
        typer.echo(f"{row['id']} ({row['name']}) is {row['role']}. It is shown this once:", err=True)
        typer.echo(row["token"])


@app.command("list")
def list_tokens(state_dir: StateDir = STATE_DIR, as_json: AsJson = False) -> None:
    """Print the tokens, without their texts."""
    from controller.stack.users_requests import PeopleClient
    from controller.stack.users_view import print_tokens

    rows = PeopleClient(state_dir).tokens()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_tokens(rows)


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(help="Its id, or its name where only one has it.")],
    state_dir: StateDir = STATE_DIR,
) -> None:
    """Make it good for nothing, at once."""
    from controller.stack.users_requests import PeopleClient

    row = PeopleClient(state_dir).remove_token(token)
    typer.echo(f"{row['id']} ({row['name']} of {row['owner']}) is good for nothing any more.")


def audit(
    name: Annotated[str | None, typer.Option(help="Only what this one did.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this: `order drain`, `key create`, `login`.")] = None,
    text: Annotated[str | None, typer.Option(help="Only where subject, reason or outcome has it.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    state_dir: StateDir = STATE_DIR,
    as_json: AsJson = False,
) -> None:
    """Print who changed what, from where and why; the newest at the end."""
    from controller.stack.users_requests import PeopleClient
    from controller.stack.users_view import print_audit

    asked = {"name": name, "action": action, "q": text, "limit": limit}
    rows = PeopleClient(state_dir).audit({key: str(value) for key, value in asked.items() if value is not None})
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_audit(rows)
