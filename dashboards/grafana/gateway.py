"""Gateway: who asks, what is refused and why, what is kept, and what waits."""

from __future__ import annotations

from dashboards.grafana.frame import Board, Panel, Row, choice
from dashboards.grafana.panels import Query, Steps, Text, bars, grid, lines, number
from dashboards.grafana.queries import EDGE, POOL, quantile, share

_PLAN = f'{POOL}, plan=~"$plan"'
_WINDOW = "[$__rate_interval]"
_KEY_REQUESTS = f"stoker_edge_key_requests_total{{{_PLAN}}}"


def board() -> Board:
    """Stoker / Gateway."""
    return Board(
        "stoker-gateway",
        "Stoker / Gateway",
        "Who asks, what is refused and why, what is kept, and what waits.",
        (
            choice("pool", "Pool", "label_values(stoker_edge_requests_total, pool)", all_value=".*"),
            choice("plan", "Plan", "label_values(stoker_edge_key_requests_total, plan)", all_value=".*"),
        ),
        (
            Row("Requests", (_requests(), _plans(), _in_flight(), _waiting())),
            Row("Keys", (_keys(), _tokens(), _latency())),
            Row("Refusals and caches", (_refusals(), _caches())),
            Row("Below the surface", (_attempts(), _lost(), _malformed(), _exporters())),
        ),
    )


def _requests() -> Panel:
    text = Text(
        "How many requests come, and how do they end?", "Requests in a second by pool and class of status.", "reqps"
    )
    by_class = f"sum by (pool, code_class) (rate({_KEY_REQUESTS}{_WINDOW}))"
    return lines(text, Query(by_class, "{{pool}} {{code_class}}"), stacked=True)


def _plans() -> Panel:
    text = Text(
        "Which plans ask most?", "Requests in a second by the plan of the key; without a name: no plan.", "reqps"
    )
    by_plan = f"sum by (plan) (rate({_KEY_REQUESTS}{_WINDOW}))"
    return lines(text, Query(by_plan, "plan {{plan}}"), stacked=True)


def _in_flight() -> Panel:
    text = Text("How many requests are in flight?", "Taken and not yet finished, by pool and by plan.", "none")
    pools = f"sum by (pool) (stoker_edge_requests_in_flight{{{POOL}}})"
    plans = 'sum by (plan) (stoker_edge_plan_requests_in_flight{plan=~"$plan"})'
    return lines(text, Query(pools, "{{pool}}"), Query(plans, "plan {{plan}}"))


def _waiting() -> Panel:
    text = Text("How many requests wait?", "Requests for which the pool has no room, or no replica yet.", "none")
    return lines(text, Query(f"sum by (pool) (stoker_edge_requests_waiting{{{POOL}}})", "{{pool}}"))


def _keys() -> Panel:
    text = Text(
        "Which keys ask most?", "The twenty keys with most requests in the range; without a name: no key.", "none", 24
    )
    top = f"topk(20, sum by (key, plan) (increase({_KEY_REQUESTS}[$__range])))"
    failed = f'sum by (key, plan) (increase(stoker_edge_key_requests_total{{{_PLAN}, code_class="4xx"}}[$__range]))'
    tokens = f"sum by (key, plan) (increase(stoker_edge_tokens_total{{{_PLAN}}}[$__range]))"
    of_those = f"and on (key, plan) {top}"
    columns = {"requests": Query(top), "4xx": Query(f"{failed} {of_those}"), "tokens": Query(f"{tokens} {of_those}")}
    return grid(text, columns, dict.fromkeys(columns, "short"), ("key", "plan"))


def _tokens() -> Panel:
    text = Text("Which plans use most tokens?", "Tokens that engines read and wrote in a second, by plan.", "short")
    tokens = f"sum by (plan, direction) (rate(stoker_edge_tokens_total{{{_PLAN}}}{_WINDOW}))"
    return lines(text, Query(tokens, "plan {{plan}} {{direction}}"))


def _latency() -> Panel:
    text = Text("How long do plans wait for the first byte?", "The 95th percentile of the requests not refused.", "s")
    return lines(text, Query(quantile(0.95, "key_time_to_first_byte_seconds", "plan", _PLAN), "plan {{plan}}"))


def _refusals() -> Panel:
    text = Text("What is refused, and why?", "Requests that the gateway refused itself, by the cause.", "none")
    refused = f"sum by (cause) (increase(stoker_edge_refusals_total{{{_PLAN}}}{_WINDOW}))"
    return bars(text, Query(refused, "{{cause}}"))


def _caches() -> Panel:
    text = Text(
        "How often is an answer kept?",
        "Share of the requests that a cache was asked for and answered, by its layer: nginx's own, or the shared one.",
        "percentunit",
    )
    hits = f'rate(stoker_edge_cache_requests_total{{{POOL}, result="hit"}}{_WINDOW})'
    asked = f"rate(stoker_edge_cache_requests_total{{{POOL}}}{_WINDOW})"
    return lines(text, Query(share(hits, asked, "layer"), "{{layer}}"), most=1)


def _attempts() -> Panel:
    text = Text(
        "Which replicas were tried in vain?",
        "Attempts that were refused, reset or timed out before the first byte, and went to another replica.",
        "none",
    )
    failed = f"sum by (pool, replica) (increase(stoker_edge_attempts_failed_total{{{POOL}}}{_WINDOW}))"
    return bars(text, Query(failed, "{{pool}} {{replica}}"))


def _lost() -> Panel:
    text = Text(
        "Lines of the log lost",
        "Lines of the range that the exporter was too slow to take: what they told is in no number here.",
        "none",
        width=4,
    )
    return number(text, Query("sum(increase(stoker_edge_log_lines_lost_total[$__range]))", "lines"), steps=Steps(1, 1))


def _malformed() -> Panel:
    text = Text("Lines that are none", "Lines of the range that are no line of the gateway's log.", "none", width=4)
    malformed = "sum(increase(stoker_edge_log_lines_malformed_total[$__range]))"
    return number(text, Query(malformed, "lines"), steps=Steps(1, 1))


def _exporters() -> Panel:
    text = Text("Edge exporters scraped", "Gateways whose exporter Prometheus could ask just now.", "none", width=4)
    return number(text, Query(f'sum(up{{job="edge"}}) + {EDGE}', "exporters"), steps=Steps(1, 0.5))
