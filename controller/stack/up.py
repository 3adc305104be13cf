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

from controller.installation import Installation, Layout, PoolParts
from controller.settings import Settings, load
from controller.stack import api_client, checkpoints, engine, gateway, image, listening, prometheus, watch
from controller.stack.down import anything_left, stop_everything
from controller.stack.engine import Engine, NoEngine
from controller.stack.programs import environment, programs
from controller.stack.progress import Progress
from controller.stack.restarts import Restarts
from controller.stack.single import interruptible, only_one, undisturbed
from controller.stack.supervisor import Supervisor, require_short_path
from controller.stack.trouble import Trouble

RuntimeChoice = Literal["auto", "docker", "process"]
# Beyond the cold start of the replicas: the controller's own start and its first ticks.
_MARGIN_S = 30.0


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
    engine: Engine | None  # None: replicas are local processes
    checkpoints: Mapping[str, Path]  # by pool


def _find_out(run: _Run, options: UpOptions) -> _Found:
    """Everything that can be refused is refused here, before anything runs."""
    if run.supervisor.running():
        raise Trouble(f"already running with the state directory {run.layout.root}; `stoker down` stops it")
    if anything_left(run.layout):
        run.progress.say("An earlier run was cut off: stopping what it left.")
        stop_everything(run.layout, run.progress)
    listening.require_free(run.settings)
    found = {pool.name: checkpoints.locate(pool, options.config) for pool in run.settings.pools}
    return _Found(_choose_runtime(run, options.runtime), found)


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
    layout, own = run.layout, found.engine is not None and found.engine.own
    every = programs(run.settings, layout, own_engine=own)
    gateway.prepare(run.settings, layout)
    prometheus.prepare(run.settings, layout)
    run.supervisor.start(every, environment(layout, os.environ))
    if own:
        with run.progress.step("starting a dockerd of our own"):
            engine.start_own(layout, run.supervisor)
    _install(run, options, found)
    with run.progress.step("starting nginx, Prometheus, the edge exporter and the controller"):
        run.supervisor.start_programs([program.name for program in every if program.name != "dockerd"])


def _install(run: _Run, options: UpOptions, found: _Found) -> None:
    """Write down what the controller is to work with."""
    layout = run.layout
    tag = "" if found.engine is None else image.ensure(found.engine.host, layout.root / "cache", run.progress)
    staged = {pool: checkpoints.stage(path, layout.checkpoints) for pool, path in found.checkpoints.items()}
    checkpoints.forget_others(layout.checkpoints, staged.values())
    Installation(
        runtime="process" if found.engine is None else "docker",
        docker_host=None if found.engine is None else found.engine.host,
        pools={pool: PoolParts(image=tag, checkpoint=str(path)) for pool, path in staged.items()},
    ).save(layout)
    shutil.copyfile(options.config, layout.config)


def _serve(run: _Run, *, detach: bool) -> None:
    patience_s = _MARGIN_S + max(pool.health.cold_start_deadline.total_seconds() for pool in run.settings.pools)
    with watch.screen(run.console) as shown:
        ready = watch.until_ready(run.settings, shown, Restarts(run.supervisor), patience_s)
        if detach and not ready:
            raise Trouble(f"not ready after {patience_s:.0f} s, so everything is stopped; see {run.layout.logs}")
        _say_where(run, ready=ready)
        if detach:
            return
        run.progress.say("Ctrl-C stops it.")
        with contextlib.suppress(KeyboardInterrupt):
            watch.while_true(run.supervisor.running, run.settings, shown)
    _stop(run)


def _say_where(run: _Run, *, ready: bool) -> None:
    ports, host = run.settings.ports, run.settings.gateway.host
    run.progress.say("Serving." if ready else "Not every pool is ready yet; the table tells which.")
    run.progress.say(f"  gateway     http://{f'[{host}]' if ':' in host else host}:{ports.gateway}/v1")
    run.progress.say(f"  dashboard   {api_client.url(run.settings)}")
    run.progress.say(f"  Prometheus  http://{run.settings.controller.host}:{ports.prometheus}")


def _stop(run: _Run) -> None:
    """After a signal; or the supervisor is gone, because of `stoker down` or because somebody killed it."""
    supervised = run.supervisor.running()
    with undisturbed():
        anything = stop_everything(run.layout, run.progress)
    if not supervised and anything:
        raise Trouble("the process supervisor was killed, so everything else was stopped, too")
    run.progress.say("Stopped.")
