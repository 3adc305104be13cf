"""One trace under several autoscalers, Stoker first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller.simulate import baselines
from controller.simulate.changes import Changes
from controller.simulate.metrics import SCRAPE_S
from controller.simulate.runner import Progress, run
from controller.simulate.scaler import Scaler
from controller.simulate.score import Result
from controller.simulate.setup import Setup
from controller.simulate.stoker import Stoker
from controller.simulate.traces import Workload

STOKER, SHADOW, CHANGED = "stoker", "shadow", "changed"
Watch = Callable[[str], Progress]  # called with a policy's name before its run


@dataclass(frozen=True, slots=True)
class Contest:
    """What came out, Stoker's own policy first, and why Stoker did what it did, with that and with further policies."""

    trace: Workload
    setup: Setup
    results: tuple[Result, ...]
    changes: Changes
    second_changes: Mapping[str, Changes] = field(default_factory=dict)


def rivals(names: Sequence[str], setup: Setup, trace: Workload) -> list[Scaler]:
    """New autoscalers of those names, each once; Stoker is none of them.

    Raises:
        SimulateError: there is none of a name.
    """
    made = [baselines.scaler(name, setup, trace) for name in names if name != STOKER]
    return list({scaler.name: scaler for scaler in made}.values())


def play(
    trace: Workload,
    setup: Setup,
    others: Sequence[Scaler],
    seconds: Mapping[str, Setup] | None = None,
    watch: Watch | None = None,
) -> Contest:
    """Run them all, one after the other. `seconds` are setups with further policies of Stoker's, by name."""
    setups = {STOKER: setup, **(seconds or {})}
    changes = {name: Changes(max(trace.duration_s, SCRAPE_S)) for name in setups}
    runs: list[tuple[str, Scaler, Setup]] = [(name, Stoker(of, changes[name].take), of) for name, of in setups.items()]
    runs += [(scaler.name, scaler, setup) for scaler in others]
    results = []
    for name, scaler, its_setup in runs:
        found = run(trace, scaler, its_setup, watch(name) if watch else None)
        results.append(replace(found, scaler=name))
    return Contest(trace, setup, tuple(results), changes.pop(STOKER), changes)
