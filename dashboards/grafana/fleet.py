"""Fleet: whether all pools keep their promises, what alerts say, and what it costs."""

from __future__ import annotations

from dashboards.grafana.frame import Board, Panel, Row, entry
from dashboards.grafana.panels import Query, Steps, Text, alerts, grid, lines, number
from dashboards.grafana.queries import (
    FIRING,
    FLOOR,
    IN_FLIGHT,
    POOL,
    SERVING,
    desired,
    marks,
    pools,
    replicas,
    share,
    threshold,
)

_REQUESTS = f"increase(stoker_edge_requests_total{{{POOL}}}[$__range])"
_ERRORS = f'increase(stoker_edge_requests_total{{{POOL}, code=~"5.."}}[$__range])'
_FIRST_BYTES = f"increase(stoker_edge_pool_time_to_first_byte_seconds_count{{{POOL}}}[$__range])"
_BUCKETS = f"increase(stoker_edge_pool_time_to_first_byte_seconds_bucket{{{POOL}}}[$__range])"
_SOON = f'increase(stoker_edge_pool_time_to_first_byte_seconds_bucket{{{POOL}, le="0.5"}}[$__range])'
_TOKENS_OUT = f'increase(stoker_edge_tokens_total{{{POOL}, direction="out"}}[$__range])'
# A replica counts as one GPU, unless the GPU exporter says that its pool uses more.
_HELD = f'sum by (pool) (stoker_pool_replicas{{{POOL}, state!="stopped"}})'
_USED = f"count by (pool) (count by (pool, UUID) (DCGM_FI_DEV_FB_FREE{{{POOL}}}))"
_GPUS = f"({_USED} > {_HELD} or {_HELD})"
_GPU_HOURS = f"sum by (pool) (sum_over_time({_GPUS}[$__range:1m])) / 60"
_SINCE = f"(time() - ALERTS_FOR_STATE) and ignoring (alertstate) ALERTS{{{FIRING}}}"


def board() -> Board:
    """Stoker / Fleet."""
    return Board(
        "stoker-fleet",
        "Stoker / Fleet",
        "Whether all pools keep their promises, what alerts say, and what it costs.",
        (*pools(), entry("price", "Price of a GPU-hour", "2.00")),
        (
            Row("Is all well?", (_below_floor(), _answered(), _soon(), *_firing(), _cost_now())),
            Row("Pools", (_promises(), _demand(), _sizes())),
            Row("Alerts", (_alert_table(), _alert_groups())),
            Row("What it costs", (_gpu_hours(), _cost(), _cost_of_tokens())),
        ),
        marks(),
    )


def _below_floor() -> Panel:
    text = Text(
        "Pools below their floor", "Pools of which fewer replicas serve than they are never to go below.", "none"
    )
    return number(text.sized(4, 4), Query(f"sum({FLOOR} > bool ({replicas(SERVING)}))", "pools"), steps=Steps(1, 1))


def _answered() -> Panel:
    text = Text(
        "Requests without an error", "Share of the requests of the range that did not end with 5xx.", "percentunit"
    )
    return number(text.sized(4, 4), Query(f"1 - {share(_ERRORS, _REQUESTS)}", "answered"), steps=Steps(0.999, 0.99))


def _soon() -> Panel:
    text = Text("First byte within 0.5 s", "Share of the answers of the range that began within 0.5 s.", "percentunit")
    return number(text.sized(4, 4), Query(share(_SOON, _FIRST_BYTES), "within 0.5 s"), steps=Steps(0.99, 0.95))


def _firing() -> tuple[Panel, Panel]:
    def panel(severity: str) -> Panel:
        text = Text(f"Alerts: {severity}", f"Alerts of severity {severity} that fire now.", "none").sized(4, 4)
        firing = f'count(ALERTS{{{FIRING}, severity="{severity}"}}) or vector(0)'
        return number(text, Query(firing, severity), steps=Steps(1, 1))

    return panel("critical"), panel("warning")


def _cost_now() -> Panel:
    text = Text(
        "Cost of an hour", "What all GPUs that hold replicas now cost in an hour, in the currency of the price.", "none"
    ).sized(4, 4)
    return number(text, Query(f"sum({_GPUS}) * $price", "an hour"), decimals=2)


def _promises() -> Panel:
    text = Text(
        "Does each pool keep its promise?",
        "For each pool, over the range; the budget is what its threshold for errors allows, all of it spent at 100 %.",
        "none",
        width=24,
    )
    used = f"sum by (pool) ({_ERRORS}) or 0 * sum by (pool) ({_REQUESTS})"
    columns = {
        "desired": Query(desired()),
        "serving": Query(replicas(SERVING)),
        "in flight": Query(IN_FLIGHT),
        "without error": Query(f"1 - {share(_ERRORS, _REQUESTS, 'pool')}"),
        "budget spent": Query(f"({used}) / (sum by (pool) ({_REQUESTS}) * {threshold('errors')} > 0)"),
        "first byte p95": Query(f"histogram_quantile(0.95, sum by (pool, le) ({_BUCKETS}))"),
    }
    units = {"without error": "percentunit", "budget spent": "percentunit", "first byte p95": "s"}
    return grid(text, columns, units, ("pool",))


def _demand() -> Panel:
    text = Text("How much is asked of each pool?", "Requests that the gateway has taken and not yet finished.", "none")
    return lines(text, Query(IN_FLIGHT, "{{pool}}"))


def _sizes() -> Panel:
    text = Text("How many replicas serve?", "Replicas that get requests, and how many the pool is to have.", "none")
    return lines(text, Query(replicas(SERVING), "{{pool}} serving"), Query(desired(), "{{pool}} desired"))


def _alert_table() -> Panel:
    text = Text(
        "Which alerts fire, and since when?", "Alerts that fire now, and for how long their cause has been there.", "s"
    )
    since = f"max by (alertname, severity, pool, node, replica) ({_SINCE})"
    return grid(text, {"for": Query(since)}, {"for": "s"}, ("alertname", "severity", "pool", "node", "replica"))


def _alert_groups() -> Panel:
    return alerts(
        Text(
            "What does Alertmanager hold?",
            "Alerts in Alertmanager's groups, with those that are silenced; empty where no Alertmanager runs.",
            "none",
        )
    )


def _gpu_hours() -> Panel:
    text = Text(
        "GPU-hours",
        "For how many hours GPUs held each pool's replicas; one GPU for a replica, or more where the "
        "GPU exporter says so.",
        "none",
        width=8,
    )
    return number(text, Query(_GPU_HOURS, "{{pool}}"), decimals=2)


def _cost() -> Panel:
    text = Text("Cost", "The same, times the price that stands at the top of the board.", "none", width=8)
    return number(text, Query(f"{_GPU_HOURS} * $price", "{{pool}}"), decimals=2)


def _cost_of_tokens() -> Panel:
    text = Text(
        "Cost of a million tokens",
        "That cost for each million tokens that engines wrote in the range; absent where there were none.",
        "none",
        width=8,
    )
    written = f"(sum by (pool) ({_TOKENS_OUT}) / 1e6 > 0)"
    return number(text, Query(f"{_GPU_HOURS} * $price / {written}", "{{pool}}"), decimals=2)
