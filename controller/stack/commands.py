"""Commands of `stoker` that have a file, or a group, of their own. Light: what one needs is imported when it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from controller.stack.common_options import STATE_DIR, AsJson, StateDir
from controller.stack.events_command import events
from controller.stack.exporter_command import app as exporter
from controller.stack.gateway_command import app as gateway
from controller.stack.keys import app as keys
from controller.stack.order_command import add_orders
from controller.stack.override_command import add_overrides
from controller.stack.tokens import app as tokens
from controller.stack.tokens import audit
from controller.stack.users import app as users


def add_commands(app: typer.Typer) -> None:
    """Make them commands of `app`."""
    app.add_typer(keys, name="keys")
    app.add_typer(gateway, name="gateway")
    app.add_typer(exporter, name="exporter")
    app.add_typer(users, name="users")
    app.add_typer(tokens, name="tokens")
    app.command()(audit)
    add_orders(app)
    add_overrides(app)
    app.command()(grafana)
    app.command()(alerts)
    app.command()(placement)
    app.command()(events)


def grafana(
    output: Annotated[Path, typer.Option(help="The folder that the files go to.")],
    host: Annotated[
        str | None, typer.Option(help="Where Grafana reaches this machine; without it, Grafana runs on this machine.")
    ] = None,
    state_dir: StateDir = STATE_DIR,
) -> None:
    """Write boards and provisioning for a Grafana, with the addresses of this installation."""
    from controller.stack.grafana import advice, write

    typer.echo(advice(write(output, host, state_dir)))


def alerts(
    state_dir: StateDir = STATE_DIR,
    as_json: AsJson = False,
) -> None:
    """Print the alerts that fire or ended within the last hour, and what the controller did about each."""
    from controller.stack.alerts import look

    found = look(state_dir)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        found.print()


def placement(
    pool: Annotated[str, typer.Argument(help="The pool's name.")],
    state_dir: StateDir = STATE_DIR,
    as_json: AsJson = False,
) -> None:
    """Say where a replica of a pool could start now, and why nowhere else."""
    from controller.stack.placement import look

    found = look(state_dir, pool)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        found.print()
