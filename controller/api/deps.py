"""What the routes work with, and how they get it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Header, HTTPException, Request

from controller.api.unopened import UnopenedKeys
from controller.core.decision import Plan
from controller.core.event import Event
from controller.core.model import NodeName, ReplicaId, Snapshot
from controller.core.policy import PoolPolicy
from controller.core.quota import TokenLimits
from controller.ports import AccessState, KeyStore, StateStore

LEADS = "leads"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the last good tick saw and wanted, and to whom nginx sends requests."""

    snapshot: Snapshot
    plan: Plan
    routed: frozenset[ReplicaId]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a key can be made for: plans, and models by every name that they have; and how many keys there may be."""

    plans: Mapping[str, TokenLimits] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    most_keys: int = 100_000


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that the API reads. `latest` is None before the first good tick; `metrics` is Prometheus's text.

    `lead` says who leads: "leads", or a sentence of who does instead. `wake` makes a tick soon. Whoever has the `token`
    may give orders and make keys; an empty one lets nobody. `tell` is for what the API itself did.
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


def _sources(request: Request) -> Sources:
    sources = request.app.state.sources
    assert isinstance(sources, Sources)  # create_app put it there
    return sources


SourcesDep = Annotated[Sources, Depends(_sources)]


def require_token(sources: SourcesDep, authorization: Annotated[str | None, Header()] = None) -> None:
    """Whoever asks has the token of the state directory. Answers 401 otherwise."""
    given = (authorization or "").removeprefix("Bearer ")
    if not sources.token or not secrets.compare_digest(given.encode(), sources.token.encode()):
        raise HTTPException(
            401, "this needs the token in the state directory's file api.token, as a bearer token", _BEARER
        )


_BEARER = {"WWW-Authenticate": "Bearer"}
TOKEN = Depends(require_token)
