"""`stoker pause|resume|bounds` and `stoker drills`. What a command needs is imported when it runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from controller.stack.common_options import STATE_DIR, AsJson, StateDir
from controller.stack.options import taking

if TYPE_CHECKING:
    from controller.stack.drill_requests import DrillRows
    from controller.stack.override_requests import Overridden

Pool = Annotated[str, typer.Argument(help="The pool's name.")]
Why = Annotated[str, typer.Option(help="For the ledger; the controller wants one.")]
PerhapsWhy = Annotated[str, typer.Option(help="For the ledger.")]
Count = Annotated[int | None, typer.Option(min=0, help="Replicas.")]


def add_overrides(app: typer.Typer) -> None:
    """Make them commands of `app`."""
    for command in (pause, resume, bounds, drills):
        app.command()(command)


def pause(
    pool: Pool,
    why: Why,
    span: Annotated[str, typer.Option("--for", help="It ends by itself then: 90s, 30m, 1h, 2d.")] = "",
    state_dir: StateDir = STATE_DIR,
    as_json: AsJson = False,
) -> None:
    """Keep a pool's count as it is. Failed replicas are still replaced."""
    from controller.stack.key_requests import seconds
    from controller.stack.override_requests import PoolClient

    _require(why)
    for_s = seconds("--for", span) if span else None
    _say(PoolClient(state_dir, pool).pause(why, for_s), as_json)


def resume(pool: Pool, why: PerhapsWhy = "", state_dir: StateDir = STATE_DIR, as_json: AsJson = False) -> None:
    """End a pool's pause."""
    from controller.stack.override_requests import PoolClient

    _say(PoolClient(state_dir, pool).resume(why), as_json)


@dataclass(frozen=True, slots=True)
class BoundsOptions:
    """As given."""

    pool: Pool
    floor: Count = None
    ceiling: Count = None
    clear: Annotated[bool, typer.Option("--clear", help="Those of the configuration again.")] = False
    why: Why = ""
    state_dir: StateDir = STATE_DIR
    as_json: AsJson = False


@taking(BoundsOptions)
def bounds(options: BoundsOptions) -> None:
    """Give a pool other bounds than those of its configuration, until they are cleared."""
    from controller.stack.override_requests import PoolClient
    from controller.stack.trouble import Trouble

    floor, ceiling, why = options.floor, options.ceiling, options.why
    client = PoolClient(options.state_dir, options.pool)
    if options.clear and floor is None and ceiling is None:
        _say(client.clear(why), options.as_json)
    elif options.clear or floor is None or ceiling is None:
        raise Trouble("`stoker bounds` is given --floor N and --ceiling M, or --clear")
    else:
        _require(why)
        _say(client.bound(floor, ceiling, why), options.as_json)


def drills(
    drill: Annotated[str | None, typer.Argument(help="The id of one.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="End it; it undoes what it did.")] = False,
    why: PerhapsWhy = "",
    state_dir: StateDir = STATE_DIR,
    as_json: AsJson = False,
) -> None:
    """Print the drills that run and that ran, or one of them with its result."""
    from controller.stack.drill_requests import look, stop_drill
    from controller.stack.trouble import Trouble

    if stop and drill is None:
        raise Trouble("`stoker drills --stop` is given the id of a drill")
    _say(stop_drill(state_dir, drill, why) if stop and drill else look(state_dir, drill), as_json)


def _require(why: str) -> None:
    from controller.stack.trouble import Trouble

    if not why.strip():
        raise Trouble("give --why: whoever finds it otherwise than in the configuration wants to know")


def _say(found: Overridden | DrillRows, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        found.print()
