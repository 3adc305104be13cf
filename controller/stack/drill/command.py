"""`stoker drill`: finds out what runs, refuses what users would notice, drills, and hands over what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.console import Console

from controller.adapters.docker_faults import DockerFaults, FaultRefused
from controller.api.reasons import LONGEST
from controller.installation import Installation, Layout, NodeParts
from controller.settings import PoolSettings, Settings, load
from controller.stack import api_client
from controller.stack.api_token import token_of
from controller.stack.drill import measure, owed, promise, quiet, refusal
from controller.stack.drill.catalogue import INJURIES
from controller.stack.drill.engines import Engines, Separately
from controller.stack.drill.facts import Fault
from controller.stack.drill.injury import Ground, NotHere, Replicas
from controller.stack.drill.options import DrillOptions
from controller.stack.drill.owed import Restorable
from controller.stack.drill.processes import ProcessReplicas
from controller.stack.drill.promise import Pace
from controller.stack.drill.refusal import Pool
from controller.stack.drill.result import Drill, Outcome
from controller.stack.drill.run import Site, run
from controller.stack.drill.telling import Teller, Telling
from controller.stack.engine import own_host
from controller.stack.pool_choice import choose_pool
from controller.stack.progress import Progress
from controller.stack.single import interruptible, locked, postponed
from controller.stack.supervisor import Supervisor
from controller.stack.trouble import Trouble
from controller.stack.writing import outlet

_PASSED, _BROKEN, _TROUBLE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Drilled:
    """All faults of one call, in their order."""

    pool: str
    runtime: str
    clients: int
    drills: tuple[Drill, ...]

    @property
    def exit_code(self) -> int:
        """0: every promise was kept; 1: one was broken; 2: none broken, but something was refused or did not work."""
        outcomes = {drill.outcome for drill in self.drills}
        if Outcome.FAILED in outcomes:
            return _BROKEN
        return _TROUBLE if Outcome.REFUSED in outcomes else _PASSED

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "pool": self.pool,
            "runtime": self.runtime,
            "load": self.clients,
            "passed": self.exit_code == _PASSED,
            "drills": [drill.as_dict() for drill in self.drills],
        }

    def print(self) -> None:
        """Figures, timeline and verdict."""
        from controller.stack.drill import view

        view.show(self.pool, self.drills)


def drill(options: DrillOptions) -> Drilled:
    """Drill what runs. Says on stderr what it does. What it did is undone when this returns or raises.

    Raises:
        Trouble: nothing runs, users would notice, it cannot be done here, or it did not work.
        ConfigError: the running stack's configuration is refused.
    """
    if options.every and options.fault is not None:
        raise Trouble("--all is every fault; leave --fault out, or --all")
    if len(options.why) > LONGEST:  # the controller would be told nothing of it
        raise Trouble(f"--why has {len(options.why)} characters; give {LONGEST} or less")
    layout = Layout(options.state_dir)
    if not layout.config.exists() or not layout.installation.exists():
        raise Trouble(f"nothing runs with the state directory {layout.root}; `stoker up` starts it")
    settings, installation = load(layout.config), Installation.load(layout)
    pool = choose_pool(settings, options.pool)
    with ExitStack() as opened:
        opened.enter_context(alone(layout))
        chart = opened.enter_context(outlet(options.chart) if options.chart else nullcontext())
        opened.enter_context(interruptible())
        teller, progress = Teller(settings, layout, options, pool.name), Progress(Console(stderr=True))
        _mend(layout, installation, teller, progress)
        site = site_of(settings, installation, layout, pool, options.load)
        opened.callback(site.ground.replicas.close)
        faults = tuple(Fault) if options.every else (options.fault or Fault.KILL,)
        drills = Session(site, options, progress, teller).run(faults)
        found = Drilled(pool.name, installation.runtime, options.load, drills)
        if chart is not None:
            from controller.stack.drill import chart as drawing

            chart.put(drawing.svg(pool.name, drills))
    return found


@dataclass(frozen=True, slots=True)
class Session:
    """The faults of one call."""

    site: Site
    options: DrillOptions
    progress: Progress
    teller: Teller

    def run(self, faults: Sequence[Fault]) -> tuple[Drill, ...]:
        """One after the other. A single one that is refused or cannot be done is trouble; of many it is a line."""
        if len(faults) == 1:
            return (self._one(faults[0], faults[0].value),)
        done: list[Drill] = []
        for place, fault in enumerate(faults, start=1):
            done.append(self._among(fault, f"{place} of {len(faults)}: {fault.value}"))
        return tuple(done)

    def _among(self, fault: Fault, title: str) -> Drill:
        try:
            INJURIES[fault](self.site.ground).require()
            with self.progress.step(f"{title}: waiting until {self.site.ground.pool} is whole and quiet"):
                quiet.wait(self.site.settings, self.site.token, self.site.ground.pool, self.site.pace.cold_start_s)
            return self._one(fault, title)
        except NotHere as error:
            self.progress.say(f"{title}: not here: {error}")
            return Drill(fault, Outcome.NOT_HERE, str(error))
        except Trouble as error:
            self.progress.say(f"{title}: {error}")
            return Drill(fault, Outcome.REFUSED, str(error))

    def _one(self, fault: Fault, title: str) -> Drill:
        with self.teller.told(fault) as telling:
            return telling.end(self._do(fault, title, telling))

    def _do(self, fault: Fault, title: str, telling: Telling) -> Drill:
        site = self.site
        injury = INJURIES[fault](site.ground)
        injury.require()
        seen = api_client.look(site.settings, site.token)
        if seen is None:
            raise Trouble(
                f"the controller does not answer at {api_client.url(site.settings)}; `stoker status` says why"
            )
        why = refusal.refusal(Pool.of(site.ground.pool, seen.pools, seen.replicas), site.clients, injury.hits)
        if why is not None and not self.options.force:
            raise Trouble(why)
        telling.begin()
        try:
            with self.progress.step(title) as say:
                recording = run(site, fault, telling.saying(say))
        except FaultRefused as error:
            raise Trouble(f"{fault.value} could not be done: {error}") from error
        measured = measure.measure(recording)
        return Drill.judged(recording, measured, promise.judge(fault, site.pace, measured))


def _mend(layout: Layout, installation: Installation, teller: Teller, progress: Progress) -> None:
    """Undo what a drill left that was killed. Raises `Trouble` where that cannot be: it would be measured, too."""
    with postponed():
        found = owed.mend(layout.root, lambda pool: restorable_of(installation, layout))
    if found is None:
        return
    name = f"the drill {found.drill}" if found.drill else "a drill"
    if found.left:
        raise Trouble(f"{name} was killed, and what it did is there still; {found}")
    progress.say(f"{name} was killed; {found}")
    teller.killed(found.drill, f"its process was killed; {found}")


def site_of(settings: Settings, installation: Installation, layout: Layout, pool: PoolSettings, clients: int) -> Site:
    """Where a drill of that pool takes place. Raises `Trouble` where an engine does not answer."""
    health, token = pool.policy(settings.controller.scrape_interval).health, token_of(layout)
    ground = Ground(
        layout=layout,
        supervisor=Supervisor(layout),
        replicas=replicas_of(installation, layout, pool.name),
        pool=pool.name,
        containers=installation.runtime == "docker",
        own_engine=installation.docker_host == own_host(layout),
        nodes=max(len(installation.engines), 1),
    )
    pace = Pace.of(health, settings.gateway.reload_interval.total_seconds())
    return Site(settings, ground, pool.model, clients, pace, token=token)


def replicas_of(installation: Installation, layout: Layout, pool: str) -> Replicas:
    """Those of that pool. Raises `Trouble` where an engine does not answer."""
    if installation.runtime == "process":
        return ProcessReplicas(layout.replicas)
    instance = installation.instance_in(layout)
    hosts = [node.docker_host for node in installation.engines]
    with ExitStack() as opened:
        engines = [opened.enter_context(closing(_engine(node, instance))) for node in installation.engines]
        opened.pop_all()  # all of them answer
    return Engines(engines, pool, hosts)


def restorable_of(installation: Installation, layout: Layout) -> Restorable:
    """Those of all pools, for whoever undoes what others did."""
    if installation.runtime == "process":
        return ProcessReplicas(layout.replicas)
    instance = installation.instance_in(layout)
    return Separately([partial(_engine, node, instance) for node in installation.engines])


def _engine(node: NodeParts, instance: str) -> DockerFaults:
    tls = (node.tls.ca, node.tls.cert, node.tls.key) if node.tls else None
    try:
        return DockerFaults(node.docker_host, instance, tls)
    except FaultRefused as error:
        raise Trouble(f"{error}; start the engine at {node.docker_host}") from error


@contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """Two drills at once would measure each other. The kernel lets go of the lock however we end."""
    busy = f"another drill runs with the state directory {layout.root}; wait for its end"
    with locked(layout.root / "drill.lock", busy):
        yield
