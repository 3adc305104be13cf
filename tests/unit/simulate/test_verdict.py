"""How Stoker compares, in words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from controller.simulate import verdict
from controller.simulate.score import Result
from tests.unit.simulate.runs import KPA, OURS, STATIC, run

MET = "Stoker met the SLO for 97.57 % of the requests with 3.25 replica-hours"
BY_STATIC = "static:4 for 99.99 % of the requests with 4.00 replica-hours (23 % more than Stoker)"
BY_KPA = "kpa for 50.00 % of the requests with 1.75 replica-hours"
CHEAP = run("hpa", replica_hours=1.625)
FREE = run("stoker", replica_hours=0.0)


@pytest.mark.parametrize(
    ("results", "text"),
    [
        pytest.param([OURS], f"{MET}.", id="alone"),
        pytest.param(
            [OURS, KPA], f"{MET}; kpa met it less often, for {BY_KPA.removeprefix('kpa for ')}.", id="one worse"
        ),
        pytest.param(
            [OURS, run("ray", slo_share=0.4), KPA],
            f"{MET}; all 2 others met it less often, most of all kpa, for {BY_KPA.removeprefix('kpa for ')}.",
            id="all worse",
        ),
        pytest.param([OURS, STATIC], f"{MET}; at least as often did {BY_STATIC}.", id="one better"),
        pytest.param(
            [OURS, STATIC, KPA],
            f"{MET}; at least as often did {BY_STATIC}; the other one met it less often.",
            id="one better, one worse",
        ),
        pytest.param(
            [OURS, STATIC, CHEAP],
            f"{MET}; at least as often did hpa for 97.57 % of the requests with 1.62 replica-hours "
            f"(50 % fewer than Stoker), {BY_STATIC}.",
            id="the cheapest first",
        ),
        pytest.param(
            [OURS, run("hpa", replica_hours=3.251)],
            f"{MET}; at least as often did hpa for 97.57 % of the requests with 3.25 replica-hours (as many).",
            id="the same",
        ),
        pytest.param(
            [FREE, OURS],
            "Stoker met the SLO for 97.57 % of the requests with 0.00 replica-hours; at least as often did stoker for "
            "97.57 % of the requests with 3.25 replica-hours (Stoker paid for none).",
            id="for nothing",
        ),
    ],
)
def test_sentence(results: Sequence[Result], text: str) -> None:
    assert verdict.sentence(results) == text
