"""The alerts that the controller finds by itself are listed with those that it was told of."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from fastapi.testclient import TestClient

from controller.api.app import create_app
from controller.api.deps import Sources
from controller.core.alarm import Alarm, Finding, Severity, Standing
from controller.core.alerts import Alert
from controller.reconcile.alerts import Alerts
from tests.fakes.clock import START, FakeClock
from tests.fakes.store import FakeStore
from tests.unit.api.callers import TOKEN, as_admin

SLOW = Finding("StokerLatencyHigh", Severity.WARNING, (("pool", "llama"),), "Users wait.", "2 s, above 0.5 s for 15 s.")
FIRES = Alarm(SLOW, Standing.FIRING, START - timedelta(seconds=60), START - timedelta(seconds=45), START)
LATER = replace(FIRES, finding=replace(SLOW, name="StokerErrorsHigh"), changed_at=START - timedelta(seconds=5))


def client(*alarms: Alarm, told: Alerts | None = None) -> TestClient:
    sources = Sources(
        policies=(),
        nodes=(),
        store=FakeStore(),
        latest=lambda: None,
        healthy=lambda: True,
        metrics=lambda: b"",
        now=FakeClock().now,
        alerts=told or Alerts(),
        alarms=lambda: alarms,
        token=TOKEN,
    )
    return as_admin(TestClient(create_app(sources)))


def test_they_are_listed_the_newest_first_with_what_they_say() -> None:
    first, second = client(FIRES, LATER).get("/api/v1/alerts").json()

    assert (first["alert"], second["alert"]) == ("StokerErrorsHigh", "StokerLatencyHigh")
    assert (second["status"], second["severity"], second["pool"]) == ("firing", "warning", "llama")
    assert second["summary"] == "Users wait."
    assert second["annotations"]["runbook_url"] == "docs/runbooks/StokerLatencyHigh.md"
    assert second["since"] == "2026-01-05T11:59:00Z"


def test_they_stand_before_what_ended_and_among_what_others_told_of() -> None:
    told = Alerts()
    labels = {"alertname": "StokerFuseBlown", "severity": "critical", "pool": "llama"}
    fires = Alert("aaaa", True, START - timedelta(seconds=20), labels)
    over = Alert("bbbb", False, START - timedelta(seconds=99), {**labels, "alertname": "StokerNoNode"})
    told.hear([fires, over], 0, START - timedelta(seconds=20))
    names = [one["alert"] for one in client(FIRES, LATER, told=told).get("/api/v1/alerts").json()]

    assert names == ["StokerErrorsHigh", "StokerFuseBlown", "StokerLatencyHigh", "StokerNoNode"]


def test_they_are_on_the_page() -> None:
    assert "Users wait." in client(FIRES).get("/alerts").text
