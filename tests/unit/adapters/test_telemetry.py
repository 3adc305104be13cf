"""Telemetry: one line and one count for each event; a failure that repeats is told once a minute."""

from __future__ import annotations

import io
from datetime import timedelta

from prometheus_client import generate_latest

from controller.adapters.telemetry import Telemetry
from controller.core.event import Event
from controller.core.model import NodeName, PoolName, ReplicaId
from controller.ports import Threshold, TickReport
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


def report_at(seconds: float, **values: object) -> TickReport:
    return TickReport(START + timedelta(seconds=seconds), 0.1, False, (), False, **values)  # type: ignore[arg-type]


def test_what_the_alerts_need_of_a_report() -> None:
    telemetry = Telemetry(io.StringIO())
    telemetry.report(
        report_at(
            0,
            bounds={LLAMA: (3, 6)},
            targets={LLAMA: 4.0},
            gpus={LLAMA: 2},
            thresholds=(
                Threshold(LLAMA, "utilization", 0.85, of="gpu"),
                Threshold(LLAMA, "latency", 0.5, measure="first_byte", statistic="p95"),
            ),
            starting={(LLAMA, ReplicaId("llama-4")): 12.5},
            cold_starts={(LLAMA, "0.5"): 40.0},
            nodes={NodeName("a"): True, NodeName("b"): False},
            cordoned=frozenset({("a", "GPU-1", "GpuLost")}),
            gateway_refused=True,
            gateway_lags={"east": 2.5},
            certificate_ends={"gateway": START, "controller": START},
        )
    )
    lines = set(generate_latest(telemetry.registry).decode().splitlines())

    assert lines >= {
        'stoker_gpu_cordoned{UUID="GPU-1",node="a",reason="GpuLost"} 1.0',
        'stoker_pool_floor_replicas{pool="llama"} 3.0',
        'stoker_pool_ceiling_replicas{pool="llama"} 6.0',
        'stoker_pool_target_requests_in_flight{pool="llama"} 4.0',
        'stoker_pool_gpus{pool="llama"} 2.0',
        'stoker_pool_threshold{measure="",of="gpu",pool="llama",signal="utilization",statistic=""} 0.85',
        'stoker_pool_threshold{measure="first_byte",of="",pool="llama",signal="latency",statistic="p95"} 0.5',
        'stoker_replica_start_seconds{pool="llama",replica="llama-4"} 12.5',
        'stoker_pool_cold_start_seconds{pool="llama",quantile="0.5"} 40.0',
        'stoker_node_engine_answering{node="a"} 1.0',
        'stoker_node_engine_answering{node="b"} 0.0',
        "stoker_controller_gateway_refused 1.0",
        'stoker_gateway_lag_seconds{gateway="east"} 2.5',
    }
    sample = telemetry.registry.get_sample_value
    expiries = [f"stoker_{whose}_certificate_expiry_timestamp_seconds" for whose in ("gateway", "controller")]
    assert [sample(name) for name in expiries] == [START.timestamp()] * 2
    telemetry.report(report_at(2))
    assert [sample(name) for name in expiries] == [None, None]
    assert sample("stoker_controller_gateway_refused") == 0


def test_failures_are_counted_and_outlive_their_replica_by_a_minute() -> None:
    """Until Prometheus has seen the last one."""
    telemetry, one, two = Telemetry(io.StringIO()), (LLAMA, ReplicaId("llama-1")), (LLAMA, ReplicaId("llama-2"))

    def failures(replica: str) -> float | None:
        return telemetry.registry.get_sample_value(
            "stoker_replica_failures_total", {"pool": "llama", "replica": replica}
        )

    telemetry.report(report_at(0, failed_replicas={one: 0, two: 0}))
    assert (failures("llama-1"), failures("llama-2")) == (0, 0)
    telemetry.report(report_at(2, failed_replicas={one: 1, two: 0}))
    telemetry.report(report_at(4, failed_replicas={one: 0, two: 0}))
    telemetry.report(report_at(6, failed_replicas={one: 1, two: 1}))
    assert (failures("llama-1"), failures("llama-2")) == (2, 1)

    telemetry.report(report_at(65, failed_replicas={one: 0}))
    assert (failures("llama-1"), failures("llama-2")) == (2, 1)
    telemetry.report(report_at(66, failed_replicas={one: 0}))
    assert (failures("llama-1"), failures("llama-2")) == (2, None)


def test_a_controller_says_whether_it_leads_and_whether_it_knows_who_does() -> None:
    telemetry = Telemetry(io.StringIO())
    sample = telemetry.registry.get_sample_value

    def role() -> tuple[float | None, float | None]:
        return sample("stoker_controller_leader"), sample("stoker_controller_stands_by")

    assert role() == (0, 0)
    telemetry.take_role(stands_by=True)
    assert role() == (0, 1)
    telemetry.take_role(leads=True)
    assert role() == (1, 0)
    telemetry.take_role()
    assert role() == (0, 0)
