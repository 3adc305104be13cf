"""PromQL that more than one board asks."""

from __future__ import annotations

from dashboards.grafana.frame import Event, Variable, choice
from dashboards.grafana.panels import WARN

POOL = 'pool=~"$pool"'
SERVING = 'state=~"ready|suspect"'
# Where a count has no series as long as nothing of its kind happened, it is 0 as long as its source speaks.
CONTROLLER = "0 * max(stoker_controller_last_tick_timestamp_seconds)"
EDGE = "0 * sum(stoker_edge_log_lines_total)"
FLOOR = f"max by (pool) (stoker_pool_floor_replicas{{{POOL}}})"
CEILING = f"max by (pool) (stoker_pool_ceiling_replicas{{{POOL}}})"
IN_FLIGHT = f"sum by (pool) (stoker_edge_requests_in_flight{{{POOL}}})"
FIRING = 'alertname=~"Stoker.+", alertstate="firing"'


def desired(selector: str = POOL) -> str:
    """Replicas that each pool is to have."""
    return f"max by (pool) (stoker_pool_desired_replicas{{{selector}}})"


def replicas(state: str, selector: str = POOL) -> str:
    """Replicas of each pool in these states; 0 where a pool has none."""
    return f"sum by (pool) (stoker_pool_replicas{{{selector}, {state}}}) or 0 * {desired(selector)}"


def threshold(signal: str, more: str = "", by: str = "pool") -> str:
    """The pool's own value, above which it is too much. Ratios, or seconds."""
    return f'max by ({by}) (stoker_pool_threshold{{{POOL}, signal="{signal}"{more}}})'


def share(part: str, whole: str, by: str = "") -> str:
    """What part of the whole, both sums; absent where there is no whole, and 0 where there is no part of it."""
    grouped = f" by ({by})" if by else ""
    return f"(sum{grouped} ({part}) or 0 * sum{grouped} ({whole})) / (sum{grouped} ({whole}) > 0)"


def quantile(share_of_all: float, buckets: str, by: str, selector: str = POOL) -> str:
    """A quantile of a histogram of the edge exporter within the rate's window."""
    name = f"stoker_edge_{buckets}_bucket{{{selector}}}"
    return f"histogram_quantile({share_of_all}, sum by ({by}, le) (rate({name}[$__rate_interval])))"


def pools() -> tuple[Variable, Variable]:
    """The models, and the pools that serve them."""
    return (
        choice("model", "Model", "label_values(stoker_pool_info, model)"),
        choice("pool", "Pool", 'label_values(stoker_pool_info{model=~"$model"}, pool)'),
    )


def marks(selector: str = POOL) -> tuple[Event, Event]:
    """When a pool's size was changed, and why; and when alerts fired."""
    changed = f"changes(stoker_pool_desired_replicas{{{selector}}}[$__rate_interval]) > 0"
    why = f"max by (pool, reason) (stoker_pool_reason{{{selector}}})"
    decided = f"{why} and on (pool) {changed} or max by (pool) ({changed}) unless on (pool) {why}"
    return (
        Event(decided, "{{pool}} was scaled", "{{reason}}", name="Decisions", color=WARN),
        Event(f"ALERTS{{{FIRING}, {selector}}}", "{{alertname}}", "{{severity}} {{pool}}", name="Alerts"),
    )
