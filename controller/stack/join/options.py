"""What `stoker gateway join` can be told. Imported by the command line itself, so nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer


@dataclass(frozen=True, slots=True)
class JoinOptions:
    """As given."""

    controller: Annotated[
        list[str], typer.Option(help="The controller's URL; repeatable, where several share a database.")
    ]
    token_file: Annotated[
        Path, typer.Option(help="A copy of gateway.token, from the state directory of `stoker up`; mode 0600.")
    ]
    state_dir: Annotated[Path, typer.Option(help="Where this gateway keeps what it was told; not that of `stoker up`.")]
    name: Annotated[str | None, typer.Option(help="What the controller calls it; the machine's name without it.")] = (
        None
    )
    listen: Annotated[str, typer.Option(help="The address that clients reach.")] = "127.0.0.1"
    reach: Annotated[
        str | None,
        typer.Option(help="This machine's address for Prometheus; without it nobody counts what this gateway does."),
    ] = None
    port: Annotated[int, typer.Option(min=1, max=65535, help="For clients.")] = 8080
    status_port: Annotated[int, typer.Option(min=1, max=65535, help="Of nginx's own state; on loopback.")] = 8081
    edge_port: Annotated[int, typer.Option(min=1, max=65535, help="Of the metrics, on the address of --reach.")] = 9401
    log_port: Annotated[int, typer.Option(min=1, max=65535, help="UDP, of the access log; on loopback.")] = 9402
    ca_file: Annotated[
        Path | None, typer.Option(help="Who vouches for the controller: a CA, or a copy of its own certificate.")
    ] = None
