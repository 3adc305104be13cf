"""What the gateway had to do, by pool, plan and key. Exact only as far as counters are: see `TrafficOut`.

Sums of a range are made of what is recorded once a minute, and of keys in ten: a thousand keys over thirty days are
four million numbers then. A hundred thousand keys are no hundred thousand series: the exporter tells the first thousand
apart, and here the busiest of them are told of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from controller.api.access import Caller
from controller.api.deps import Sources
from controller.api.history import Told
from controller.api.history_promql import filled
from controller.api.traffic_schemas import (
    CacheTrafficOut,
    CountOut,
    KeyTrafficOut,
    PlanTrafficOut,
    PoolTrafficOut,
    QuotaOut,
    TrafficOut,
)
from controller.core.access import ApiKey, KeyId
from controller.core.errors import LostLease, TransientError
from controller.core.people import Role
from controller.core.quota import QuotaMemory, TokenLimits
from controller.core.timeline import MINUTE, Axis, axis

MOST_KEYS = 20
_MOST_POOLS = 10  # with a line of their own
_POINTS = 120
_PART = "part"
_KEYS_EVERY = timedelta(minutes=10)
_RAW_UP_TO = timedelta(hours=1)  # of 300 replicas and a thousand keys Prometheus reads that in half a second

# What is summed: the counters themselves, and what is recorded of them.
_REQUESTS = ("requests_total", "stoker:pool_requests:increase1m")
_FAILURES = ('requests_total{code=~"5.."}', "stoker:pool_failures:increase1m")
_POOL_REFUSALS = ("refusals_total", "stoker:pool_refusals:increase1m")
_RETRIES = ("retries_total", "stoker:pool_retries:increase1m")
_ATTEMPTS = ("attempts_failed_total", "stoker:pool_attempts_failed:increase1m")
_PLANS = ("key_requests_total", "stoker:plan_requests:increase1m")
_PLAN_TOKENS = ("tokens_total", "stoker:plan_tokens:increase1m")
_PLAN_REFUSALS = ("refusals_total", "stoker:plan_refusals:increase1m")
_CACHES = ("cache_requests_total", "stoker:pool_cache_requests:increase1m")
_KEYS = ("key_requests_total", "stoker:key_requests:increase10m")
_KEY_TOKENS = ("tokens_total", "stoker:key_tokens:increase10m")
_LINES = {
    "requests": "sum by (pool) (avg_over_time(stoker:pool_requests:increase1m[$w])) / 60",
    "refusals": "sum by (cause) (avg_over_time(stoker:pool_refusals:increase1m[$w])) / 60",
    "cache": (
        '(sum by (layer) (sum_over_time(stoker:pool_cache_requests:increase1m{result="hit"}[$w]))'
        " or 0 * sum by (layer) (sum_over_time(stoker:pool_cache_requests:increase1m[$w])))"
        " / (sum by (layer) (sum_over_time(stoker:pool_cache_requests:increase1m[$w])) > 0)"
    ),
}


def traffic_of(sources: Sources, span: timedelta, named: bool) -> TrafficOut:
    """The traffic of the time until now; of keys only the ids, unless they are `named` (`sees_keys`). Blocks for 14 s
    at most, where Prometheus is slow."""
    end = sources.now().timestamp()
    drawn = axis(end - span.total_seconds(), end, most=_POINTS, shortest=MINUTE)
    over_time, in_all = asked_by_traffic(span, drawn)
    lines = sources.history.ask(over_time, drawn)
    sums = sources.history.ask(in_all, Axis(int(end), 1, 1))
    names = _names(sources, {key for (key,) in _counts(sums, "keys", "key")}) if named else None
    return TrafficOut(
        as_of=lines.as_of,
        stale_since=lines.stale_since or sums.stale_since,
        step_s=lines.axis.step,
        of_minutes=lines.axis.of_minutes,
        at=list(lines.axis.times),
        keys_of_minutes=1 if span <= _RAW_UP_TO else 10,
        pools=_pools(sums),
        plans=_plans(sums),
        keys=_keys(sums, names),
        keys_left_out=_rest(sums),
        caches=_caches(sums),
        keys_named=named,
        quotas=quotas_of(sources) if named else [],
        requests_per_second=_busiest(lines),
        refusals_per_second=_columns(lines, "refusals", "cause"),
        cache_hit_ratio=_columns(lines, "cache", "layer"),
    )


def sees_keys(who: Caller) -> bool:
    """Whether that one may know more of a key than its id. The list of them asks for the same role."""
    return who.may(Role.OPERATOR)


def asked_by_traffic(span: timedelta, drawn: Axis) -> tuple[str, str]:
    """The question for what is drawn over time, and the one for the sums of all of it."""
    return _question(_LINES, f"{drawn.step}s"), _sums(span)


def _question(parts: Mapping[str, str], window: str) -> str:
    labelled = (f'label_replace({promql}, "{_PART}", "{name}", "", "")' for name, promql in parts.items())
    return filled(" or ".join(labelled), window)


def _sums(span: timedelta) -> str:
    """One question for all sums. Of keys it names the busiest, and the sum of all of them."""
    raw = span <= _RAW_UP_TO

    def each(*counters: tuple[str, str]) -> list[str]:
        return [f"increase(stoker_edge_{name}[$w])" if raw else f"sum_over_time({made}[$w])" for name, made in counters]

    (keys, key_tokens), (plans, plan_tokens) = each(_KEYS, _KEY_TOKENS), each(_PLANS, _PLAN_TOKENS)
    requests, failures, retries, attempts = each(_REQUESTS, _FAILURES, _RETRIES, _ATTEMPTS)
    pool_refused, plan_refused, caches = each(_POOL_REFUSALS, _PLAN_REFUSALS, _CACHES)
    top = f"topk({MOST_KEYS}, sum by (plan, key) ({keys}))"
    parts = {
        "pool": f"sum by (pool) ({requests})",
        "pool_errors": f"sum by (pool) ({failures})",
        "pool_refused": f"sum by (pool, cause) ({pool_refused})",
        "retries": f"sum by (pool) ({retries})",
        "attempts": f"sum by (pool) ({attempts})",
        "plan": f"sum by (plan, code_class) ({plans})",
        "plan_tokens": f"sum by (plan) ({plan_tokens})",
        "plan_refused": f"sum by (plan, cause) ({plan_refused})",
        "cache": f"sum by (layer, result) ({caches})",
        "all_keys": f"sum by (code_class) ({keys})",
        "keys": f"sum by (plan, key, code_class) ({keys}) and on (plan, key) {top}",
        "key_tokens": f"sum by (plan, key) ({key_tokens}) and on (plan, key) {top}",
    }
    window = span if raw else max(span, _KEYS_EVERY)
    return _question(parts, f"{round(window.total_seconds())}s")


def _counts(told: Told, part: str, *labels: str) -> dict[tuple[str, ...], float]:
    """The newest number of each series of a part, by the values of these labels; added up over all others."""
    found: dict[tuple[str, ...], float] = {}
    for series in told.series:
        if series.labels.get(_PART) == part:
            key = tuple(series.labels.get(name, "") for name in labels)
            found[key] = found.get(key, 0.0) + series.points[max(series.points)]
    return found


def _whole(counts: Mapping[tuple[str, ...], float], first: str) -> dict[str, int]:
    """Those of one name, by what comes second; without those that are none."""
    return {key[1]: round(count) for key, count in sorted(counts.items()) if key[0] == first and round(count)}


def _pools(told: Told) -> list[PoolTrafficOut]:
    errors, refused = _counts(told, "pool_errors", "pool"), _counts(told, "pool_refused", "pool", "cause")
    retries, attempts = _counts(told, "retries", "pool"), _counts(told, "attempts", "pool")
    return [
        PoolTrafficOut(
            pool=pool,
            requests=round(count),
            errors=round(errors.get((pool,), 0.0)),
            retries=round(retries.get((pool,), 0.0)),
            attempts_failed=round(attempts.get((pool,), 0.0)),
            refused=_whole(refused, pool),
        )
        for (pool,), count in _by_count(_counts(told, "pool", "pool"))
    ]


def _plans(told: Told) -> list[PlanTrafficOut]:
    classes, tokens = _counts(told, "plan", "plan", "code_class"), _counts(told, "plan_tokens", "plan")
    refused = _counts(told, "plan_refused", "plan", "cause")
    return [
        PlanTrafficOut(
            plan=plan,
            requests=round(count),
            by_class=_whole(classes, plan),
            tokens=round(tokens.get((plan,), 0.0)),
            refused=_whole(refused, plan),
        )
        for (plan,), count in _by_count(_counts(told, "plan", "plan"))
    ]


def _keys(told: Told, names: Mapping[str, ApiKey] | None) -> list[KeyTrafficOut]:
    """`names` None: they are nothing for whoever asks."""
    classes, tokens = _counts(told, "keys", "key", "code_class"), _counts(told, "key_tokens", "key")
    plans = {key: plan for key, plan in _counts(told, "keys", "key", "plan")}  # noqa: C416  dict() would copy it
    return [
        KeyTrafficOut(
            key=key,
            name=names[key].name if names and key in names else None,
            plan=None if names is None else plans.get(key, ""),
            requests=round(count),
            by_class=_whole(classes, key),
            tokens=round(tokens.get((key,), 0.0)),
        )
        for (key,), count in _by_count(_counts(told, "keys", "key"))
    ]


def _rest(told: Told) -> CountOut:
    """All keys without those that are told of; rounded last, so that what a rate leaves over is no other key's."""
    named = _counts(told, "keys", "code_class")
    left = {name: count - named.get((name,), 0.0) for (name,), count in _counts(told, "all_keys", "code_class").items()}
    by_class = {name: count for name, value in sorted(left.items()) if (count := max(round(value), 0))}
    return CountOut(requests=sum(by_class.values()), by_class=by_class)


def _caches(told: Told) -> list[CacheTrafficOut]:
    results = _counts(told, "cache", "layer", "result")
    found = []
    for (layer,), asked in _by_count(_counts(told, "cache", "layer")):
        hits = results.get((layer, "hit"), 0.0)
        ratio = round(hits / asked, 4) if asked else None
        found.append(
            CacheTrafficOut(layer=layer, asked=round(asked), by_result=_whole(results, layer), hit_ratio=ratio)
        )
    return found


def quotas_of(sources: Sources) -> list[QuotaOut]:
    """Of the keys that are blocked, and of those that used most tokens today."""
    access, now = sources.access(), sources.now()
    if not access.counted:
        return []
    usage, blocks = access.quota.usage, access.quota.blocks
    most = sorted(usage, key=lambda key: (key not in blocks, -usage[key].today(now)))[:MOST_KEYS]
    names = _names(sources, most)
    return [_quota(sources, access.quota, names.get(key), key, now) for key in most]


def _quota(sources: Sources, quota: QuotaMemory, known: ApiKey | None, key: KeyId, now: datetime) -> QuotaOut:
    plan = known.plan if known else None
    limits = sources.offer.plans.get(plan or "", TokenLimits())
    used, block = quota.usage[key], quota.blocks.get(key)
    return QuotaOut(
        key=key,
        name=known.name if known else None,
        plan=plan,
        tokens_today=round(used.today(now)),
        per_day=limits.per_day,
        tokens_last_minute=round(used.last_minute(now)),
        per_minute=limits.per_minute,
        blocked=block.why.value if block else "",
    )


def _names(sources: Sources, keys: Iterable[str]) -> dict[str, ApiKey]:
    """The keys with these ids, as far as there are such; none of a controller that stands by, or while the
    database is away."""
    wanted = [KeyId(key) for key in keys if key]
    try:
        found = sources.keys.find_keys(limit=len(wanted), ids=wanted) if wanted else ()
    except (LostLease, TransientError):
        return {}
    return {key.id: key for key in found}


def _busiest(told: Told) -> dict[str, list[float | None]]:
    """The pools with most requests, and the others together as the pool without a name."""
    columns = _columns(told, "requests", "pool")
    ranked = sorted(columns, key=lambda pool: -sum(value or 0.0 for value in columns[pool]))
    first, others = ranked[:_MOST_POOLS], [columns[pool] for pool in ranked[_MOST_POOLS:]]
    kept = {pool: columns[pool] for pool in first}
    if others:
        kept[""] = [_added(values) for values in zip(*others, strict=True)]
    return kept


def _added(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _columns(told: Told, part: str, label: str) -> dict[str, list[float | None]]:
    return {name: list(column) for (kind, name), column in told.columns(_PART, label).items() if kind == part}


def _by_count(counts: Mapping[Any, float]) -> list[tuple[Any, float]]:
    order: Callable[[tuple[Any, float]], Any] = lambda item: (-item[1], item[0])  # noqa: E731
    return sorted(((key, count) for key, count in counts.items() if count > 0), key=order)
