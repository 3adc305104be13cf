"""What /metrics shows of the alerts that were told of."""

from __future__ import annotations

import io

import pytest

from controller.adapters.telemetry import Telemetry
from controller.core.alerts import HeardAlerts

RECEIVED, REPEATED = "stoker_alerts_received_total", "stoker_alerts_deduplicated_total"


def test_alerts_are_counted_by_status_from_the_beginning() -> None:
    telemetry = Telemetry(io.StringIO())

    def value(status: str) -> float | None:
        return telemetry.registry.get_sample_value(RECEIVED, {"status": status})

    assert [value(status) for status in ("firing", "resolved", "left_out")] == [0, 0, 0]
    telemetry.hear(HeardAlerts(firing=3, resolved=1, news=2, repeated=2, left_out=5))
    telemetry.hear(HeardAlerts(firing=1))
    assert [value(status) for status in ("firing", "resolved", "left_out")] == [4, 1, 5]
    assert telemetry.registry.get_sample_value(REPEATED) == pytest.approx(2)
