"""The controller's parts, put together: who may lead, and what a leader works with. Only `main` imports it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from controller.adapters.clock import SystemClock
from controller.adapters.telemetry import Telemetry
from controller.api.deps import Sources
from controller.reconcile.schedule import Schedule, Wake
from controller.reconcile.tick import Ticker
from controller.stack.gateway_desk import GatewayDesk
from controller.stack.specs import Specs, specs_of
from controller.wiring.claim import Claim, claim
from controller.wiring.drills import follow_drills
from controller.wiring.parts import Given, parts_of
from controller.wiring.place import Place, complain
from controller.wiring.sources import leading, standing_by

__all__ = ["Claim", "Leader", "Place", "claim", "complain", "lead", "standing_by"]


@dataclass(frozen=True, slots=True)
class Leader:
    """Everything that runs while this controller leads."""

    ticker: Ticker
    schedule: Schedule
    sources: Sources
    resources: contextlib.ExitStack

    def start(self) -> None:
        """Tick from now on."""
        self.resources.callback(self.schedule.stop)
        self.schedule.start()

    def close(self) -> None:
        """No more ticks; then the next one may lead, while the adapters are closed. Blocks for as long as a tick."""
        self.resources.close()


def lead(place: Place, taken: Claim, telemetry: Telemetry) -> Leader:
    """Put together what a leader works with, from the files as they are now: `stoker apply` may have changed them.

    Where it raises, the lead is given up.

    Raises:
        ConfigError, FileNotFoundError: see `Place.read`.
        TransientError, LostLease: the ledger cannot be used.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(taken.resources.close)
        settings, installation = place.read()
        desk = GatewayDesk(place.layout, settings, installation, SystemClock())
        given = Given(place, settings, installation, taken, telemetry, Wake(), desk)
        specs = Specs(specs_of(settings, installation), taken.store)
        telemetry.name_models((pool.name, pool.model) for pool in settings.pools)
        if taken.store.put_aside is not None:
            complain(f"the database could not be used and was put aside as {taken.store.put_aside}")
        taken.store.begin(given.run)
        specs.keep()
        parts = parts_of(given, specs, stack)
        ticker = Ticker(parts, settings.policies(specs.hashes))
        ticker.lead()
        given.wake.schedule = Schedule(ticker.run, settings.controller.tick_interval, parts.clock)
        parts.fleet.watch(given.wake)
        sources = leading(given, specs, parts, ticker)
        follow_drills(sources)
        stack.callback(sources.drill_desk.close)
        stack.callback(sources.simulations.close)
        stack.callback(sources.history.close)
        stack.callback(taken.release)  # before the adapters are closed, which takes a while
        stack.callback(ticker.close)
        return Leader(ticker, given.wake.schedule, sources, stack.pop_all())
