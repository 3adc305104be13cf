"""Telemetry: one line and one count for each event; a failure that repeats is told once a minute."""

from __future__ import annotations

import io
from datetime import timedelta

from prometheus_client import generate_latest

from controller.adapters.telemetry import Telemetry
from controller.core.event import Event
from controller.core.model import PoolName
from controller.ports import TickReport
from tests.fakes.clock import START

LLAMA = PoolName("llama")


def failed(seconds: float, message: str = "no such image") -> Event:
    at = START + timedelta(seconds=seconds)
    return Event(at, "start_replica_failed", "replica/llama-1", "RuntimeRejected", message)


def test_an_event_is_one_logfmt_line() -> None:
    stream = io.StringIO()
    numbers = {"from": 4, "to": 6, "in_flight": 80.0}
    event = Event(START, "pool_scaled", "pool/llama", "AboveTarget", 'Went "up".', numbers, 1842, 7)
    Telemetry(stream).emit([event])

    assert stream.getvalue() == (
        "ts=2026-01-05T12:00:00.000Z event=pool_scaled subject=pool/llama reason=AboveTarget "
        'from=4 to=6 in_flight=80 tick=1842 term=7 msg="Went \\"up\\"."\n'
    )


def test_a_failure_that_repeats_is_told_once_a_minute_with_its_count() -> None:
    stream = io.StringIO()
    telemetry = Telemetry(stream)
    for second in range(0, 62, 2):
        telemetry.emit([failed(second)])
    telemetry.emit([failed(63, "the disk is full")])

    first, again, other = stream.getvalue().splitlines()
    assert "repeated" not in first
    assert again.endswith("repeated=29")
    assert "the disk is full" in other
    counted = telemetry.registry.get_sample_value(
        "stoker_controller_events_total", {"event": "start_replica_failed", "reason": "RuntimeRejected"}
    )
    assert counted == 32


def test_a_report_sets_the_metrics_and_forgets_the_pools_that_are_gone() -> None:
    telemetry = Telemetry(io.StringIO())
    telemetry.report(
        TickReport(
            at=START,
            seconds=0.02,
            failed=False,
            unknown=("metrics",),
            changed_gateway=True,
            desired={LLAMA: 3},
            states={(LLAMA, "ready"): 3},
            wanted={(LLAMA, "in_flight"): 2},
            standing=frozenset({(LLAMA, "AtFloor")}),
        )
    )
    sample = telemetry.registry.get_sample_value
    assert sample("stoker_pool_desired_replicas", {"pool": "llama"}) == 3
    assert sample("stoker_pool_replicas", {"pool": "llama", "state": "ready"}) == 3
    assert sample("stoker_pool_wanted_replicas", {"pool": "llama", "signal": "in_flight"}) == 2
    assert sample("stoker_pool_reason", {"pool": "llama", "reason": "AtFloor"}) == 1
    assert sample("stoker_controller_source_unknown", {"source": "metrics"}) == 1
    assert sample("stoker_controller_gateway_reloads_total") == 1
    assert sample("stoker_controller_last_tick_timestamp_seconds") == START.timestamp()

    telemetry.report(TickReport(START + timedelta(seconds=2), 0.5, True, (), False))
    assert sample("stoker_pool_desired_replicas", {"pool": "llama"}) is None
    assert sample("stoker_controller_ticks_failed_total") == 1
    assert sample("stoker_controller_last_tick_timestamp_seconds") == START.timestamp()
    assert b"stoker_controller_tick_seconds_count 2.0" in generate_latest(telemetry.registry)
