"""What the pages know of the past, put together."""

from __future__ import annotations

from controller.adapters.clock import SystemClock
from controller.adapters.prometheus import PrometheusHistory
from controller.api.kept_history import KeptHistory
from controller.wiring.parts import Given


def history_of(given: Given) -> KeptHistory:
    """On the Prometheus of this installation. Whoever makes it closes it."""
    reach, port = given.settings.controller.monitoring_reach, given.settings.ports.prometheus
    return KeptHistory(PrometheusHistory(f"http://{reach}:{port}"), SystemClock().now)
