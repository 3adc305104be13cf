"""What the API tells, of a controller that leads and of one that stands by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from prometheus_client import generate_latest

from controller.adapters.clock import SystemClock
from controller.adapters.database import SqlStore
from controller.adapters.database.keys import SqlKeys
from controller.adapters.database.overrides import SqlDrills, SqlOverrides
from controller.adapters.database.people import SqlPeople
from controller.adapters.openid import OpenIdProvider
from controller.adapters.telemetry import Telemetry
from controller.api.deps import Seen, Sources
from controller.api.oidc import SingleSignOn
from controller.api.unopened import Unopened
from controller.core.model import NodeName
from controller.installation import LOCAL, Installation, Layout, alerts_token, api_token, metrics_token
from controller.reconcile.alerts import Alerts
from controller.reconcile.parts import Parts
from controller.reconcile.tick import Ticker
from controller.settings import Settings
from controller.stack.gateway_token import gateway_token
from controller.stack.specs import Specs
from controller.wiring.drills import drill_desk
from controller.wiring.history import history_of
from controller.wiring.parts import Given
from controller.wiring.place import Place
from controller.wiring.simulations import simulation_desk

_STUCK = timedelta(seconds=15)  # without a good tick for so long, /healthz says so


def standing_by(place: Place, telemetry: Telemetry, who_leads: Callable[[], str]) -> Sources:
    """What the API tells of a controller that has touched nothing yet. Raises like `Place.read`."""
    settings, installation = place.read()
    told = Sources(
        policies=settings.policies(),
        nodes=_names(installation),
        store=Unopened(),
        latest=lambda: None,
        healthy=lambda: True,
        metrics=lambda: generate_latest(telemetry.registry),
        now=SystemClock().now,
        lead=who_leads,
        public_url=settings.controller.public_url or "",
    )
    return _with_tokens(told, place.layout)


def leading(given: Given, specs: Specs, parts: Parts, ticker: Ticker) -> Sources:
    patience = max(_STUCK, 5 * given.settings.controller.tick_interval)

    def latest() -> Seen | None:
        tick = ticker.latest
        return Seen(tick.snapshot, tick.plan, tick.routed, tick.policies, tick.overrides) if tick else None

    def healthy() -> bool:
        return ticker.latest is not None and parts.clock.now() - ticker.latest.snapshot.at < patience

    history = history_of(given)
    told = Sources(
        policies=given.settings.policies(specs.hashes),
        nodes=_names(given.installation),
        store=parts.store,
        latest=latest,
        healthy=healthy,
        metrics=lambda: generate_latest(given.telemetry.registry),
        now=parts.clock.now,
        wake=given.wake,
        offer=given.desk.offer(),
        access=ticker.access,
        tell=given.telemetry.emit,
        desk=given.desk,
        gateways=given.desk.others,
        gateway_token=gateway_token(given.place.layout),
        alerts=Alerts(given.telemetry.hear),
        alertmanager=_alertmanager(given.settings),
        alarms=(lambda: ()) if given.settings.alerting.enabled else ticker.alarms,
        oidc=_single_sign_on(given),
        public_url=given.settings.controller.public_url or "",
        simulations=simulation_desk(given, parts.clock, history, latest),
        drill_desk=drill_desk(given, latest),
        history=history,
        costs=given.settings.prices(),
    )
    return _with_tokens(_with_tables(told, given.claim.store), given.place.layout)


def _with_tables(told: Sources, store: SqlStore) -> Sources:
    """What the leader's database has beside the ledger."""
    return replace(
        told, keys=SqlKeys(store), people=SqlPeople(store), overrides=SqlOverrides(store), drills=SqlDrills(store)
    )


def _with_tokens(told: Sources, layout: Layout) -> Sources:
    """Those that are made in the state directory, whoever leads."""
    return replace(
        told, token=api_token(layout), alerts_token=alerts_token(layout), metrics_token=metrics_token(layout)
    )


def _alertmanager(settings: Settings) -> str:
    reach = settings.controller.monitoring_reach
    return f"http://{reach}:{settings.ports.alertmanager}" if settings.alerting.enabled else ""


def _single_sign_on(given: Given) -> SingleSignOn | None:
    wanted = given.settings.controller.oidc
    return None if wanted is None else SingleSignOn(OpenIdProvider(wanted, SystemClock()), wanted)


def _names(installation: Installation) -> tuple[NodeName, ...]:
    return tuple(NodeName(node.name) for node in installation.engines) or (NodeName(LOCAL),)
