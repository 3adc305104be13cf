"""Every alert that the controller evaluates: it fires after its time and not before, nearly does and does not, ends,
and stands as it stood while nobody can tell."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.core.alarm import Severity, Standing
from controller.core.decision import ReasonCode, StateChange
from controller.core.model import ReplicaId, ReplicaState, Signal
from controller.core.policy import (
    LatencyPolicy,
    MemoryOf,
    MemoryPolicy,
    PoolPolicy,
    ScalingPolicy,
    Source,
    UtilizationPolicy,
)
from controller.core.reason import Reason
from tests.fakes.clock import START
from tests.unit.core.build import POOL
from tests.unit.core.sights import POLICY, READY, WELL, Case, Look, Timeline

STARTING, UNREADY, SUSPECT, DRAINING = (
    ReplicaState.STARTING,
    ReplicaState.UNREADY,
    ReplicaState.SUSPECT,
    ReplicaState.DRAINING,
)
LLAMA = {"pool": "llama"}
CRITICAL = Severity.CRITICAL
DARK = Look(metrics=False)
DAY = 86400.0


def busy(value: float | None) -> Look:
    return Look(each={Signal.UTILIZATION: [value, value, value]})


def full(value: float | None) -> Look:
    return Look(each={Signal.MEMORY: [0.1, value, 0.1]})


def slow(value: float | None) -> Look:
    return Look(pool={Signal.LATENCY: value})


def failing(value: float | None, sent: float | None = 100) -> Look:
    return Look(pool={Signal.ERRORS: value}, sent=sent)


def because(*codes: ReasonCode) -> Look:
    return Look(reasons=codes)


SILENT = Look(silent=("one", "two"), evaluated=False)
NGINX = {"certificate": "gateway"}
CASES = [
    Case("StokerGpuUtilizationHigh", busy(0.86), busy(0.85), LLAMA | {"of": "cpu"}, 60, 60, blind=busy(None)),
    Case(
        "StokerMemoryHigh",
        full(0.91),
        full(0.90),
        LLAMA | {"replica": "llama-2", "of": "container"},
        60,
        60,
        blind=full(None),
    ),
    Case(
        "StokerLatencyHigh",
        slow(0.51),
        slow(0.50),
        LLAMA | {"measure": "first_byte", "statistic": "p95"},
        15,
        60,
        blind=slow(None),
    ),
    Case("StokerErrorsHigh", failing(0.02), failing(0.01), LLAMA, 30, 60, CRITICAL, blind=failing(None)),
    Case("StokerErrorsHigh", failing(0.5, 3), failing(0.5, 2), LLAMA, 30, 60, CRITICAL, blind=failing(0.5, None)),
    Case("StokerPoolDown", Look((STARTING,) * 3), Look((STARTING, STARTING, SUSPECT)), LLAMA, 60, 0, CRITICAL),
    Case("StokerPoolBelowFloor", Look((READY, READY, STARTING)), Look((READY, READY, SUSPECT)), LLAMA, 120),
    Case("StokerPoolBelowFloor", Look((READY, READY, DRAINING)), WELL, LLAMA, 120),
    Case(
        "StokerCannotScale",
        because(ReasonCode.NO_GPU_FITS),
        because(ReasonCode.NO_NODE),
        LLAMA | {"reason": "NoGpuFits"},
        60,
        blind=Look(evaluated=False),
    ),
    Case(
        "StokerCannotScale",
        Look(wanted=7),
        Look(wanted=6),
        LLAMA | {"reason": "AtCeiling"},
        300,
        blind=Look(evaluated=False),
    ),
    Case(
        "StokerColdStartSlow",
        Look((READY, READY, READY, STARTING), age_s=286),
        Look((READY, READY, READY, STARTING), age_s=285),
        LLAMA | {"replica": "llama-4"},
        0,
        300,
    ),
    Case("StokerFuseBlown", because(ReasonCode.FUSE_BLOWN), WELL, LLAMA, severity=CRITICAL, blind=SILENT),
    Case(
        "StokerQuarantine",
        because(ReasonCode.CRASH_LOOP),
        because(ReasonCode.BACKOFF),
        LLAMA,
        severity=CRITICAL,
        blind=SILENT,
    ),
    Case("StokerPanicThreshold", because(ReasonCode.PANIC_THRESHOLD), WELL, LLAMA, 30, 0, CRITICAL, blind=SILENT),
    Case("StokerSpecRefused", because(ReasonCode.ROLLED_BACK), because(ReasonCode.SPEC_CHANGED), LLAMA, blind=SILENT),
    Case("StokerNoNode", because(ReasonCode.NO_NODE), WELL, LLAMA, 30, 0, CRITICAL, blind=SILENT),
    Case(
        "StokerGpuFault",
        Look(cordoned=True),
        WELL,
        {"node": "one", "UUID": "GPU-1", "fault": "the controller cordoned it (GpuFault)"},
        severity=CRITICAL,
    ),
    Case("StokerNodeDown", Look(silent=("two",)), WELL, {"node": "two"}, 30, 0, CRITICAL),
    Case("StokerTargetDown", DARK, WELL, {"job": "prometheus"}, 60),
    Case("StokerTargetDown", Look(pool={Signal.IN_FLIGHT: None}), WELL, {"job": "edge"}, 60, blind=DARK),
    Case(
        "StokerTargetDown",
        Look(each={Signal.IN_FLIGHT: [0, None, 0]}),
        Look(each={Signal.UTILIZATION: [0, None, 0]}),
        LLAMA | {"job": "engine", "replica": "llama-2"},
        60,
        blind=DARK,
    ),
    Case(
        "StokerTargetDown",
        Look(each={Signal.UTILIZATION: [0, None, 0], Signal.MEMORY: [0, None, 0]}),
        Look(each={Signal.MEMORY: [0, None, 0]}),
        LLAMA | {"job": "launcher", "replica": "llama-2"},
        60,
        blind=DARK,
    ),
    Case("StokerGatewayRefused", Look(refused=True), WELL, {}, 15, 0, CRITICAL),
    Case("StokerGatewayLagging", Look(lag_s=10.5), Look(lag_s=10), {"gateway": "edge-2"}, 30),
    Case("StokerCertificateExpiring", Look(certificate_s=13.9 * DAY), Look(certificate_s=14 * DAY), NGINX),
    Case("StokerCertificateExpiring", Look(certificate_s=-5), Look(certificate_s=2.1 * DAY), NGINX, severity=CRITICAL),
]
CASES_BY_ID = [pytest.param(case, id=f"{case.name} {case.labels}") for case in CASES]


def mine(time: Timeline, case: Case) -> list[Standing]:
    """How those stand that the case is about."""
    return [
        alarm.standing
        for alarm in time.of(case.name)
        if dict(alarm.finding.labels) == case.labels and alarm.finding.severity is case.severity
    ]


@pytest.mark.parametrize("case", CASES_BY_ID)
def test_it_fires_after_its_time_with_its_labels_and_a_value(case: Case) -> None:
    time = Timeline().see(WELL, 5).later(1)
    if case.lasts_s:
        time.see(case.on, case.lasts_s - 1)
        assert mine(time, case) == [Standing.PENDING]
        time.later(1)
    time.see(case.on)

    assert mine(time, case) == [Standing.FIRING]
    finding = next(alarm.finding for alarm in time.firing(case.name) if dict(alarm.finding.labels) == case.labels)
    assert finding.summary.endswith(".")
    assert finding.description.endswith(".")
    assert "{" not in finding.summary + finding.description
    assert {alarm.finding.name for alarm in time.firing()} == {case.name}, "nothing else does"


@pytest.mark.parametrize("case", CASES_BY_ID)
def test_what_nearly_is_one_is_none(case: Case) -> None:
    time = Timeline().see(case.near, 700, every_s=5)

    assert mine(time, case) == []


@pytest.mark.parametrize("case", CASES_BY_ID)
def test_a_break_begins_it_anew(case: Case) -> None:
    time = Timeline()
    for _ in range(3):
        time.see(case.on, max(case.lasts_s - 1, 0)).later(1).see(case.near).later(1)

    assert Standing.FIRING not in mine(time, case) or case.lasts_s == 0


@pytest.mark.parametrize("case", CASES_BY_ID)
def test_it_ends_when_it_no_longer_holds_and_not_sooner(case: Case) -> None:
    time = Timeline().see(case.on, case.lasts_s)
    if case.keeps_s:
        time.later(1).see(case.near, case.keeps_s - 2)
        assert mine(time, case) == [Standing.FIRING]
        time.see(case.on).later(1).see(case.near, case.keeps_s - 2)
        assert mine(time, case) == [Standing.FIRING], "once more, and it has as long again"
    time.later(1).see(case.near).later(1)
    assert mine(time, case) == [Standing.RESOLVED]
    time.see(case.near)

    assert mine(time, case) == []


@pytest.mark.parametrize("case", [item for item in CASES_BY_ID if item.values[0].blind is not None])
def test_while_nobody_can_tell_it_stands_as_it_stood(case: Case) -> None:
    assert case.blind is not None
    time = Timeline().see(case.blind, 3600, every_s=30)
    assert mine(time, case) == [], "what is unknown is no reason"

    time.see(case.on, case.lasts_s).see(case.blind, 7200, every_s=30)
    assert mine(time, case) == [Standing.FIRING]
    time.later(case.keeps_s + 1).see(case.near)
    assert mine(time, case) == [Standing.RESOLVED]

    if case.lasts_s:
        half = Timeline().see(case.on, case.lasts_s - 1).see(case.blind, 3600, every_s=5)
        assert mine(half, case) == [Standing.PENDING]


@pytest.mark.parametrize("case", CASES_BY_ID)
def test_a_new_controller_goes_on_with_it(case: Case) -> None:
    time = Timeline().see(case.on, case.lasts_s)
    before = time.firing(case.name)
    time.later(5).restart().see(case.on)

    assert [(alarm.since, alarm.changed_at) for alarm in time.firing(case.name)] == [
        (alarm.since, alarm.changed_at) for alarm in before
    ]


def test_all_is_well() -> None:
    assert Timeline().see(WELL, 3600, every_s=2).board.alarms == {}


# --- what the tables do not say


def test_each_pool_has_its_own_thresholds_times_and_sources() -> None:
    scaling = ScalingPolicy(
        floor=0,
        utilization=UtilizationPolicy(0.5, 0.6, timedelta(seconds=5), Source.GPU),
        memory=MemoryPolicy(0.5, timedelta(seconds=10), MemoryOf.GPU),
        latency=LatencyPolicy(2.0, timedelta(seconds=20), quantile=None),
    )
    time = Timeline(PoolPolicy(POOL, "llama", scaling))
    high = Look(
        each={Signal.UTILIZATION: [0.7] * 3, Signal.MEMORY: [0.6] * 3}, pool={Signal.LATENCY: 2.5, Signal.ERRORS: 0.0}
    )
    fired: list[tuple[int, str]] = []
    for second in range(25):
        before = {alarm.key for alarm in time.firing()}
        time.see(high).later(1)
        fired += [(second, alarm.finding.name) for alarm in time.firing() if alarm.key not in before]

    assert fired == [(5, "StokerGpuUtilizationHigh"), *[(10, "StokerMemoryHigh")] * 3, (20, "StokerLatencyHigh")]
    labels = {alarm.finding.name: dict(alarm.finding.labels) for alarm in time.firing()}
    assert labels["StokerGpuUtilizationHigh"]["of"] == labels["StokerMemoryHigh"]["of"] == "gpu"
    assert labels["StokerLatencyHigh"]["statistic"] == "mean"


def test_a_signal_that_is_off_has_no_alarm() -> None:
    off = {name: replace(getattr(POLICY.scaling, name), enabled=False) for name in ("utilization", "memory", "errors")}
    time = Timeline(replace(POLICY, scaling=replace(POLICY.scaling, **off)))
    look = Look(each={Signal.UTILIZATION: [1.0] * 3, Signal.MEMORY: [1.0] * 3}, pool={Signal.ERRORS: 1.0})

    assert time.see(look, 200).board.alarms == {}


def test_a_pool_that_is_down_has_no_slow_users_and_no_silent_engines() -> None:
    look = Look((UNREADY,) * 3, {Signal.LATENCY: 9.0, Signal.ERRORS: 1.0}, {Signal.IN_FLIGHT: [None] * 3})
    time = Timeline().see(look, 200)

    assert {alarm.finding.name for alarm in time.firing()} == {"StokerPoolDown", "StokerPoolBelowFloor"}


def test_a_node_that_is_down_says_it_for_all_on_it() -> None:
    unseen: dict[Signal, list[float | None]] = {
        signal: [None, None, 0] for signal in (Signal.IN_FLIGHT, Signal.UTILIZATION, Signal.MEMORY)
    }
    time = Timeline().see(Look(each=unseen, silent=("one",)), 200)  # type: ignore[arg-type]

    assert [dict(alarm.finding.labels) for alarm in time.firing()] == [{"node": "one"}]


def test_a_pool_without_a_floor_is_down_only_when_it_is_wanted_and_does_not_come() -> None:
    none = replace(POLICY, scaling=replace(POLICY.scaling, floor=0))
    assert Timeline(none).see(Look((), desired=0), 200).firing() == []
    assert Timeline(none).see(Look((STARTING,), desired=1, age_s=299), 200).firing("StokerPoolDown") == []

    late = Timeline(none).see(Look((STARTING,), desired=1, age_s=300), 60)
    assert [alarm.finding.description for alarm in late.firing("StokerPoolDown")] == [
        "0 replicas serve, 1 are wanted: requests wait, and are then refused with 503."
    ]


def fall(time: Timeline, name: str, to: ReplicaState = UNREADY) -> None:
    """A replica of a pool that is otherwise well falls out of service."""
    sight = WELL.at(time.now)
    change = StateChange(ReplicaId(name), POOL, READY, to, Reason(ReasonCode.PROBES_FAILED, "3 probes failed"))
    time.see(lambda now: replace(sight, plan=replace(sight.plan, changes=(change,))))


def test_a_replica_that_falls_three_times_within_ten_minutes_flaps() -> None:
    time = Timeline()
    for _ in range(2):
        fall(time, "llama-1", SUSPECT)
        time.later(290)
    assert time.firing() == []
    fall(time, "llama-1")

    [alarm] = time.firing()
    assert (alarm.finding.name, dict(alarm.finding.labels)) == (
        "StokerReplicaFlapping",
        {"pool": "llama", "replica": "llama-1"},
    )
    assert alarm.finding.description.startswith("3 times within 10 minutes")
    time.later(20).see(WELL, 279)
    assert time.firing(), "it is kept for 5 minutes"
    time.later(2).see(WELL)
    assert time.firing() == []


def test_one_replica_after_the_other_flaps_where_six_do_and_none_of_them_often() -> None:
    time = Timeline()
    for number in range(6):
        assert time.firing() == []
        fall(time, f"llama-{number}")
        time.later(60)
    assert [dict(alarm.finding.labels) for alarm in time.firing()] == [{"pool": "llama"}]


def test_falls_that_are_long_apart_are_none_and_going_down_step_by_step_is_one() -> None:
    time = Timeline()
    for _ in range(8):
        fall(time, "llama-1")
        time.later(301)
    assert time.firing() == []
    sight = WELL.at(time.now)
    steps = [(SUSPECT, UNREADY), (UNREADY, ReplicaState.STOPPED), (READY, DRAINING), (STARTING, UNREADY)]
    reason = Reason(ReasonCode.PROBES_FAILED, "3 probes failed")
    changes = tuple(StateChange(ReplicaId("llama-2"), POOL, was, now, reason) for was, now in steps)
    for _ in range(4):
        time.see(lambda now: replace(sight, plan=replace(sight.plan, changes=changes))).later(1)
    assert time.firing() == []


def test_a_certificate_that_gets_old_is_another_alarm_and_ends_the_first() -> None:
    time = Timeline().see(Look(certificate_s=3 * DAY)).later(1).see(Look(certificate_s=1 * DAY))
    stands = {alarm.finding.severity: alarm.standing for alarm in time.of("StokerCertificateExpiring")}

    assert stands == {Severity.WARNING: Standing.RESOLVED, CRITICAL: Standing.FIRING}
    assert "1.0 days" in time.firing()[0].finding.description


def test_each_certificate_has_an_alarm_of_its_own() -> None:
    time = Timeline()
    ends = {"gateway": time.now + timedelta(days=1), "controller": time.now + timedelta(days=3)}
    time.see(lambda now: replace(WELL.at(now), certificate_ends=ends))

    found = [(dict(alarm.finding.labels), alarm.finding.severity) for alarm in time.of("StokerCertificateExpiring")]
    assert found == [({"certificate": "gateway"}, CRITICAL), ({"certificate": "controller"}, Severity.WARNING)]


def test_the_values_are_told() -> None:
    time = Timeline().see(busy(0.912), 60)
    told = time.firing()[0].finding
    assert told.summary == "The CPUs of llama are busier than they should be."
    assert told.description == "91.2 % on average of its replicas, above 85 % for 60 s."

    time = Timeline().see(Look((READY, READY, READY, STARTING), age_s=290))
    assert time.firing()[0].finding.description == "It has been starting for 290 s; 12 s are usual."


def test_what_began_before_is_told_from_then_on() -> None:
    time = Timeline().see(slow(2), 20)

    assert (time.firing()[0].since, time.firing()[0].changed_at) == (START, START + timedelta(seconds=15))
