"""Controller: whether it looks and acts in time, what it decided and why, and who leads."""

from __future__ import annotations

from dashboards.grafana.frame import Board, Panel, Row
from dashboards.grafana.panels import BAD, GOOD, Query, Steps, Text, bars, heat, lines, number, states
from dashboards.grafana.queries import CONTROLLER, marks, pools, replicas

_WINDOW = "[$__rate_interval]"
_TICKS = "stoker_controller_tick_seconds"
_DECISIONS = "pool_scaled|replica_(started|recycled|drained|terminated|removed)"


def board() -> Board:
    """Stoker / Controller."""
    return Board(
        "stoker-controller",
        "Stoker / Controller",
        "Whether the controller looks and acts in time, what it decided and why, and who leads.",
        pools(),
        (
            Row("Does it work?", (_age(), _leaders(), _failed(), _unknown(), _refused(), _reloads())),
            Row("Ticks", (_durations(), _rate(), _heat(), _process())),
            Row("Decisions", (_decisions(), _events(), _drains(), _sources())),
            Row("Lead and alerts", (_leader(), _alerts())),
        ),
        marks(),
    )


def _age() -> Panel:
    text = Text("Last good tick", "How long ago the controller last looked at everything and acted.", "s").sized(4, 4)
    age = "time() - max(stoker_controller_last_tick_timestamp_seconds)"
    return number(text, Query(age, "ago"), steps=Steps(10, 30), decimals=1)


def _leaders() -> Panel:
    text = Text("Controllers that lead", "One leads, the others stand by.", "none").sized(4, 4)
    return number(text, Query("sum(stoker_controller_leader)", "leaders"), steps=Steps(1, 0.5))


def _failed() -> Panel:
    text = Text("Ticks that failed", "Ticks of the range that ended in an error.", "none").sized(4, 4)
    failed = "sum(increase(stoker_controller_ticks_failed_total[$__range]))"
    return number(text, Query(failed, "failed"), steps=Steps(1, 10), decimals=0)


def _unknown() -> Panel:
    text = Text("Sources that are silent", "What the controller could not read in its last tick.", "none").sized(4, 4)
    silent = f"sum(stoker_controller_source_unknown) or {CONTROLLER}"
    return number(text, Query(silent, "silent"), steps=Steps(1, 1))


def _refused() -> Panel:
    text = Text("Configurations refused", "1 while nginx does not take the newest configuration.", "none").sized(4, 4)
    return number(text, Query("max(stoker_controller_gateway_refused)", "refused"), steps=Steps(1, 1))


def _reloads() -> Panel:
    text = Text("Reloads of nginx", "Configurations that nginx took in the range.", "none").sized(4, 4)
    reloads = "sum(increase(stoker_controller_gateway_reloads_total[$__range]))"
    return number(text, Query(reloads, "reloads"), decimals=0)


def _durations() -> Panel:
    text = Text("How long does a tick take?", "From the first look to the last act.", "s")
    buckets = f"sum by (le) (rate({_TICKS}_bucket{_WINDOW}))"
    measured = (
        Query(f"histogram_quantile({share}, {buckets})", name)
        for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )
    return lines(text, *measured)


def _rate() -> Panel:
    text = Text("How often does it look?", "Ticks in a second, and those of them that failed.", "cps")
    return lines(
        text,
        Query(f"sum(rate({_TICKS}_count{_WINDOW}))", "all"),
        Query(f"sum(rate(stoker_controller_ticks_failed_total{_WINDOW}))", "failed"),
    )


def _heat() -> Panel:
    text = Text("How are the ticks' durations spread?", "Ticks by how long they took.", "s")
    return heat(text, f"sum by (le) (increase({_TICKS}_bucket{_WINDOW}))")


def _process() -> Panel:
    text = Text("What does the controller itself need?", "Its share of one processor.", "percentunit")
    used = f'sum by (instance) (rate(process_cpu_seconds_total{{job="controller"}}{_WINDOW}))'
    return lines(text, Query(used, "{{instance}}"))


def _decisions() -> Panel:
    text = Text("What was decided, and why?", "Decisions that were carried out, with the reason that counted.", "none")
    decided = f'stoker_controller_events_total{{event=~"{_DECISIONS}"}}'
    return bars(text, Query(f"sum by (event, reason) (increase({decided}{_WINDOW}))", "{{event}} {{reason}}"))


def _events() -> Panel:
    text = Text("What else happened?", "All other events, failures among them.", "none")
    others = f'stoker_controller_events_total{{event!~"{_DECISIONS}"}}'
    return bars(text, Query(f"sum by (event) (increase({others}{_WINDOW}))", "{{event}}"))


def _drains() -> Panel:
    text = Text(
        "Which pools drain replicas?", "Replicas that get no more requests and finish those that they have.", "none"
    )
    return lines(text, Query(replicas('state="draining"'), "{{pool}}"))


def _sources() -> Panel:
    text = Text("What could not be read?", "Each source, for as long as it gave no answer.", "none")
    silent = (
        f'max by (source) (stoker_controller_source_unknown) or label_replace({CONTROLLER}, "source", "none", "", "")'
    )
    return states(text, Query(silent, "{{source}}"), BAD)


def _leader() -> Panel:
    text = Text("Who leads?", "Each controller, for as long as it led.", "none")
    return states(text, Query("max by (instance) (stoker_controller_leader)", "{{instance}}"), GOOD)


def _alerts() -> Panel:
    text = Text(
        "Which alerts were sent to it?", "Alerts that Alertmanager sent, and those that it had sent before.", "none"
    )
    return bars(
        text,
        Query(f"sum by (status) (increase(stoker_alerts_received_total{_WINDOW}))", "{{status}}"),
        Query(f"sum(increase(stoker_alerts_deduplicated_total{_WINDOW}))", "sent before"),
    )
