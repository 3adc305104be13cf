"""Alarms as Alertmanager tells of alerts: the labels, the annotations, and the message of its webhook (version 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from controller.core.alarm import Alarm, Labels, Standing
from controller.core.alerts import Alert, KnownAlert

_NEVER = "0001-01-01T00:00:00Z"  # Alertmanager's end of what has not ended
_OFFSET, _PRIME, _SEPARATOR, _MASK = 0xCBF29CE484222325, 0x100000001B3, b"\xff", 0xFFFFFFFFFFFFFFFF


def labels_of(alarm: Alarm) -> dict[str, str]:
    """With name and severity, as Prometheus has them."""
    finding = alarm.finding
    return {"alertname": finding.name, "severity": finding.severity.value, **dict(finding.labels)}


def annotations_of(alarm: Alarm) -> dict[str, str]:
    """What people read."""
    finding = alarm.finding
    runbook = f"docs/runbooks/{finding.name}.md"
    return {"summary": finding.summary, "description": finding.description, "runbook_url": runbook}


def as_known(alarm: Alarm) -> KnownAlert:
    """One that fires, as if Alertmanager had told of it."""
    labels = labels_of(alarm)
    said = Alert(fingerprint(labels), True, alarm.since, labels, annotations_of(alarm))
    return KnownAlert(said, alarm.changed_at, alarm.changed_at, alarm.at)


def fingerprint(labels: Mapping[str, str]) -> str:
    """Of a set of labels, as Prometheus and Alertmanager make it (FNV-1a of 64 bits): theirs for the same alert."""
    value = _OFFSET
    for name in sorted(labels):
        for byte in name.encode() + _SEPARATOR + labels[name].encode() + _SEPARATOR:
            value = ((value ^ byte) * _PRIME) & _MASK
    return f"{value:016x}"


def group_of(alarm: Alarm) -> Labels:
    """Alarms with this in common are told of in one message."""
    finding = alarm.finding
    return (("alertname", finding.name), *(pair for pair in finding.labels if pair[0] == "pool"))


def message(alarms: Sequence[Alarm], link: str = "") -> dict[str, Any]:
    """One message; the alarms are of one group. `link` is where people look."""
    alerts = [_alert(alarm, link) for alarm in alarms]
    group = dict(group_of(alarms[0]))
    named = ", ".join(f'{name}="{value}"' for name, value in sorted(group.items()))
    firing = any(alarm.standing is Standing.FIRING for alarm in alarms)
    return {
        "version": "4",
        "groupKey": f"{{}}:{{{named}}}",
        "truncatedAlerts": 0,
        "status": (Standing.FIRING if firing else Standing.RESOLVED).value,
        "receiver": "stoker",
        "groupLabels": group,
        "commonLabels": _common([alert["labels"] for alert in alerts]),
        "commonAnnotations": _common([alert["annotations"] for alert in alerts]),
        "externalURL": link,
        "alerts": alerts,
    }


def _alert(alarm: Alarm, link: str) -> dict[str, Any]:
    labels = labels_of(alarm)
    over = alarm.standing is Standing.RESOLVED
    return {
        "status": alarm.standing.value,
        "labels": labels,
        "annotations": annotations_of(alarm),
        "startsAt": _time(alarm.since),
        "endsAt": _time(alarm.changed_at) if over else _NEVER,
        "generatorURL": link,
        "fingerprint": fingerprint(labels),
    }


def _common(of_each: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {name: value for name, value in of_each[0].items() if all(other.get(name) == value for other in of_each)}


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
