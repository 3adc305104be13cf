"""Alarms as Alertmanager tells of alerts; tests/integration/test_webhook_format.py compares with a real one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta, timezone

from controller.core.alarm import Alarm, Finding, Severity, Standing
from controller.core.alarm_message import as_known, fingerprint, group_of, labels_of, message
from tests.fakes.clock import START

SLOW = Finding("StokerLatencyHigh", Severity.WARNING, (("pool", "llama"),), "It is slow.", "p95 is 2 s.")
FIRES = Alarm(SLOW, Standing.FIRING, START, START + timedelta(seconds=15), START + timedelta(seconds=20))
OVER = replace(FIRES, standing=Standing.RESOLVED, changed_at=START + timedelta(seconds=90.5))
DOWN = Finding("StokerNodeDown", Severity.CRITICAL, (("node", "one"),), "It is down.", "It is silent.")


def test_a_message_of_one_that_fires() -> None:
    alert = {
        "status": "firing",
        "labels": {"alertname": "StokerLatencyHigh", "severity": "warning", "pool": "llama"},
        "annotations": {
            "summary": "It is slow.",
            "description": "p95 is 2 s.",
            "runbook_url": "docs/runbooks/StokerLatencyHigh.md",
        },
        "startsAt": "2026-01-05T12:00:00.000Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://c/",
        "fingerprint": fingerprint(labels_of(FIRES)),
    }

    assert message([FIRES], "http://c/") == {
        "version": "4",
        "groupKey": '{}:{alertname="StokerLatencyHigh", pool="llama"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "stoker",
        "groupLabels": {"alertname": "StokerLatencyHigh", "pool": "llama"},
        "commonLabels": alert["labels"],
        "commonAnnotations": alert["annotations"],
        "externalURL": "http://c/",
        "alerts": [alert],
    }


def test_what_is_over_has_an_end_and_a_message_fires_while_one_in_it_does() -> None:
    over = message([OVER])
    assert (over["status"], over["alerts"][0]["endsAt"]) == ("resolved", "2026-01-05T12:01:30.500Z")

    other = replace(
        FIRES, finding=replace(SLOW, labels=(("pool", "llama"), ("statistic", "p95")), description="Other.")
    )
    both = message([OVER, other])
    assert both["status"] == "firing"
    assert [alert["status"] for alert in both["alerts"]] == ["resolved", "firing"]
    assert "statistic" not in both["commonLabels"]
    assert "description" not in both["commonAnnotations"]


def test_the_time_is_utc_whatever_zone_it_has() -> None:
    there = replace(FIRES, since=START.astimezone(timezone(timedelta(hours=-7))))

    assert message([there])["alerts"][0]["startsAt"] == "2026-01-05T12:00:00.000Z"


def test_one_without_a_pool_has_a_group_of_its_name() -> None:
    assert group_of(replace(FIRES, finding=DOWN)) == (("alertname", "StokerNodeDown"),)


def test_a_fingerprint_is_of_all_labels_and_not_of_their_order() -> None:
    some = {"b": "2", "a": "1"}
    assert fingerprint(some) == fingerprint(dict(sorted(some.items())))
    assert len({fingerprint(one) for one in (some, {}, {"a": "1"}, {"a": "12", "b": ""}, {"a": "1", "b": "3"})}) == 5
    assert fingerprint({}) == "cbf29ce484222325", "the basis of FNV-1a"


def test_it_is_listed_as_if_alertmanager_had_told_of_it() -> None:
    known = as_known(FIRES)

    assert (known.alert.name, known.alert.pool, known.alert.firing) == ("StokerLatencyHigh", "llama", True)
    assert (known.alert.starts_at, known.changed_at) == (START, START + timedelta(seconds=15))
    assert known.alert.fingerprint == fingerprint(labels_of(FIRES))
