"""The changed policy beside the live one, in words."""

from __future__ import annotations

import pytest

from controller.simulate.versus import Service, versus
from tests.unit.simulate.runs import OURS, run


@pytest.mark.parametrize(
    ("change", "service", "sentence"),
    [
        ({"replica_hours": 2.86}, Service.SAME, "The same service, with 12 % fewer replica-hours."),
        ({"slo_share": 0.9766, "replica_hours": 3.25}, Service.SAME, "The same service, with as many replica-hours."),
        (
            {"slo_share": 0.9957, "replica_hours": 6.5},
            Service.BETTER,
            "Better service (99.57 % of the requests within the SLO, not 97.57 %), with 100 % more replica-hours.",
        ),
        (
            {"slo_share": 0.5, "replica_hours": 3.23},
            Service.WORSE,
            "Worse service (50.00 % of the requests within the SLO, not 97.57 %), with 1 % fewer replica-hours.",
        ),
    ],
)
def test_in_words(change: dict[str, float], service: Service, sentence: str) -> None:
    found = versus(OURS, run("changed", **change))

    assert (found.service, found.sentence()) == (service, sentence)


def test_failures_are_counted_and_no_hours_are_no_base() -> None:
    found = versus(run("live", replica_hours=0.0), run("changed", failed=9, cut=1))

    assert (found.failed, found.hours_percent) == (5, None)
    assert "where the live policy had none" in found.sentence()
