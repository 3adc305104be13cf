"""What `stoker simulate` can be told. Imported by the command line itself, so nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

_TRACE = (
    "A file (Azure CSV, Mooncake JSON lines), synthetic:KIND?hours=1&rps=3, or history:6h for what the pool of the "
    "running stack had in the last hours."
)


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """As given; times are still texts."""

    trace: Annotated[str, typer.Option(help=_TRACE)]
    config: Annotated[Path, typer.Option(help="The configuration whose policy is played.")] = Path("stoker.yaml")
    pool: Annotated[str | None, typer.Option(help="The pool, where there are several.")] = None
    compare: Annotated[
        str, typer.Option(metavar="NAMES", help="Others to play: static, static:N, hpa, kpa, ray, skyserve, dstack.")
    ] = ""
    floor: Annotated[int | None, typer.Option(help="Another floor than the configuration's.")] = None
    ceiling: Annotated[int | None, typer.Option(help="Another ceiling than the configuration's.")] = None
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Play a changed policy beside it, as in scaling.tolerance=0.2; may be given several times.",
        ),
    ] = None
    cold_start: Annotated[str, typer.Option(help="From a replica's order to its readiness.")] = "60s"
    cold_start_jitter: Annotated[float, typer.Option(help="Share by which that varies, 0 to below 1.")] = 0.0
    slo_first_token: Annotated[str, typer.Option(help="The first token is in time by then.")] = "2s"
    slo_duration: Annotated[str, typer.Option(help="The whole answer is in time by then.")] = "30s"
    price: Annotated[float, typer.Option(help="Of an hour of one replica.")] = 2.5
    engine: Annotated[Path | None, typer.Option(help="An engine model, as `stoker calibrate` writes it.")] = None
    mtbf: Annotated[str | None, typer.Option(help="Mean time between failures of one replica; none fail without.")] = (
        None
    )
    seed: Annotated[int, typer.Option(help="Of failures and jitter.")] = 0
    report: Annotated[Path | None, typer.Option(help="Write a report, one HTML file.")] = None
    why: Annotated[bool, typer.Option("--why", help="List Stoker's changes of the count with their reasons.")] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the runs over time.")] = False
    state_dir: Annotated[
        Path, typer.Option(envvar="STOKER_STATE_DIR", help="The running stack's state directory, for history:.")
    ] = Path(".stoker")
