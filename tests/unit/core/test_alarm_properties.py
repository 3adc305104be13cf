"""Whatever comes: no alarm fires without its condition in what a tick saw, and what nobody can tell changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from controller.core.alarm import Alarm, Finding, Standing
from controller.core.alarms import Board, Sight, watch
from controller.core.gateways import GatewayReport, GatewayStatus
from controller.core.limits import scheduled_floor
from controller.core.model import SERVING, Known, PoolReadings, Reading, ReplicaId, ReplicaState, Signal
from controller.core.planner import plan
from controller.core.policy import PoolPolicy
from controller.core.reason import ReasonCode
from tests.unit.core import strategies as some
from tests.unit.core.build import POOL

LONG = timedelta(hours=1)
_REASONS = {
    "StokerFuseBlown": ReasonCode.FUSE_BLOWN,
    "StokerQuarantine": ReasonCode.CRASH_LOOP,
    "StokerPanicThreshold": ReasonCode.PANIC_THRESHOLD,
    "StokerSpecRefused": ReasonCode.ROLLED_BACK,
    "StokerNoNode": ReasonCode.NO_NODE,
}


class Truth:
    """The conditions once more, each in one line, from the snapshot and the plan."""

    def __init__(self, sight: Sight, policy: PoolPolicy) -> None:
        self.sight, self.policy, self.now = sight, policy, sight.snapshot.at
        self.readings = sight.snapshot.readings.get(POOL, PoolReadings())
        self.replicas = {name: known for name, known in sight.plan.memory.replicas.items() if known.pool == POOL}
        self.serving = [name for name, known in self.replicas.items() if known.state in SERVING]
        self.codes = {reason.code for reason in sight.plan.standing.get(POOL, ())}
        self.silent = {node.name for node in sight.snapshot.nodes if node.silent_since}

    def value(self, reading: Reading | None) -> float | None:
        """None: unknown, or too old."""
        if reading is None or reading.at is None or reading.known is Known.UNKNOWN:
            return None
        return reading.value if self.now - reading.at <= self.policy.scaling.max_reading_age else None

    def each(self, signal: Signal) -> Mapping[ReplicaId, float | None]:
        found = self.readings.replicas.get(signal, {})
        reached = [name for name in self.serving if self.replicas[name].node not in self.silent]
        return {name: self.value(found.get(name)) for name in reached}

    def whole(self, signal: Signal) -> float:
        return self.value(self.readings.pool.get(signal)) or 0.0

    def holds(self, finding: Finding) -> bool:
        labels = dict(finding.labels)
        if finding.name in _REASONS:
            return _REASONS[finding.name] in self.codes
        return _CONDITIONS[finding.name](self, labels)


def _utilization(truth: Truth, labels: Mapping[str, str]) -> bool:
    policy = truth.policy.scaling.utilization
    known = [value for value in truth.each(Signal.UTILIZATION).values() if value is not None]
    return policy.enabled and sum(known) > policy.threshold * len(known) > 0


def _memory(truth: Truth, labels: Mapping[str, str]) -> bool:
    policy = truth.policy.scaling.memory
    return policy.enabled and (truth.each(Signal.MEMORY)[ReplicaId(labels["replica"])] or 0) > policy.threshold


def _latency(truth: Truth, labels: Mapping[str, str]) -> bool:
    policy = truth.policy.scaling.latency
    return policy.enabled and truth.whole(Signal.LATENCY) > policy.threshold and bool(truth.serving)


def _errors(truth: Truth, labels: Mapping[str, str]) -> bool:
    policy, share = truth.policy.scaling.errors, truth.whole(Signal.ERRORS)
    return policy.enabled and share > policy.threshold and share * (truth.value(truth.readings.sent) or 0) >= 1.5


def _floor(truth: Truth) -> int:
    return max(truth.policy.scaling.floor, scheduled_floor(truth.policy.scaling, truth.now))


def _down(truth: Truth, labels: Mapping[str, str]) -> bool:
    return not truth.serving and (_floor(truth) > 0 or truth.sight.plan.memory.pools[POOL].desired > 0)


def _cannot(truth: Truth, labels: Mapping[str, str]) -> bool:
    if labels["reason"] == "NoGpuFits":
        return ReasonCode.NO_GPU_FITS in truth.codes
    votes = truth.sight.plan.evaluations[POOL].votes
    return any((vote.wanted or 0) > truth.policy.scaling.ceiling for vote in votes)


def _slow(truth: Truth, labels: Mapping[str, str]) -> bool:
    known = truth.replicas[ReplicaId(labels["replica"])]
    begins = known.state in (ReplicaState.STARTING, ReplicaState.UNREADY) and known.ready_at is None
    return begins and truth.now - known.created_at > timedelta(seconds=285)


def _target(truth: Truth, labels: Mapping[str, str]) -> bool:
    if labels["job"] == "prometheus":
        return "metrics" in truth.sight.snapshot.unknown
    if labels["job"] == "edge":
        return truth.value(truth.readings.pool.get(Signal.IN_FLIGHT)) is None
    signals = {"engine": (Signal.IN_FLIGHT,)}.get(labels["job"], (Signal.UTILIZATION, Signal.MEMORY))
    return any(truth.each(signal)[ReplicaId(labels["replica"])] is None for signal in signals)


_CONDITIONS: Mapping[str, Callable[[Truth, Mapping[str, str]], bool]] = {
    "StokerGpuUtilizationHigh": _utilization,
    "StokerMemoryHigh": _memory,
    "StokerLatencyHigh": _latency,
    "StokerErrorsHigh": _errors,
    "StokerPoolDown": _down,
    "StokerPoolBelowFloor": lambda truth, _: len(truth.serving) < _floor(truth),
    "StokerCannotScale": _cannot,
    "StokerColdStartSlow": _slow,
    "StokerReplicaFlapping": lambda truth, _: len(truth.sight.plan.changes) > 5,
    "StokerNodeDown": lambda truth, labels: labels["node"] in truth.silent,
    "StokerGpuFault": lambda truth, labels: truth.sight.plan.memory.gpus[labels["UUID"]].cordon is not None,
    "StokerTargetDown": _target,
    "StokerGatewayRefused": lambda truth, _: truth.sight.refused,
    "StokerGatewayLagging": lambda truth, _: truth.sight.gateways[0].lags(truth.now),
    "StokerCertificateExpiring": lambda truth, labels: (
        truth.sight.certificate_ends[labels["certificate"]] < truth.now + timedelta(days=14)
    ),
}


@st.composite
def sights(draw: st.DrawFn) -> tuple[Sight, PoolPolicy]:
    """A snapshot and what is wanted of it, with what is known of nginx."""
    snapshot, policy, number = draw(some.snapshots()), draw(some.pool_policies()), draw(st.integers(0, 1023))
    snapshot = replace(snapshot, unknown=(*snapshot.unknown, "metrics") if number % 5 == 0 else snapshot.unknown)
    if number % 3 and POOL in snapshot.readings:
        sent = Reading.of(float(number % 7), snapshot.at)
        seen = {**snapshot.readings, POOL: replace(snapshot.readings[POOL], sent=sent)}
        snapshot = replace(snapshot, readings=seen)
    lag = snapshot.at - timedelta(seconds=number % 21)
    other = GatewayStatus(GatewayReport("edge-2", "1"), snapshot.at, lag)
    days = {"gateway": number % 30 - 5, "controller": number % 7} if number % 2 else {}
    ends = {name: snapshot.at + timedelta(days=left) for name, left in days.items()}
    return Sight(snapshot, plan(snapshot, [policy]), bool(number & 4), ends, (other,)), policy


@given(sights())
def test_none_fires_without_its_condition(made: tuple[Sight, PoolPolicy]) -> None:
    sight, policy = made
    long_ago = {key: replace(alarm, since=alarm.since - LONG) for key, alarm in _first(sight, policy).items()}
    after = watch(Board(long_ago), replace(sight, plan=replace(sight.plan, changes=())), [policy])
    truth = Truth(sight, policy)

    for alarm in after.alarms.values():
        assert alarm.standing is Standing.FIRING, "it has held for an hour"
        assert truth.holds(alarm.finding), alarm.finding


def _first(sight: Sight, policy: PoolPolicy) -> Mapping[tuple[str, str, tuple[tuple[str, str], ...]], Alarm]:
    return watch(Board(), sight, [policy]).alarms


@given(sights())
def test_what_holds_has_one_alarm_and_words_that_are_whole(made: tuple[Sight, PoolPolicy]) -> None:
    sight, policy = made
    for key, alarm in _first(sight, policy).items():
        finding = alarm.finding
        assert key == finding.key
        assert finding.labels == tuple(sorted(finding.labels))
        assert all(finding.summary and finding.description and value for _, value in finding.labels)
        assert "{" not in finding.summary + finding.description


@given(sights(), st.sets(st.sampled_from(list(Signal))))
def test_readings_that_vanish_end_no_alarm_and_begin_none_of_a_threshold(
    made: tuple[Sight, PoolPolicy], gone: set[Signal]
) -> None:
    """All the readings of some signals, of the pool and of its replicas."""
    sight, policy = made
    thresholds = ("StokerGpuUtilizationHigh", "StokerMemoryHigh", "StokerLatencyHigh", "StokerErrorsHigh")
    first = {key: replace(alarm, standing=Standing.FIRING) for key, alarm in _first(sight, policy).items()}
    seen = sight.snapshot.readings.get(POOL, PoolReadings())
    left = replace(
        seen,
        pool={signal: reading for signal, reading in seen.pool.items() if signal not in gone},
        replicas={signal: readings for signal, readings in seen.replicas.items() if signal not in gone},
    )
    blind = replace(sight, snapshot=replace(sight.snapshot, readings={POOL: left}))
    after = watch(Board(first), blind, [policy]).alarms

    for name in thresholds:
        was = {key for key in first if key[0] == name}
        assert {key for key, alarm in after.items() if key[0] == name and alarm.standing is Standing.FIRING} == was
