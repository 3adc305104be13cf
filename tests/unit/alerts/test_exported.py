"""Every metric that a rule, an alert, a board or a tick asks for is exported by somebody."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.api.history_promql import NUMBERS as COLUMNS
from controller.api.history_promql import question as pools_over_time
from controller.api.marks import alerts_query
from controller.api.traffic import asked_by_traffic
from controller.core.timeline import axis
from controller.reconcile.queries import NUMBERS, question
from tests.unit.alerts import exported
from tests.unit.alerts.promql import is_plain, names
from tests.unit.exporters.test_edge_serve import Gateway
from tests.unit.exporters.test_edge_serve import gateway as gateway

ROOT = Path(__file__).parents[3]
BOARDS = ROOT / "dashboards/grafana/json"

# What programs export that are not ours, and that the tests do not run.
# - vLLM: docs.vllm.ai/en/latest/usage/metrics; of older versions vllm/engine/metrics.py (`gpu_cache_usage_perc`,
#   `gpu_prefix_cache_*`, and counters without `_total`).
# - SGLang: docs.sglang.ai/references/production_metrics.
# - llama.cpp: tools/server/README.md, GET /metrics.
FOREIGN = {
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:num_requests_waiting_by_reason",
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
    "vllm:generation_tokens",
    "vllm:generation_tokens_total",
    "vllm:prefix_cache_hits_total",
    "vllm:prefix_cache_queries_total",
    "vllm:gpu_prefix_cache_hits_total",
    "vllm:gpu_prefix_cache_queries_total",
    "vllm:time_to_first_token_seconds_bucket",
    "sglang:num_running_reqs",
    "sglang:num_queue_reqs",
    "sglang:token_usage",
    "sglang:generation_tokens_total",
    "sglang:cache_hit_rate",
    "sglang:time_to_first_token_seconds_bucket",
    "llamacpp:requests_processing",
    "llamacpp:requests_deferred",
    "llamacpp:kv_cache_usage_ratio",
    "llamacpp:tokens_predicted_total",
}
# Prometheus makes these itself: of each scrape, and of each alert.
PROMETHEUS = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "ALERTS", "ALERTS_FOR_STATE"}


def rules() -> Iterator[dict[str, Any]]:
    """Of all files."""
    for file in sorted((ROOT / "alerts/rules").glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from group["rules"]


def asked_by_rules() -> Iterator[tuple[str, str]]:
    """A name, and who asks for it: by its expression, or to complete an alert's text."""
    for rule in rules():
        whose = rule.get("record") or rule["alert"]
        for name in names(rule["expr"]):
            yield name, f"rule {whose}"
        for text in rule.get("annotations", {}).values():
            for query in re.findall(r'printf\s+"([^"]*\{[^"]*)"', text):
                for name in names(query):
                    yield name, f"text of {whose}"


def asked_by_boards() -> Iterator[tuple[str, str]]:
    """Of all panels, variables and annotations."""
    for file in sorted(BOARDS.glob("*.json")):
        for expression in _expressions(json.loads(file.read_text())):
            for name in names(expression):
                yield name, file.name


def _expressions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "expr" and isinstance(value, str):
                yield value
            elif key in ("query", "definition") and isinstance(value, str) and value.startswith("label_values("):
                yield value.removeprefix("label_values(").rpartition(",")[0]
            else:
                yield from _expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from _expressions(value)


def asked_by_ticks() -> Iterator[tuple[str, str]]:
    """With every signal enabled."""
    for name in names(question(NUMBERS)):
        yield name, "the question of a tick"


def asked_by_pages() -> Iterator[tuple[str, str]]:
    """For the last minutes, and for weeks."""
    for span in (timedelta(minutes=15), timedelta(days=30)):
        drawn = axis(0, span.total_seconds())
        asked = (pools_over_time(COLUMNS, drawn, "small"), alerts_query("small"), *asked_by_traffic(span, drawn))
        for promql in asked:
            for name in names(promql.replace("$w", "5s")):
                yield name, f"the pages, for {span}"


@pytest.fixture
def known(gateway: Gateway) -> set[str]:
    """Exported, recorded, or Prometheus' own."""
    ours = exported.of_controller() | exported.of_edge(gateway) | exported.of_launcher() | exported.of_gpus()
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    return ours | exported.of_hot_cache() | recorded | FOREIGN | PROMETHEUS


@pytest.mark.parametrize("asked", [asked_by_rules, asked_by_boards, asked_by_ticks, asked_by_pages])
def test_what_is_asked_for_is_exported(known: set[str], asked: Any) -> None:
    wanted = list(asked())
    missing = {f"{name}, asked for by {whose}" for name, whose in wanted if not _is_known(name, known)}

    assert len(wanted) > 20, "the test has found what is asked for"
    assert missing == set()


def _is_known(name: str, known: set[str]) -> bool:
    return name in known if is_plain(name) else any(re.fullmatch(name, one) for one in known)


def test_what_others_export_is_asked_for(known: set[str]) -> None:
    """The table has nothing that nobody needs."""
    wanted = {name for asked in (asked_by_rules, asked_by_boards, asked_by_ticks) for name, _ in asked()}

    assert FOREIGN - wanted == set()


def test_a_name_that_nobody_exports_is_found(known: set[str]) -> None:
    assert not _is_known("stoker_pool_replicas_total", known)
    assert _is_known("stoker:replica_.+_ratio", known)
    assert not _is_known("stoker:gpu_.+_ratio", known)


def test_the_names_are_found_where_they_stand() -> None:
    """Of a recorded series, an alert, its text, a board and a variable of a board."""
    by_rules, by_boards = set(asked_by_rules()), {name for name, _ in asked_by_boards()}

    assert ("stoker_pool_threshold", "rule stoker:pool_threshold") in by_rules
    assert ("stoker_pool_cold_start_seconds", "text of StokerColdStartSlow") in by_rules
    assert {"stoker_pool_info", "node_load1", "stoker_edge_requests_total"} <= by_boards
