"""What a changed configuration changes, and what of it cannot be taken in while everything runs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from controller.core.model import PoolName
from controller.installation import Installation
from controller.settings import Settings
from controller.stack.specs import specs_of

# What the controller alone goes by, or brings to nginx; everything else of these sections other programs run with.
_FREE = (
    *("controller.tick_interval", "controller.node_grace", "controller.lease_ttl", "controller.trusted_proxies"),
    *("controller.public_url", "controller.oidc", "gateway.", "alerting.webhook", "costs."),
)
_BOUND = ("gateway.host", "gateway.hot_cache")
_FIXED = ("ports", "gateway", "controller", "alerting", "costs")
_FOUND = ("image", "checkpoint")  # of a spec's parts: not in the file, but found out for it


class Kind(StrEnum):
    """What becomes of a pool."""

    POLICY = "policy"
    SPEC = "spec"
    NEW = "new"
    REMOVED = "removed"


_WHAT = {
    Kind.POLICY: "policy, in force at once",
    Kind.SPEC: "another spec, so a rolling update of one replica at a time",
    Kind.NEW: "a new pool",
    Kind.REMOVED: "no longer configured, so its replicas are drained and removed",
}


@dataclass(frozen=True, slots=True)
class PoolChange:
    """What changes of one pool. `keys` tell each in words: `health.failures: 3 -> 4`."""

    pool: str
    kind: Kind
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = f" ({'; '.join(self.keys)})" if self.keys else ""
        return f"{self.pool}: {_WHAT[self.kind]}{told}"


@dataclass(frozen=True, slots=True)
class Difference:
    """All that changes: pools in the file's order, then nodes and the controller's own, in words."""

    pools: tuple[PoolChange, ...] = ()
    nodes: tuple[str, ...] = ()
    controller: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.pools or self.nodes or self.controller)

    def lines(self) -> list[str]:
        """One for each change."""
        return [*map(str, self.pools), *self.nodes, *self.controller]

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        pools = [{"pool": change.pool, "change": change.kind.value, "keys": list(change.keys)} for change in self.pools]
        return {
            "changed": bool(self),
            "pools": pools,
            "nodes": list(self.nodes),
            "controller": list(self.controller),
        }


@dataclass(frozen=True, slots=True)
class InForce:
    """A configuration, and what was found out for it."""

    settings: Settings
    installation: Installation


def compare(old: InForce, new: InForce) -> Difference:
    """What is different. Raises `ConfigError` where an installation knows nothing of one of its pools."""
    moved = [key for name in _FIXED for key in _moved(_section(old, name), _section(new, name), f"{name}.")]
    moved += _moved(_plans(old.settings), _plans(new.settings), "plans.")
    return Difference(tuple(_pools(old, new)), tuple(_nodes(old, new)), tuple(moved))


def beyond_the_controller(old: Settings, new: Settings) -> list[str]:
    """A sentence for each changed key that other programs were started with."""
    keys = [
        key
        for name in _FIXED
        for key in _moved(flat(getattr(old, name)), flat(getattr(new, name)), f"{name}.")
        if key.startswith(_BOUND) or not key.startswith(_FREE)
    ]
    return [f"{key}: other programs run with it; `stoker down` and `stoker up` take it in" for key in keys]


def flat(section: BaseModel) -> dict[str, str]:
    """Every value of a section under its dotted key, as people write it."""
    return dict(_flatten("", section))


def _pools(old: InForce, new: InForce) -> Iterator[PoolChange]:
    before = {pool.name: pool for pool in old.settings.pools}
    after = {pool.name: pool for pool in new.settings.pools}
    had, wanted = (specs_of(each.settings, each.installation) for each in (old, new))
    for name, pool in after.items():
        if name not in before:
            yield PoolChange(name, Kind.NEW)
            continue
        keys = _moved(flat(before[name]), flat(pool))
        if had[PoolName(name)] != wanted[PoolName(name)]:
            yield PoolChange(name, Kind.SPEC, (*keys, *_found(name, old.installation, new.installation)))
        elif keys:
            yield PoolChange(name, Kind.POLICY, tuple(keys))
    for name in [name for name in before if name not in after]:
        yield PoolChange(name, Kind.REMOVED)


def _found(pool: str, old: Installation, new: Installation) -> Iterator[str]:
    """What was found out for a pool, where it is another now."""
    for name in _FOUND:
        was, now = getattr(old.pools[pool], name), getattr(new.pools[pool], name)
        if was != now:
            yield f"{name} found: {was or 'none'} -> {now or 'none'}"


def _nodes(old: InForce, new: InForce) -> Iterator[str]:
    before = {node.name: node for node in old.installation.engines}
    after = {node.name: node for node in new.installation.engines}
    for name, node in after.items():
        if name not in before:
            yield f"node {name}: new"
        elif node != before[name]:
            yield f"node {name}: {'; '.join(_moved(flat(before[name]), flat(node)))}"
    for name in [name for name in before if name not in after]:
        yield f"node {name}: gone"


def _plans(settings: Settings) -> dict[str, str]:
    return {
        f"{plan.name}.{key}": value for plan in settings.plans for key, value in flat(plan).items() if key != "name"
    }


def _section(given: InForce, name: str) -> Mapping[str, str]:
    return flat(getattr(given.settings, name))


def _moved(old: Mapping[str, str], new: Mapping[str, str], prefix: str = "") -> list[str]:
    keys = [*old, *(key for key in new if key not in old)]
    return [
        f"{prefix}{key}: {old.get(key, 'none')} -> {new.get(key, 'none')}"
        for key in keys
        if old.get(key, "none") != new.get(key, "none")
    ]


def _flatten(prefix: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from _flatten(f"{prefix}.{field.alias or name}".lstrip("."), getattr(value, name))
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from _flatten(f"{prefix}.{number}", item)
    else:
        yield prefix, _text(value)


def _text(value: object) -> str:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)
