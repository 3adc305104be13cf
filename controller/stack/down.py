"""Stops everything of an installation, however much of it still runs and whoever was killed before."""

from __future__ import annotations

from controller.installation import Layout
from controller.stack import engine, leftovers, replicas
from controller.stack.programs import STOP_ORDER
from controller.stack.progress import Progress
from controller.stack.supervisor import Supervisor
from controller.stack.trouble import Trouble


def stop_everything(layout: Layout, progress: Progress) -> bool:
    """Stop the controller, then the replicas, then the rest; whether there was anything to stop.

    Idempotent. Blocks for at most about a minute. Requests in flight are cut off.

    Raises:
        Trouble: something would not go; the text names it, and all else was stopped.
    """
    if not anything_left(layout):
        return False
    faults: list[str] = []
    with progress.step("stopping"):
        supervisor = Supervisor(layout)
        supervised = supervisor.running()
        _stop_controller(layout, supervisor, supervised=supervised)
        try:
            replicas.remove_all(layout)
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


def _stop_controller(layout: Layout, supervisor: Supervisor, *, supervised: bool) -> None:
    """First of all, as it would start anew what is removed under it."""
    if supervised:
        supervisor.stop_program("controller")
    else:
        found = leftovers.processes(layout)
        leftovers.end([process for process in found if leftovers.runs_module(process, "controller.main")])
