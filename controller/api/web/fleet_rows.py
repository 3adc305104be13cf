"""What the fleet page says of each pool, and its three answers. Pure: equal facts give equal rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from controller.api.web import formats
from controller.api.web.latest import Last
from controller.api.web.overview import ACT, BUSY, CALM, UNTOLD, PoolFacts
from controller.core.memory import ReplicaState
from controller.core.model import PoolName
from controller.core.overrides import Override
from controller.core.policy import Mode

_NAMED = 3
_line = lru_cache(maxsize=1024)(formats.line)  # an hour changes once a minute, a row with each tick


@dataclass(frozen=True, slots=True)
class Hour:
    """The last hour of a pool: users' wait and errors by the minute, and what it took. None is not known."""

    latency: tuple[float | None, ...] = ()
    errors: tuple[float | None, ...] = ()
    gpu_hours: float | None = None
    per_million: float | None = None  # cost of a million tokens
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """Which pool, how it stands, and what is the matter."""

    name: str
    model: str
    level: str
    word: str
    rank: int
    mode: str
    override: str  # who set its bounds or paused it, and why
    alerts: tuple[tuple[str, str, str], ...]  # name, severity, what it says
    drill: str = ""  # the id of the one that runs on it


@dataclass(frozen=True, slots=True)
class Measured:
    """A number against its threshold, in words. `level` where it is above; no `value` where there were no requests."""

    value: str
    limit: str
    level: str = ""


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many there are of which sort, how many there may be, and what they took in the last hour."""

    counts: tuple[tuple[str, int], ...]
    serving: int
    desired: int
    floor: int
    ceiling: int
    gpu_hours: str
    cost: str


@dataclass(frozen=True, slots=True)
class FleetRow:
    """Everything that the row shows, as it shows it, by cell: one is rendered anew only where that changed."""

    head: Head
    wait: Measured
    wait_line: formats.Line
    errors: Measured
    errors_line: formats.Line
    demand: str
    replicas: Replicas
    last: Last | None

    def cells(self) -> Iterator[tuple[str, Any]]:
        """Each by its name."""
        return ((field.name, getattr(self, field.name)) for field in fields(self))


def row_of(pool: PoolFacts, last: Last | None, hour: Hour, override: Override | None = None) -> FleetRow:
    """One pool."""
    latency, errors = pool.scaling.latency, pool.scaling.errors
    wait_limit = latency.threshold if latency.enabled else None
    errors_limit = errors.threshold if errors.enabled else None
    level = pool.stand.level
    over = level if level != CALM else BUSY
    return FleetRow(
        head=_head(pool, override),
        wait=Measured(
            "" if pool.idle else formats.seconds(pool.latency),
            _told(formats.seconds, wait_limit),
            over if pool.slow else "",
        ),
        wait_line=_line(hour.latency, wait_limit),
        errors=Measured(
            formats.percent(pool.errors), _told(formats.percent, errors_limit), over if pool.failing else ""
        ),
        errors_line=_line(hour.errors, errors_limit),
        demand=formats.number(pool.in_flight),
        replicas=_replicas(pool, hour),
        last=last,
    )


def _told(told: Callable[[float], str], limit: float | None) -> str:
    return "" if limit is None else told(limit)


def _head(pool: PoolFacts, override: Override | None) -> Head:
    stand = pool.stand
    return Head(
        name=pool.name,
        model=pool.model,
        level=stand.level,
        word=stand.word,
        rank=rank_of(pool),
        mode="" if pool.mode is Mode.ACTIVE else pool.mode.value,
        override=_said(override),
        alerts=_alerts(pool),
        drill=pool.drill,
    )


def _replicas(pool: PoolFacts, hour: Hour) -> Replicas:
    return Replicas(
        counts=(
            ("ready", pool.counts.get(ReplicaState.READY, 0)),
            ("trouble", pool.trouble),
            ("starting", pool.starting),
            ("draining", pool.draining),
        ),
        serving=pool.serving,
        desired=pool.desired,
        floor=pool.scaling.floor,
        ceiling=pool.scaling.ceiling,
        gpu_hours="" if hour.gpu_hours is None else formats.number(hour.gpu_hours, 1),
        cost="" if hour.per_million is None else formats.money(hour.per_million, hour.currency),
    )


def _alerts(pool: PoolFacts) -> tuple[tuple[str, str, str], ...]:
    """The critical ones first. All names begin with ours, which says nothing here."""
    found = [
        (known.alert.name.removeprefix("Stoker"), known.alert.labels.get("severity", ""), known.alert)
        for known in pool.alerts
    ]
    ordered = sorted(found, key=lambda one: (one[1] != "critical", one[0]))
    return tuple((name, severity, alert.annotations.get("summary", "")) for name, severity, alert in ordered)


def _said(override: Override | None) -> str:
    """Who wants what of the pool, and why, where somebody does."""
    wishes = () if override is None else (override.pause, override.bounds)
    return "; ".join(f"{wish.by}: {wish.why}" for wish in wishes if wish is not None)


def rank_of(pool: PoolFacts) -> int:
    """0: somebody must act; 1: something is the matter, or an alert fires; 2: neither.

    Growing and shrinking is daily work: a row that went up for it would go down again while it is read. An alert fires
    only where something has been the matter for a while, also of a pool that grows meanwhile.
    """
    stand = pool.stand
    if stand.level == ACT:
        return 0
    return 1 if pool.alerts or stand.word in ("failing", "slow", "replacing", "first_start", "short") else 2


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence: a key of the section `fleet`, its number, and the pools that it names, with how many more."""

    key: str
    n: int = 0
    pools: tuple[str, ...] = ()
    more: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """How bad it is, and the sentences."""

    level: str
    said: tuple[Said, ...]


def users(pools: Sequence[PoolFacts]) -> Answer:
    """Are my users all right?"""
    hurt = {
        "users_down": [pool for pool in pools if pool.down],
        "users_failing": [pool for pool in pools if pool.failing and not pool.down],
        "users_slow": [pool for pool in pools if pool.slow and not pool.failing and not pool.down],
    }
    said = tuple(_about(key, [pool.name for pool in mine]) for key, mine in hurt.items() if mine)
    named = {pool.name for mine in hurt.values() for pool in mine}
    untold = [pool.name for pool in pools if pool.desired and pool.in_flight is None and pool.name not in named]
    if said:
        said += (Said("users_others_unknown", len(untold)),) if untold else ()
        acts = any(pool.stand.level == ACT for pool in pools if pool.name in named)
        return Answer(ACT if acts else BUSY, said)
    if untold:
        every = len(untold) == len(pools)
        return Answer(UNTOLD, (Said("users_unknown") if every else _about("users_untold", untold),))
    return Answer(CALM, (Said("users_calm", len(pools)),))


def doing(pools: Sequence[PoolFacts]) -> Answer:
    """What is the controller doing? What needs somebody comes first: the level, and its mark, are of that."""
    acts = [pool.name for pool in pools if pool.stand.level == ACT]
    counts = {
        "doing_starting": sum(pool.starting for pool in pools),
        "doing_draining": sum(pool.draining for pool in pools),
        "doing_trouble": sum(pool.trouble for pool in pools),
    }
    busy = [pool.name for pool in pools if pool.starting or pool.draining or pool.trouble]
    said = [Said(key, count) for key, count in counts.items() if count]
    if busy:
        said[-1] = _about(said[-1].key, busy, said[-1].n)
    if acts:
        said.insert(0, _about("doing_act", acts))
    level = ACT if acts else BUSY if busy else CALM
    return Answer(level, tuple(said) or (Said("doing_nothing", len(pools)),))


def newest(last: Mapping[PoolName, Last | None]) -> tuple[str, Last] | None:
    """Why: the newest decision of all pools."""
    found = [(pool, one) for pool, one in last.items() if one is not None]
    return max(found, key=lambda item: (item[1].at, item[1].id), default=None)


def _about(key: str, names: Sequence[str], n: int | None = None) -> Said:
    return Said(key, len(names) if n is None else n, tuple(names[:_NAMED]), max(len(names) - _NAMED, 0))
