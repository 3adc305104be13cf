"""`stoker keys create|list|revoke|rotate`: API keys for the gateway's clients.

What a command needs is imported when it runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from controller.stack.common_options import STATE_DIR, AsJson, StateDir, Why
from controller.stack.options import taking

app = typer.Typer(help="Make, list, revoke and rotate the API keys of clients.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(help="Its id, or its name where only one has it.")]


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """As given."""

    name: Annotated[str, typer.Argument(help="For people: whose it is, or what for.")]
    plan: Annotated[str | None, typer.Option(help="A plan of the configuration; without one there are no limits.")] = (
        None
    )
    model: Annotated[list[str] | None, typer.Option(help="A model that it may ask; repeatable. All without it.")] = None
    expires: Annotated[str | None, typer.Option(help="After how long it ends: 30d, 12h. Never without it.")] = None
    why: Why = ""
    state_dir: StateDir = STATE_DIR
    as_json: AsJson = False


@app.command()
@taking(KeyOptions)
def create(options: KeyOptions) -> None:
    """Make a key, and print it: this once."""
    from controller.stack.key_requests import KeysClient, seconds

    wanted: dict[str, Any] = {
        "name": options.name,
        "plan": options.plan,
        "models": options.model or [],
        "why": options.why,
    }
    if options.expires is not None:
        wanted["expires_in_s"] = seconds("--expires", options.expires)
    _show(KeysClient(options.state_dir).create(wanted), options.as_json)


@app.command("list")
def list_keys(state_dir: StateDir = STATE_DIR, as_json: AsJson = False) -> None:
    """Print the table of keys, the newest first, without what clients send."""
    from controller.stack.key_requests import LISTED, KeysClient

    rows = KeysClient(state_dir).newest()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif not rows:
        typer.echo("There are no keys; `stoker keys create NAME` makes one.")
    else:
        from controller.stack.keys_view import table
        from controller.stack.terminal import Terminal

        console = Terminal()
        console.print(table(rows, console.width))
        if len(rows) == LISTED:
            console.print(f"These are the newest {LISTED}; GET /api/v1/keys?key=NAME finds others.")


@app.command()
def revoke(key: Key, why: Why = "", state_dir: StateDir = STATE_DIR, as_json: AsJson = False) -> None:
    """End a key at once and for ever."""
    from controller.stack.key_requests import KeysClient

    _show(KeysClient(state_dir).revoke(key, why), as_json)


@app.command()
def rotate(
    key: Key,
    grace: Annotated[str, typer.Option(help="For how long the old one stays good: 1h, 7d.")] = "0s",
    why: Why = "",
    state_dir: StateDir = STATE_DIR,
    as_json: AsJson = False,
) -> None:
    """Make a new key for the same name, plan, models and end; the old one ends when the grace is over."""
    from controller.stack.key_requests import KeysClient, seconds

    _show(KeysClient(state_dir).rotate(key, seconds("--grace", grace), why), as_json)


def _show(found: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        found.print()
