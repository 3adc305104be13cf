"""Every alert of alerts/rules: how bad it is and how long it must hold, or why the controller cannot tell by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from controller.core.alarm import Finding, Key, Labels, Severity


@dataclass(frozen=True, slots=True)
class Kind:
    """An alert: how long it must hold to fire, and must not hold to end. A pool's own threshold has the pool's own time
    instead of `lasts`."""

    severity: Severity
    lasts: timedelta = timedelta(0)
    keeps: timedelta = timedelta(0)


def _kind(severity: Severity, lasts_s: float = 0, keeps_s: float = 0) -> Kind:
    return Kind(severity, timedelta(seconds=lasts_s), timedelta(seconds=keeps_s))


_CRITICAL, _WARNING = Severity.CRITICAL, Severity.WARNING
KINDS: Mapping[tuple[str, str], Kind] = {  # by name and, where an alert has several, by what tells them apart
    ("StokerGpuUtilizationHigh", ""): _kind(_WARNING, 60, 60),
    ("StokerMemoryHigh", ""): _kind(_WARNING, 60, 60),
    ("StokerLatencyHigh", ""): _kind(_WARNING, 15, 60),
    ("StokerErrorsHigh", ""): _kind(_CRITICAL, 30, 60),
    ("StokerPoolDown", ""): _kind(_CRITICAL, 60),
    ("StokerPoolBelowFloor", ""): _kind(_WARNING, 120),
    ("StokerCannotScale", "NoGpuFits"): _kind(_WARNING, 60),
    ("StokerCannotScale", "AtCeiling"): _kind(_WARNING, 300),
    ("StokerColdStartSlow", ""): _kind(_WARNING, 0, 300),
    ("StokerReplicaFlapping", ""): _kind(_WARNING, 0, 300),
    ("StokerFuseBlown", ""): _kind(_CRITICAL),
    ("StokerQuarantine", ""): _kind(_CRITICAL),
    ("StokerPanicThreshold", ""): _kind(_CRITICAL, 30),
    ("StokerSpecRefused", ""): _kind(_WARNING),
    ("StokerNoNode", ""): _kind(_CRITICAL, 30),
    ("StokerGpuFault", ""): _kind(_CRITICAL),
    ("StokerNodeDown", ""): _kind(_CRITICAL, 30),
    ("StokerTargetDown", ""): _kind(_WARNING, 60),
    ("StokerGatewayRefused", ""): _kind(_CRITICAL, 15),
    ("StokerGatewayLagging", ""): _kind(_WARNING, 30),
    ("StokerCertificateExpiring", "warning"): _kind(_WARNING),
    ("StokerCertificateExpiring", "critical"): _kind(_CRITICAL),
}

ELSEWHERE: Mapping[str, str] = {  # those that only Prometheus can tell of, and why
    "StokerNoLeader": "who does not lead evaluates nothing, and who leads and does nothing does not evaluate either",
    "StokerErrorBudgetBurnFast": "it needs the errors of an hour, and only Prometheus keeps those",
    "StokerErrorBudgetBurnSlow": "it needs the errors of six hours, and only Prometheus keeps those",
    "StokerExporterStale": "the controller sees no exporter, but numbers and how old they are: where an exporter tells "
    "nothing new these become unknown, and StokerTargetDown says so",
}


@dataclass(frozen=True, slots=True)
class Words:
    """What people read of an alarm: one sentence, and another with the value."""

    summary: str
    description: str


def find(
    name: str, labels: Mapping[str, str], words: Words, lasts: timedelta | None = None, which: str = ""
) -> Finding:
    """That it holds now. `lasts` is for those of which the pool says how long to wait."""
    kind = KINDS[name, which]
    wait = kind.lasts if lasts is None else lasts
    return Finding(name, kind.severity, _sorted(labels), words.summary, words.description, wait, kind.keeps)


def key_of(name: str, labels: Mapping[str, str], which: str = "") -> Key:
    """Of what `find` would find."""
    return name, KINDS[name, which].severity.value, _sorted(labels)


def _sorted(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))
