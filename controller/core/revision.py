"""The configurations that nginx took, one after another, and why each is another than the one before. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controller.core.decision import Plan
from controller.core.model import Address, GatewayPlan, ReplicaId

KEPT = 50
FIRST, ROUTES, SETTINGS, RENDERED = "FirstKnown", "RoutesChanged", "SettingsChanged", "RenderedAnew"
REVERTED, REVERT_ENDED, APPLIED, STARTED = "Reverted", "RevertEnded", "Applied", "Started"


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that led to a new configuration. `code` is stable, `text` is for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was seen. `tick` and `term` lead to the decisions in the ledger."""

    at: datetime
    tick: int
    term: int


@dataclass(frozen=True, slots=True)
class Configuration:
    """What nginx runs: the text, the servers in it, and the settings that it was made with, as JSON.

    `reverted_to`: the revision that the settings are of, where somebody went back; `why` in their own words. `run`
    tells one `stoker up` from the next.
    """

    generation: str
    text: str
    plan: GatewayPlan
    settings: Mapping[str, Any]
    reverted_to: int | None = None
    why: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True)
class Revision:
    """A configuration that nginx took, and when and why."""

    number: int
    moment: Moment
    causes: tuple[Cause, ...]
    entered: tuple[ReplicaId, ...]
    left: tuple[ReplicaId, ...]
    configuration: Configuration


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with the settings: the newest revision, where somebody went back to, and what nginx refused.

    `taken_at` is when nginx took the newest one; `certificate_ends` is None where there is none that can be read.
    """

    revision: int | None = None
    generation: str = ""
    reverted_to: int | None = None
    reverted_at: datetime | None = None
    why: str = ""
    refused: str = ""
    taken_at: datetime | None = None
    certificate_ends: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reverted:
    """What came of going back, in one sentence. `changed`: nginx is about to take other settings."""

    changed: bool
    text: str


def revise(before: Revision | None, now: Configuration, reasons: Mapping[ReplicaId, Cause], moment: Moment) -> Revision:
    """The next revision. `reasons`: why replicas came and went."""
    old = _servers(before.configuration.plan) if before else {}
    new = _servers(now.plan)
    entered, left = tuple(sorted(set(new) - set(old))), tuple(sorted(set(old) - set(new)))
    causes = list(_causes(before.configuration, now)) if before else [Cause(FIRST, "The first one that is known.")]
    causes += [*_moves("in", entered, reasons), *_moves("out", left, reasons)]
    causes += [
        Cause(ROUTES, f"{replica} is at {new[replica]}")
        for replica in sorted(set(new) & set(old))
        if new[replica] != old[replica]
    ]
    if not causes:
        causes = [Cause(RENDERED, "Of the same servers and settings, by another version or on another machine.")]
    return Revision(before.number + 1 if before else 1, moment, tuple(causes), entered, left, now)


def reasons_in(plan: Plan) -> dict[ReplicaId, Cause]:
    """Why replicas may come into nginx or leave it, by what a tick saw and decided; a decision says it best."""
    reasons = {
        change.replica: Cause(change.reason.code.value, f"{change.now.value}: {change.reason.text}")
        for change in plan.changes
    }
    for decision in plan.decisions:
        replica = getattr(decision, "replica", None)
        if replica is not None:
            last = decision.reasons[-1]
            told = "; ".join(reason.text for reason in decision.reasons)
            reasons[replica] = Cause(last.code.value, f"{decision.kind}: {told}")
    return reasons


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """`gateway.user_header: X-User-Id -> X-Session`, a line for each setting that is another."""
    old, new = dict(_flat("", before)), dict(_flat("", after))
    keys = [*old, *(key for key in new if key not in old)]
    return [
        f"{key}: {old.get(key, 'none')} -> {new.get(key, 'none')}"
        for key in keys
        if old.get(key, "none") != new.get(key, "none")
    ]


def diff(before: Configuration, after: Configuration, names: tuple[str, str]) -> tuple[str, ...]:
    """What is different between the texts, line by line, as `diff -u` has it; nothing where they are equal."""
    old, new = before.text.splitlines(), after.text.splitlines()
    return tuple(difflib.unified_diff(old, new, *names, lineterm=""))


def _servers(plan: GatewayPlan) -> dict[ReplicaId, Address]:
    return {server.replica: server.address for routes in plan.pools for server in routes.servers}


def _causes(before: Configuration, now: Configuration) -> Iterator[Cause]:
    moved = differences(before.settings, now.settings)
    if now.run != before.run:
        yield Cause(STARTED, "`stoker up` has started everything anew.")
    elif moved and now.reverted_to is None and before.reverted_to is None:
        yield Cause(APPLIED, "`stoker apply` has brought a changed file.")
    if now.reverted_to is not None and now.reverted_to != before.reverted_to:
        yield Cause(REVERTED, f"Went back to the settings of {now.reverted_to}: {now.why or 'no reason given'}.")
    elif now.reverted_to is None and before.reverted_to is not None:
        yield Cause(REVERT_ENDED, f"The settings are no longer those of {before.reverted_to}.")
    for line in moved:
        yield Cause(SETTINGS, line)


def _moves(way: str, replicas: tuple[ReplicaId, ...], reasons: Mapping[ReplicaId, Cause]) -> Iterator[Cause]:
    for replica in replicas:
        known = reasons.get(replica)
        yield Cause(known.code, f"{replica} {way}: {known.text}") if known else Cause(ROUTES, f"{replica} {way}")


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every value under its dotted key; the items of a list that have a name under that."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(f"{prefix}.{name}".lstrip("."), item)
    elif isinstance(value, list) and all(isinstance(item, Mapping) and "name" in item for item in value):
        for item in value:
            fields = {name: inner for name, inner in item.items() if name != "name"}
            yield from _flat(f"{prefix}.{item['name']}", fields)
    elif isinstance(value, list):
        yield prefix, ", ".join(map(str, value)) or "none"
    else:
        yield prefix, "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
