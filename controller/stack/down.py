"""Stops everything of an installation, however much of it still runs and whoever was killed before."""

from __future__ import annotations

from controller.installation import Layout
from controller.settings import ConfigError, load
from controller.stack import engine, leftovers, replicas, standby
from controller.stack.programs import STOP_ORDER
from controller.stack.progress import Progress
from controller.stack.standby import Says
from controller.stack.supervisor import Supervisor
from controller.stack.trouble import Trouble


def stop_everything(layout: Layout, progress: Progress) -> bool:
    """Stop the controller, then the replicas, then the rest; whether there was anything to stop.

    Idempotent. Blocks for at most about a minute. Requests in flight are cut off. Where a controller of another
    installation leads on the same database, the replicas are that one's and stay.

    Raises:
        Trouble: something would not go; the text names it, and all else was stopped.
    """
    if not anything_left(layout):
        return False
    faults: list[str] = []
    with progress.step("stopping"):
        supervisor = Supervisor(layout)
        supervised = supervisor.running()
        before = _first_words(layout)
        _stop_controllers(layout, supervisor, supervised=supervised)
        try:
            with standby.sole(layout, before) as leader:
                if leader is None:
                    replicas.remove_all(layout)
                else:
                    progress.say(f"The replicas stay: {leader}.")
            layout.installation.unlink(missing_ok=True)
        except Trouble as error:
            faults.append(str(error))
        if supervised:
            for name in STOP_ORDER:
                supervisor.stop_program(name)
            supervisor.shutdown()
        leftovers.end(leftovers.processes(layout))
        engine.forget_mounts(layout)
        faults += [f"{leftovers.describe(process)} still runs" for process in leftovers.processes(layout)]
    if faults:
        raise Trouble("not everything could be stopped: " + "; ".join(faults))
    return True


def anything_left(layout: Layout) -> bool:
    """Whether something of this installation runs, or containers of it may be left."""
    return layout.installation.exists() or bool(leftovers.processes(layout))


def _first_words(layout: Layout) -> Says:
    """What the controller says of itself while it still can."""
    try:
        return standby.ask(load(layout.config))
    except ConfigError:
        return Says.NOTHING


def _stop_controllers(layout: Layout, supervisor: Supervisor, *, supervised: bool) -> None:
    """First of all, as one would start anew what is removed under it; and one that stands by before the one that leads,
    as it would take the lead."""
    leading = {program.pid for program in supervisor.states()} if supervised else set()
    found = [one for one in leftovers.processes(layout) if leftovers.runs_module(one, "controller.main")]
    leftovers.end(one for one in found if one.pid not in leading)
    if supervised:
        supervisor.stop_program("controller")
