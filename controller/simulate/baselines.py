"""The autoscalers that can be compared, by name."""

from __future__ import annotations

from controller.simulate.errors import SimulateError
from controller.simulate.peers_kubernetes import Bounds, Hpa, Kpa
from controller.simulate.peers_serving import Dstack, Ray, SkyServe, Static
from controller.simulate.scaler import Counted, CountPolicy, Scaler
from controller.simulate.setup import Setup
from controller.simulate.stoker import Stoker
from controller.simulate.traces import Workload

NAMES = ("stoker", "static", "hpa", "kpa", "ray", "skyserve", "dstack")
_MOST_STATIC = 10_000


def scaler(name: str, setup: Setup, trace: Workload) -> Scaler:
    """A new autoscaler of that name: one of `NAMES`, or `static:N` for N replicas (`static` has the ceiling).

    All have the floor, the ceiling and the target in flight of the setup's policy, and begin with the floor. The peers'
    floor is at least 1: the gateway keeps no request while nothing serves, and most of them count on one that does.

    Raises:
        SimulateError: there is none of that name.
    """
    if name == "stoker":
        return Stoker(setup)
    kind, _, count = name.partition(":")
    if kind == "static":
        replicas = _static(name, count) if count or ":" in name else setup.policy.ceiling
        return Counted(Static(replicas), replicas)
    if kind not in NAMES or count:
        raise SimulateError(f"there is no autoscaler {name!r}; choose among {', '.join(NAMES)} and static:N")
    bounds = Bounds(max(setup.policy.floor, 1), setup.policy.ceiling, setup.policy.in_flight.target)
    return Counted(_peer(kind, bounds, setup, trace), bounds.floor)


def target_rps(setup: Setup, trace: Workload) -> float:
    """Requests per second for each replica: what one sustains of the trace's mean request, at the target utilisation.

    Only for the peers that know requests per second alone; the others need no such number.
    """
    capacity = setup.engine.capacity_rps(trace.mean_prompt_tokens, trace.mean_output_tokens)
    return capacity * setup.policy.utilization.target


def _peer(kind: str, bounds: Bounds, setup: Setup, trace: Workload) -> CountPolicy:
    match kind:
        case "hpa":
            return Hpa(bounds)
        case "kpa":
            return Kpa(bounds)
        case "ray":
            return Ray(bounds)
        case "skyserve":
            return SkyServe(bounds, target_rps(setup, trace))
        case _:
            return Dstack(bounds, target_rps(setup, trace))


def _static(name: str, count: str) -> int:
    if not count.isdecimal() or not 1 <= len(count) <= 5 or not 1 <= int(count) <= _MOST_STATIC:
        raise SimulateError(f"{name!r} names no number of replicas; write static:N with N from 1 to {_MOST_STATIC}")
    return int(count)
