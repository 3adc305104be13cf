"""What the routes work with, and how they get it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request

from controller.core.decision import Plan
from controller.core.model import NodeName, ReplicaId, Snapshot
from controller.core.policy import PoolPolicy
from controller.ports import StateStore

LEADS = "leads"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the last good tick saw and wanted, and to whom nginx sends requests."""

    snapshot: Snapshot
    plan: Plan
    routed: frozenset[ReplicaId]


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that the API reads. `latest` is None before the first good tick; `metrics` is Prometheus's text.

    `lead` says who leads: "leads", or a sentence of who does instead. `wake` makes a tick soon. Whoever has the `token`
    may give orders; an empty one lets nobody.
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


def _sources(request: Request) -> Sources:
    sources = request.app.state.sources
    assert isinstance(sources, Sources)  # create_app put it there
    return sources


SourcesDep = Annotated[Sources, Depends(_sources)]
