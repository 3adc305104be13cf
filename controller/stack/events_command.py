"""`stoker events`: what happened and what was decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from controller.stack.common_options import STATE_DIR, StateDir
from controller.stack.options import taking

_MOST = 100_000


@dataclass(frozen=True, slots=True)
class EventsOptions:
    """As given; what is left out is no condition."""

    text: Annotated[str, typer.Option(help="Only where a name, a reason or a message has it.")] = ""
    pool: Annotated[str, typer.Option(help="Only of this pool and its replicas.")] = ""
    kind: Annotated[
        list[str] | None, typer.Option(help="Only these: replica_unready, start_replica. May be repeated.")
    ] = None
    what: Annotated[str, typer.Option(help="decision or event; both without it.")] = ""
    severity: Annotated[str, typer.Option(help="warning or critical: only events that are at least that.")] = ""
    reason: Annotated[str, typer.Option(help="Only with this code, such as NoGpuFits.")] = ""
    about: Annotated[str, typer.Option(help="Only of replica/NAME, node/NAME, gpu/UUID, gateway.")] = ""
    since: Annotated[str, typer.Option(help="10m, 2h, 12:00 or 2026-01-05T12:00:00Z.")] = ""
    until: Annotated[str, typer.Option(help="The same.")] = ""
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="How many at most, the newest.")] = 50
    state_dir: StateDir = STATE_DIR
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, the newest first.")] = False
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV for a spreadsheet, the newest first.")] = False


@taking(EventsOptions)
def events(options: EventsOptions) -> None:
    """Print what happened and what was decided; the newest at the end."""
    from controller.stack.events_requests import look, show
    from controller.stack.terminal import shown
    from controller.stack.trouble import Trouble

    if options.as_json and options.as_csv:
        raise Trouble("--json and --csv are two forms; leave one out")
    found = look(options)
    if options.as_csv:
        typer.echo("\r\n".join(map(shown, found.split("\r\n"))), nl=False)
    elif options.as_json:
        typer.echo(found)
    else:
        show(found)
