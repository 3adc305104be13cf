"""`costs`, and how long metrics are kept."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from controller.core.costs import Prices
from controller.installation import Layout
from controller.settings import ConfigError, parse
from controller.stack import prometheus

POOL = "pools:\n  - {name: small, model: small, checkpoint: m.gguf}\n"
DEAR = "  - {name: large, model: large, checkpoint: m.gguf, costs: {gpu_hour: 4}}\n"


def test_prices_of_all_pools_and_of_one() -> None:
    costs = parse(f"{POOL}{DEAR}costs: {{gpu_hour: 2.50, replica_hour: 0.40, currency: EUR}}\n", "c.yaml").prices()

    assert (costs.of("small"), costs.of("large")) == (Prices(2.5, 0.4), Prices(4.0, 0.4))
    assert costs.currency == "EUR"
    assert not parse(POOL, "c.yaml").prices().of("small").known


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("costs: {gpu_hour: -1}", "greater than or equal to 0"),
        ("costs: {gpu_hour: .inf}", "finite"),
        ("costs: {currency: Dollar}", "'Dollar' is no currency; write three capital letters, such as USD"),
        ("costs: {gpu_hours: 1}", "did you mean `gpu_hour`?"),
        ("controller: {metrics_retention: 1h}", "greater than or equal to"),
        ("controller: {metrics_retention_size: 8}", "8 is no size; write a number with its unit"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(f"{POOL}{text}\n", "c.yaml")
    assert said in str(refused.value)


def test_prometheus_keeps_what_it_is_told_to() -> None:
    settings = parse(POOL + "controller: {metrics_retention: 2d, metrics_retention_size: 1GiB}\n", "c.yaml")
    command = prometheus.program(settings, Layout(Path("/srv/stoker"))).command

    assert settings.controller.metrics_retention == timedelta(days=2)
    assert {"--storage.tsdb.retention.time=172800s", "--storage.tsdb.retention.size=1073741824B"} <= set(command)
