"""What the routes work with, and how they get it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Protocol

from fastapi import Depends, Header, HTTPException, Request

from controller.api.access_door import Door
from controller.api.access_unopened import UnopenedPeople
from controller.api.drills import DrillDesk
from controller.api.history import HistoryBook, UnopenedHistory
from controller.api.oidc import SingleSignOn
from controller.api.simulations import Simulations, UnopenedSimulations
from controller.api.unopened import UnopenedAlerts, UnopenedKeys
from controller.api.unopened_gateway import UnopenedDesk, UnopenedGateways
from controller.api.unopened_pools import UnopenedDrillDesk, UnopenedDrills, UnopenedOverrides
from controller.core.alarm import Alarm
from controller.core.alarm_message import as_known
from controller.core.alerts import Alert, HeardAlerts, KnownAlert
from controller.core.costs import Costs
from controller.core.decision import Plan
from controller.core.event import Event
from controller.core.gateways import GatewayAnswer, GatewayReport, GatewayStatus
from controller.core.model import NodeName, ReplicaId, Snapshot
from controller.core.overrides import Override
from controller.core.policy import PoolPolicy
from controller.core.quota import TokenLimits
from controller.core.revision import Reverted, Revision, Standing
from controller.ports import AccessState, KeyStore, StateStore
from controller.ports.people import PeopleStore
from controller.ports.pools import DrillStore, OverrideStore

LEADS = "leads"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the last good tick saw and wanted, and to whom nginx sends requests. `policies` were in force then, by what
    people want: `overrides`."""

    snapshot: Snapshot
    plan: Plan
    routed: frozenset[ReplicaId]
    policies: Sequence[PoolPolicy] = ()
    overrides: Sequence[Override] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """What a key can be made for: plans, and models by every name that they have; and how many keys there may be."""

    plans: Mapping[str, TokenLimits] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    most_keys: int = 100_000


class Desk(Protocol):
    """The history of nginx's configurations, and the way back. Each blocks for a few seconds at most."""

    def standing(self) -> Standing:
        """How it stands with the settings."""
        ...

    def revisions(self) -> Sequence[Revision]:
        """Those that are kept, the newest first."""
        ...

    def revision(self, number: int) -> Revision | None:
        """That one; None where it is not kept."""
        ...

    def revert(self, number: int, why: str, usable_keys: int) -> Reverted:
        """Go back to the settings of that one. Raises `KeyError` where it is not kept, `GatewayRejected` where its
        settings cannot be used any more, and `GatewayUnavailable` where nobody knows now."""
        ...

    def undo(self) -> Reverted:
        """The settings are those of the file again. Raises `GatewayUnavailable`."""
        ...


class OtherGateways(Protocol):
    """The nginx of other machines. Nothing blocks for long."""

    def hear(self, report: GatewayReport, now: datetime) -> GatewayAnswer | None:
        """Note what one says, and what it is to run; None: nobody knows yet. Raises `TooManyGateways`."""
        ...

    def refuse(self, report: GatewayReport, now: datetime) -> None:
        """Note it, though it gets nothing. Raises `TooManyGateways`."""
        ...

    def known(self, now: datetime) -> Sequence[GatewayStatus]:
        """Those that were heard of within the last hour, by name."""
        ...


class AlertBook(Protocol):
    """What Alertmanager told of. Nothing blocks."""

    def hear(self, said: Sequence[Alert], left_out: int, now: datetime) -> HeardAlerts:
        """Remember these; `left_out` are not among them."""
        ...

    def known(self, now: datetime) -> Sequence[KnownAlert]:
        """Those that fire, then those that ended within the last hour; of each kind the newest first."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that the API reads. `latest` is None before the first good tick; `metrics` is Prometheus's text.

    `lead` says who leads: "leads", or a sentence of who does instead. `wake` makes a tick soon. Whoever has the `token`
    is an admin, whoever has the `gateway_token` may ask what another nginx is to run, whoever has the `alerts_token`
    may tell of alerts, and whoever has the `metrics_token` may read the metrics; an empty one lets nobody. `people` are
    the others who may something, and `door` is what is remembered of them between requests. `alarms` are those of the
    controller's own evaluation, where no Alertmanager of ours tells of them. `tell` is for what the API itself did.
    """

    policies: Sequence[PoolPolicy]
    nodes: Sequence[NodeName]
    store: StateStore
    latest: Callable[[], Seen | None]
    healthy: Callable[[], bool]
    metrics: Callable[[], bytes]
    now: Callable[[], datetime]
    lead: Callable[[], str] = lambda: LEADS
    wake: Callable[[], None] = lambda: None
    token: str = ""
    keys: KeyStore = field(default_factory=UnopenedKeys)
    offer: Offer = field(default_factory=Offer)
    access: Callable[[], AccessState] = AccessState
    tell: Callable[[Sequence[Event]], None] = lambda events: None
    desk: Desk = field(default_factory=UnopenedDesk)
    gateways: OtherGateways = field(default_factory=UnopenedGateways)
    gateway_token: str = ""
    alerts: AlertBook = field(default_factory=UnopenedAlerts)
    alarms: Callable[[], Sequence[Alarm]] = tuple
    overrides: OverrideStore = field(default_factory=UnopenedOverrides)
    drills: DrillStore = field(default_factory=UnopenedDrills)
    drill_desk: DrillDesk = field(default_factory=UnopenedDrillDesk)
    history: HistoryBook = field(default_factory=UnopenedHistory)
    costs: Costs = field(default_factory=Costs)
    simulations: Simulations = field(default_factory=UnopenedSimulations)

    def known_alerts(self) -> list[KnownAlert]:
        """Those that fire, then those that ended within the last hour; of each kind the newest first."""
        found = [*self.alerts.known(self.now()), *map(as_known, self.alarms())]
        return sorted(found, key=lambda known: (not known.alert.firing, -known.changed_at.timestamp()))

    alerts_token: str = ""
    alertmanager: str = ""  # where ours has its page, as the controller's own machine finds it; empty: there is none
    metrics_token: str = ""
    people: PeopleStore = field(default_factory=UnopenedPeople)
    door: Door = field(default_factory=Door)
    oidc: SingleSignOn | None = None
    public_url: str = ""  # what people write to get here; empty: as each of them asked for it


def _sources(request: Request) -> Sources:
    sources = request.app.state.sources
    assert isinstance(sources, Sources)  # create_app put it there
    return sources


SourcesDep = Annotated[Sources, Depends(_sources)]


def base_of(request: Request, sources: Sources) -> str:
    """How links to this controller begin."""
    return sources.public_url or str(request.base_url).rstrip("/")


def policy_of(sources: Sources, pool: str) -> PoolPolicy:
    """The configured one. Answers 404 where there is none of that name."""
    found = next((policy for policy in sources.policies if policy.pool == pool), None)
    if found is None:
        names = ", ".join(sorted(policy.pool for policy in sources.policies))
        raise HTTPException(404, f"there is no pool {pool!r}; there is {names or 'none'}")
    return found


Bearer = Annotated[str | None, Header(alias="authorization")]


def require_gateway_token(sources: SourcesDep, authorization: Bearer = None) -> None:
    """Whoever asks has the token for gateways, which is good for nothing else. Answers 401 otherwise.

    409 where another controller leads: its token need not be known here, and a gateway asks that one then.
    """
    if sources.lead() != LEADS:
        raise HTTPException(409, f"this controller {sources.lead()}; ask the one that leads")
    _require(authorization, sources.gateway_token, "gateway.token")


def require_alerts_token(sources: SourcesDep, authorization: Bearer = None) -> None:
    """Whoever asks has the token for alerts, which is good for nothing else. Answers 401 otherwise.

    503 where another controller leads: what sends alerts tries again then, and by that time this one may lead.
    """
    _require(authorization, sources.alerts_token, "alerts.token")
    if sources.lead() != LEADS:
        raise HTTPException(503, f"this controller {sources.lead()}; it takes alerts once it leads")


def _require(authorization: str | None, token: str, file: str) -> None:
    given = (authorization or "").removeprefix("Bearer ")
    if not token or not secrets.compare_digest(given.encode(), token.encode()):
        raise HTTPException(
            401, f"this needs the token in the state directory's file {file}, as a bearer token", _BEARER
        )


_BEARER = {"WWW-Authenticate": "Bearer"}
GATEWAY_TOKEN = Depends(require_gateway_token)
ALERTS_TOKEN = Depends(require_alerts_token)
