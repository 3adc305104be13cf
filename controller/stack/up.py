"""`stoker up`: finds out what it needs before it starts anything, and stops what it started when one step fails."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from controller.installation import LOCAL, Installation, Layout, NodeParts, api_token
from controller.settings import Settings, load
from controller.stack import (
    alarm_parts,
    alertmanager,
    api_client,
    binding,
    checkpoints,
    engine,
    gateway,
    hot_cache,
    image,
    listening,
    preparing,
    prometheus,
    standby,
    users_first,
    watch,
)
from controller.stack.down import anything_left, stop_everything
from controller.stack.engine import Engine, NoEngine
from controller.stack.programs import environment, programs
from controller.stack.progress import Progress
from controller.stack.restarts import Restarts
from controller.stack.single import interruptible, only_one, undisturbed
from controller.stack.standby import Says
from controller.stack.supervisor import Supervisor, require_short_path
from controller.stack.trouble import Trouble
from controller.stack.waiting import wait_until

RuntimeChoice = Literal["auto", "docker", "process"]
# Beyond the cold start of the replicas: the controller's own start and its first ticks.
_MARGIN_S = 30.0
_LEASE_MARGIN_S = 5.0  # beyond a lease's time: whoever stands by tries about once a second


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What the command line said."""

    config: Path
    state_dir: Path
    runtime: RuntimeChoice = "auto"
    detach: bool = False


@dataclass(frozen=True, slots=True)
class _Run:
    settings: Settings
    layout: Layout
    progress: Progress
    console: Console
    supervisor: Supervisor


def up(options: UpOptions, console: Console) -> None:
    """Start everything and wait until every pool has its floor of ready replicas.

    With `detach` it returns then; without, it follows what happens until SIGINT, SIGTERM or SIGHUP, and stops
    everything. Whatever is raised, nothing of this installation runs any more.

    Raises:
        ConfigError: the configuration is refused; nothing was started.
        Trouble: something is missing, taken or broken.
        KeyboardInterrupt: a signal came before all was up.
    """
    # nginx's workers and the engines in containers are other users than root, and must read what is written here.
    os.umask(0o022)
    settings = load(options.config)
    layout = Layout(options.state_dir)
    run = _Run(settings, layout, Progress(console), console, Supervisor(layout))
    require_short_path(layout)
    with only_one(layout), interruptible():
        found = _find_out(run, options)
        try:
            _start(run, options, found)
            _serve(run, detach=options.detach)
        except BaseException:  # a signal, too, must leave nothing behind
            with undisturbed():
                stop_everything(layout, run.progress)
            raise


@dataclass(frozen=True, slots=True)
class _Found:
    nodes: tuple[NodeParts, ...]  # none: replicas are local processes
    own_engine: bool  # of the one node, and the supervisor keeps it up
    checkpoints: Mapping[str, Path]  # by pool


def _find_out(run: _Run, options: UpOptions) -> _Found:
    """Everything that can be refused is refused here, before anything runs."""
    if run.supervisor.running():
        raise Trouble(f"already running with the state directory {run.layout.root}; `stoker down` stops it")
    if anything_left(run.layout):
        run.progress.say("An earlier run was cut off: stopping what it left.")
        stop_everything(run.layout, run.progress)
    listening.require_free(run.settings)
    if run.settings.controller.database != "sqlite":
        run.settings.controller.database_url()
    binding.prepare(run.settings, run.layout)
    hot_cache.require(run.settings)
    alertmanager.require(run.settings)
    alarm_parts.require(run.settings)
    found = preparing.locate_all(run.settings, options.config)
    named = preparing.nodes_of(run.settings)
    if named:
        _require_nodes(named, options.runtime)
        return _Found(named, own_engine=False, checkpoints=found)
    taken = _choose_runtime(run, options.runtime)
    local = () if taken is None else (NodeParts(name=LOCAL, docker_host=taken.host),)
    return _Found(local, own_engine=taken is not None and taken.own, checkpoints=found)


def _require_nodes(nodes: tuple[NodeParts, ...], wanted: RuntimeChoice) -> None:
    if wanted == "process":
        raise Trouble("nodes are machines with a Docker engine; take them out of the file, or leave --runtime out")
    engine.require_all(nodes)


def _choose_runtime(run: _Run, wanted: RuntimeChoice) -> Engine | None:
    if wanted != "process":
        found = engine.find(run.layout, run.progress)
        if isinstance(found, Engine):
            return found
        _no_engine(run, found, wanted)
    if importlib.util.find_spec("xllamacpp") is None:
        raise Trouble("the engine (the Python package xllamacpp) is not installed; `make up` installs it")
    return None


def _no_engine(run: _Run, found: NoEngine, wanted: RuntimeChoice) -> None:
    if wanted == "docker":
        raise Trouble(f"{found.why}; or run `stoker up --runtime process`, which needs none")
    run.progress.say(f"Replicas run as local processes: {found.why}.")


def _start(run: _Run, options: UpOptions, found: _Found) -> None:
    layout = run.layout
    every = programs(run.settings, layout, own_engine=found.own_engine)
    gateway.prepare(run.settings, layout)
    prometheus.prepare(run.settings, layout)
    alertmanager.prepare(run.settings, layout)
    run.supervisor.start(every, environment(layout, os.environ))
    if found.own_engine:
        with run.progress.step("starting a dockerd of our own"):
            engine.start_own(layout, run.supervisor)
    _install(run, options, found)
    with run.progress.step("starting nginx, Prometheus, Alertmanager, the exporters and the controller"):
        run.supervisor.start_programs([program.name for program in every if program.name != "dockerd"])


def _install(run: _Run, options: UpOptions, found: _Found) -> None:
    """Write down what the controller is to work with."""
    layout, nodes = run.layout, found.nodes
    built = image.ensure_on_all(nodes, layout.root / "cache", run.progress) if nodes else image.Built("", "")
    parts = preparing.pool_parts(found.checkpoints, layout, nodes, built.tag)
    checkpoints.forget_others(layout.checkpoints, [Path(part.checkpoint) for part in parts.values()])
    named = bool(run.settings.nodes)
    Installation(
        runtime="docker" if nodes else "process",
        docker_host=nodes[0].docker_host if nodes and not named else None,
        nodes=nodes if named else (),
        pools=parts,
        instance=run.settings.controller.instance or "",
        image_base=built.base_id,
    ).save(layout)
    api_token(layout)
    shutil.copyfile(options.config, layout.config)


def _serve(run: _Run, *, detach: bool) -> None:
    patience_s = _MARGIN_S + max(pool.health.cold_start_deadline.total_seconds() for pool in run.settings.pools)
    with watch.screen(run.console) as shown:
        stands_by = _stands_by(run)
        ready = not stands_by and watch.until_ready(
            run.settings, api_token(run.layout), shown, Restarts(run.supervisor), patience_s
        )
        if detach and not (ready or stands_by):
            raise Trouble(f"not ready after {patience_s:.0f} s, so everything is stopped; see {run.layout.logs}")
        _say_where(run, ready=ready, stands_by=stands_by)
        if detach:
            return
        run.progress.say("Ctrl-C stops it.")
        with contextlib.suppress(KeyboardInterrupt):
            watch.while_true(run.supervisor.running, run.settings, api_token(run.layout), shown)
    _stop(run)


def _stands_by(run: _Run) -> bool:
    """Whether another controller leads on the same database, and goes on leading: what a killed one left runs out."""
    controller = run.settings.controller
    if controller.database == "sqlite":
        return False
    decided = (Says.TICKS, Says.STANDS_BY)
    wait_until(lambda: standby.ask(run.settings) in decided, _MARGIN_S)
    if standby.ask(run.settings) is not Says.STANDS_BY:
        return False
    until_s = controller.lease_ttl.total_seconds() + _LEASE_MARGIN_S
    return not wait_until(lambda: standby.ask(run.settings) is not Says.STANDS_BY, until_s)


def _say_where(run: _Run, *, ready: bool, stands_by: bool) -> None:
    ports, host = run.settings.ports, run.settings.gateway.host
    if stands_by:
        run.progress.say("Another controller leads on this database: this one stands by, and its gateway serves then.")
    else:
        run.progress.say("Serving." if ready else "Not every pool is ready yet; the table tells which.")
    run.progress.say(f"  gateway     http://{f'[{host}]' if ':' in host else host}:{ports.gateway}/v1")
    run.progress.say(f"  dashboard   {api_client.dashboard(run.settings)}")
    if not stands_by:
        for line in users_first.lines(run.settings, api_token(run.layout)):
            run.progress.say(line)
    run.progress.say(f"  Prometheus  http://{run.settings.controller.monitoring_reach}:{ports.prometheus}")
    if run.settings.alerting.enabled:
        run.progress.say(f"  alerts      http://{run.settings.controller.monitoring_reach}:{ports.alertmanager}")


def _stop(run: _Run) -> None:
    """After a signal; or the supervisor is gone, because of `stoker down` or because somebody killed it."""
    supervised = run.supervisor.running()
    with undisturbed():
        anything = stop_everything(run.layout, run.progress)
    if not supervised and anything:
        raise Trouble("the process supervisor was killed, so everything else was stopped, too")
    run.progress.say("Stopped.")
