"""`stoker apply`: takes a changed configuration into what runs. Only the controller is started anew.

Requests go on all the while: nginx and the replicas know nothing of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from controller.installation import Installation, Layout, NodeParts, replace_text
from controller.settings import ConfigError, Settings, load
from controller.stack import alarm_parts, binding, engine, image, preparing, standby
from controller.stack.differences import Difference, InForce, beyond_the_controller, compare
from controller.stack.progress import Progress
from controller.stack.replicas import running_on
from controller.stack.restarts import Restarts
from controller.stack.single import interruptible, locked, undisturbed
from controller.stack.standby import Says
from controller.stack.supervisor import Supervisor
from controller.stack.trouble import Trouble
from controller.stack.waiting import wait_until

_PATIENCE_S = 60.0  # for the first tick of the controller: its start, and a look at nodes that may be silent
_AGAIN = "`stoker down` and `stoker up` take it in"


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """What the command line said."""

    config: Path
    state_dir: Path


@dataclass(frozen=True, slots=True)
class _Run:
    layout: Layout
    supervisor: Supervisor
    progress: Progress


def apply(options: ApplyOptions, console: Console) -> Difference:
    """Make the file what runs, and return what that changes once the controller ticks with it.

    Raises:
        ConfigError: the file is refused; nothing was changed.
        Trouble: nothing runs, or the change needs more than the controller; nothing was changed. Or the controller
            does not come up with it: the previous configuration is in force again.
        KeyboardInterrupt: a signal came; the previous configuration is in force.
    """
    os.umask(0o022)  # the engines in containers are other users than root, and must read what is staged here
    settings = load(options.config)
    layout = Layout(options.state_dir)
    run = _Run(layout, Supervisor(layout), Progress(console))
    with _only_one(layout), interruptible():
        old = _in_force(run)
        _refuse(run, old, settings)
        new = InForce(settings, _found_out(run, old, settings, options.config))
        difference = compare(old, new)
        for line in difference.lines() or ["Nothing changes."]:
            run.progress.say(line)
        if difference:
            _take(run, old, new, options.config.read_text(encoding="utf-8"))
        return difference


@contextmanager
def _only_one(layout: Layout) -> Iterator[None]:
    """One `stoker apply` at a time; `stoker up` in the foreground has the other lock for as long as it runs."""
    if not layout.root.is_dir():
        raise _nothing_runs(layout)
    with locked(layout.root / "apply.lock", f"another `stoker apply` uses the state directory {layout.root}"):
        yield


def _nothing_runs(layout: Layout) -> Trouble:
    return Trouble(f"nothing runs with the state directory {layout.root}; `stoker up` starts it")


def _in_force(run: _Run) -> InForce:
    if not run.supervisor.running():
        raise _nothing_runs(run.layout)
    try:
        return InForce(load(run.layout.config), Installation.load(run.layout))
    except FileNotFoundError as error:
        raise _nothing_runs(run.layout) from error
    except ConfigError as error:
        raise Trouble(f"what runs is of another version of Stoker ({error}); {_AGAIN}") from error


def _refuse(run: _Run, old: InForce, settings: Settings) -> None:
    """Raises `Trouble` with a line for each thing that more than the controller would have to be started anew for, and
    `ConfigError` for a secret that cannot be read."""
    alarm_parts.require(settings)
    binding.require_somebody(settings, run.layout)
    if settings.controller.oidc is not None:
        settings.controller.oidc.secret()
    faults = beyond_the_controller(old.settings, settings)
    if faults:
        raise Trouble("\n".join(faults))
    faults = _node_faults(old.installation, preparing.nodes_of(settings), run.layout)
    if faults:
        raise Trouble("\n".join(faults))
    alone = settings.controller.database == "sqlite"
    if alone and standby.ask(old.settings) is Says.STANDS_BY:
        raise Trouble("the controller under the supervisor stands by; end the one that leads, and apply again")


def _node_faults(old: Installation, nodes: tuple[NodeParts, ...], layout: Layout) -> list[str]:
    if not (nodes or old.nodes):
        return []
    if not nodes:
        return [f"nodes: none is named any more, so that the engine of this machine would have to be found; {_AGAIN}"]
    if old.runtime == "process":
        return [f"nodes: replicas run as local processes here; {_AGAIN}"]
    places = {node.name: _place(node) for node in nodes}
    leaving = [node for node in old.engines if places.get(node.name) != _place(node)]
    engine.require_all([node for node in nodes if node.name not in {known.name for known in old.engines}])
    return [fault for node in leaving if (fault := _stays(node, old.instance_in(layout)))]


def _place(node: NodeParts) -> tuple[str, str | None]:
    return node.docker_host, node.address


def _stays(node: NodeParts, instance: str) -> str | None:
    """Why a node cannot leave, or go to another address, just now."""
    count = running_on(node, instance)
    if count is None:
        return f"node {node.name}: its engine does not answer, so nobody knows whether replicas run there; {_AGAIN}"
    if count:
        return f"node {node.name}: replicas are on it ({count}); drain it first, or {_AGAIN}"
    return None


def _found_out(run: _Run, old: InForce, settings: Settings, config: Path) -> Installation:
    """The image on every node that answers, the checkpoints in place; of the same `stoker up` as before."""
    before, named = old.installation, preparing.nodes_of(settings)
    found = preparing.locate_all(settings, config)
    nodes = named or before.engines
    built = image.Built("", "")
    if nodes:
        answering = engine.answering(nodes)
        if not answering:
            raise Trouble("no node's Docker engine answers; start one")
        built = image.ensure_on_all(answering, run.layout.root / "cache", run.progress, before.image_base)
        for node in nodes:
            if node not in answering:
                run.progress.say(
                    f"Node {node.name} does not answer and may lack {built.tag}; apply again once it does."
                )
    parts = preparing.pool_parts(found, run.layout, nodes, built.tag)
    host = None if named else before.docker_host
    changed = {"nodes": named, "docker_host": host, "pools": parts, "image_base": built.base_id}
    return before.model_copy(update=changed)


def _take(run: _Run, old: InForce, new: InForce, text: str) -> None:
    """Put the new files in place and start the controller anew; the old ones come back where that fails."""
    layout = run.layout
    old_text = layout.config.read_text(encoding="utf-8")
    try:
        replace_text(layout.previous_installation, layout.installation.read_text(encoding="utf-8"))
        replace_text(layout.previous_config, old_text)
        # The configuration last: until it is there the old one is in force, with all that it needs.
        kept = new.installation.model_copy(update={"pools": {**old.installation.pools, **new.installation.pools}})
        kept.save(layout)
        replace_text(layout.config, text)
        with run.progress.step("starting the controller anew"):
            _restart(run, new.settings)
    except (Trouble, OSError) as error:
        with undisturbed():
            raise Trouble(f"{error}; {_put_back(run, old, old_text)}") from error
    except BaseException:  # a signal, too, must not leave half of it in force
        with undisturbed():
            run.progress.say(f"Interrupted: {_put_back(run, old, old_text)}.")
        raise


def _put_back(run: _Run, old: InForce, text: str) -> str:
    """What became of the previous configuration, as the end of a sentence."""
    try:
        replace_text(run.layout.config, text)
        old.installation.save(run.layout)
        _restart(run, old.settings)
    except (Trouble, OSError) as error:
        return f"and with the previous configuration, which is in place again, neither: {error}"
    return "the previous configuration is in force again"


def _restart(run: _Run, settings: Settings) -> None:
    """Stop the controller, start it, and wait until a tick has ended, or until it stands by for another one.

    Raises:
        Trouble: neither happens; the last line of its log is in the text.
    """
    run.supervisor.stop_program("controller")
    run.supervisor.start_programs(["controller"])
    restarts = Restarts(run.supervisor)

    def up() -> bool:
        restarts.look()
        return standby.ask(settings) in (Says.TICKS, Says.STANDS_BY)

    if not wait_until(up, _PATIENCE_S):
        words = run.supervisor.last_words("controller")
        raise Trouble(f"no tick of the controller has ended within {_PATIENCE_S:.0f} s: {words}")
