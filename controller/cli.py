"""The command `stoker`. Exit codes: 0 done, 2 trouble (one sentence on stderr), 78 a bad configuration.

What a command needs is imported when it runs: `stoker status` must not wait for Docker's library.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Literal

import typer

from controller.stack.calibrate_options import CalibrateOptions
from controller.stack.commands import add_commands
from controller.stack.common_options import STATE_DIR, AsJson, StateDir
from controller.stack.drill.options import DrillOptions
from controller.stack.gateway_command import after_apply
from controller.stack.options import taking
from controller.stack.simulate_options import SimulateOptions

app = typer.Typer(
    help="Keeps self-hosted LLMs serving: scales, heals and routes model-server replicas.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Config = Annotated[Path, typer.Option(help="The configuration file.")]
Runtime = Annotated[
    Literal["auto", "docker", "process"],
    typer.Option(help="What replicas run in: containers, local processes, or containers where an engine answers."),
]
_CONFIG = Path("stoker.yaml")
_TROUBLE, _BAD_CONFIGURATION, _INTERRUPTED = 2, 78, 130  # 78: EX_CONFIG of sysexits.h


@app.command()
def up(
    config: Config = _CONFIG,
    runtime: Runtime = "auto",
    state_dir: StateDir = STATE_DIR,
    detach: Annotated[bool, typer.Option("--detach", help="Return once everything is ready.")] = False,
) -> None:
    """Start everything, and follow it until Ctrl-C stops it again."""
    from controller.stack.terminal import Terminal
    from controller.stack.up import UpOptions
    from controller.stack.up import up as start

    start(UpOptions(config, state_dir, runtime, detach), Terminal())


@app.command()
def down(state_dir: StateDir = STATE_DIR) -> None:
    """Stop everything, and leave no process or container behind."""
    from rich.console import Console

    from controller.installation import Layout
    from controller.stack.down import stop_everything
    from controller.stack.progress import Progress

    if not stop_everything(Layout(state_dir), Progress(Console())):
        typer.echo("Nothing runs.")


@app.command()
def apply(
    config: Config = _CONFIG,
    state_dir: StateDir = STATE_DIR,
    as_json: AsJson = False,
) -> None:
    """Take a changed configuration into what runs, without a stop: replicas are replaced one at a time."""
    from rich.console import Console

    from controller.stack.apply import ApplyOptions
    from controller.stack.apply import apply as take

    found = take(ApplyOptions(config, state_dir), Console(stderr=as_json))
    after_apply(state_dir, changed=bool(found))
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))


@app.command("controller")
def run_controller(
    state_dir: StateDir = STATE_DIR,
    standby: Annotated[
        bool, typer.Option("--standby", help="Beside one that leads: it takes over when that one ends.")
    ] = False,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="The port of its API.")] = None,
) -> None:
    """Run a controller of an installation in the foreground. One leads at a time; the others stand by."""
    from controller.installation import Layout
    from controller.stack.programs import become_controller

    become_controller(Layout(state_dir), standby=standby, port=port)


@app.command()
def status(
    state_dir: StateDir = STATE_DIR,
    as_json: AsJson = False,
) -> None:
    """Print the table of replicas once."""
    from controller.stack.status import look

    report = look(state_dir)
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        report.print()


@app.command()
def why(
    pool: Annotated[str, typer.Argument(help="The pool's name.")],
    at: Annotated[
        str | None, typer.Option(help="A time: 2026-01-05T12:00:00Z, 12:00, or 10m for ten minutes ago.")
    ] = None,
    state_dir: StateDir = STATE_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, which `stoker explain` reads.")] = False,
) -> None:
    """Say why a pool has, or had, the size that it has: each signal, each step, and what would have changed it."""
    from controller.stack.why import look

    found = look(state_dir, pool, at)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        found.print()


@app.command()
def explain(
    snapshot: Annotated[Path, typer.Option(help="What `stoker why POOL --json` printed.")],
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="SIGNAL=NUMBER", help="Another value of a signal; repeatable.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Evaluate with the policy that this configuration has for the pool.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a moment of the ledger once more: what if a signal, or the policy, had been another?"""
    from controller.stack.explain import Question, answer

    found = answer(Question(snapshot, tuple(changes or ()), config))
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        found.print()


@app.command("last-words")
def last_words(
    pool: Annotated[str | None, typer.Option(help="Only of this pool.")] = None,
    limit: Annotated[int, typer.Option(help="Of how many replicas.", min=1, max=200)] = 3,
    state_dir: StateDir = STATE_DIR,
    as_json: AsJson = False,
) -> None:
    """Print what the replicas that failed wrote last."""
    from controller.stack.last_words import look

    found = look(state_dir, pool, limit)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        found.print()


@app.command()
@taking(SimulateOptions)
def simulate(options: SimulateOptions) -> None:
    """Play a trace of requests under the pool's policy, and under others, without a single replica."""
    from controller.stack.simulate import simulate as play

    found = play(options)
    if options.as_json:
        typer.echo(json.dumps(found.as_json(), allow_nan=False))
    else:
        found.print()


@app.command()
@taking(CalibrateOptions)
def calibrate(options: CalibrateOptions) -> None:
    """Measure a running replica, and write an engine model for `stoker simulate`."""
    from controller.stack.calibrate import calibrate as measure

    found = measure(options)
    if options.as_json:
        typer.echo(json.dumps(found.as_json(), indent=2, allow_nan=False))
    else:
        found.print()


@app.command()
@taking(DrillOptions)
def drill(options: DrillOptions) -> None:
    """Hurt one replica, or one part, of what runs now under load, and hold what follows against the promise.

    Exit codes: 0 every promise was kept, 1 one was broken, 2 refused or trouble.
    """
    from controller.stack.drill.command import drill as hurt

    found = hurt(options)
    if options.as_json:
        typer.echo(json.dumps(found.as_json(), indent=2, allow_nan=False))
    else:
        found.print()
    raise typer.Exit(found.exit_code)


@app.command()
def check(config: Config = _CONFIG) -> None:
    """Check the configuration and start nothing."""
    from controller.settings import load

    settings = load(config)
    typer.echo(f"{config}: good, {len(settings.pools)} pools" if len(settings.pools) > 1 else f"{config}: good, 1 pool")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(installed_version("stoker"))


add_commands(app)


def main() -> None:
    """What the installed command calls. Anything unexpected is not caught: its traceback is what a report needs."""
    from controller.core.printable import printable
    from controller.settings import ConfigError
    from controller.stack.trouble import Trouble

    try:
        app()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(_BAD_CONFIGURATION)
    except Trouble as error:
        sentence = printable(str(error), keep="\n")  # it may be the API's, about what others wrote
        sys.stderr.write(f"stoker: {sentence}\n")
        sys.exit(_TROUBLE)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
