"""What the API tells, of a controller that leads and of one that stands by."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from prometheus_client import generate_latest

from controller.adapters.clock import SystemClock
from controller.adapters.database.keys import SqlKeys
from controller.adapters.telemetry import Telemetry
from controller.api.deps import Seen, Sources
from controller.api.unopened import Unopened
from controller.core.model import NodeName
from controller.installation import LOCAL, Installation, alerts_token, api_token
from controller.reconcile.alerts import Alerts
from controller.reconcile.parts import Parts
from controller.reconcile.tick import Ticker
from controller.stack.gateway_token import gateway_token
from controller.stack.specs import Specs
from controller.wiring.parts import Given
from controller.wiring.place import Place

_STUCK = timedelta(seconds=15)  # without a good tick for so long, /healthz says so


def standing_by(place: Place, telemetry: Telemetry, who_leads: Callable[[], str]) -> Sources:
    """What the API tells of a controller that has touched nothing yet. Raises like `Place.read`."""
    settings, installation = place.read()
    return Sources(
        policies=settings.policies(),
        nodes=_names(installation),
        store=Unopened(),
        latest=lambda: None,
        healthy=lambda: True,
        metrics=lambda: generate_latest(telemetry.registry),
        now=SystemClock().now,
        lead=who_leads,
        token=api_token(place.layout),
        alerts_token=alerts_token(place.layout),
    )


def leading(given: Given, specs: Specs, parts: Parts, ticker: Ticker) -> Sources:
    patience = max(_STUCK, 5 * given.settings.controller.tick_interval)

    def latest() -> Seen | None:
        return Seen(tick.snapshot, tick.plan, tick.routed) if (tick := ticker.latest) else None

    def healthy() -> bool:
        return ticker.latest is not None and parts.clock.now() - ticker.latest.snapshot.at < patience

    return Sources(
        policies=given.settings.policies(specs.hashes),
        nodes=_names(given.installation),
        store=parts.store,
        latest=latest,
        healthy=healthy,
        metrics=lambda: generate_latest(given.telemetry.registry),
        now=parts.clock.now,
        wake=given.wake,
        token=api_token(given.place.layout),
        keys=SqlKeys(given.claim.store),
        offer=given.desk.offer(),
        access=ticker.access,
        tell=given.telemetry.emit,
        desk=given.desk,
        gateways=given.desk.others,
        gateway_token=gateway_token(given.place.layout),
        alerts=Alerts(given.telemetry.hear),
        alarms=(lambda: ()) if given.settings.alerting.enabled else ticker.alarms,
        alerts_token=alerts_token(given.place.layout),
    )


def _names(installation: Installation) -> tuple[NodeName, ...]:
    return tuple(NodeName(node.name) for node in installation.engines) or (NodeName(LOCAL),)
