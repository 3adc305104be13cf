"""Who is told of alerts by a leader that is put together of the real parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from controller.adapters.database import SqlStore
from controller.adapters.database.alarms import SqlAlarms
from controller.adapters.telemetry import Telemetry
from controller.core import alarm_table
from controller.settings import ConfigError
from controller.stack.alarm_parts import require
from controller.wiring import Leader, Place, claim, lead, standing_by
from tests.unit.wiring_place import place_in
from tests.waiting import wait_for
from tests.webhook import WebhookReceiver


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    made = WebhookReceiver()
    yield made
    made.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_in(tmp_path)


def told(place: Place, alerting: str) -> None:
    """What its configuration says of that."""
    text = place.layout.config.read_text()
    place.layout.config.write_text(f"{text}alerting: {{{alerting}}}\n")


def until(leader: Leader, receiver: WebhookReceiver, alert: tuple[str, str]) -> None:
    """Ticks until the receiver was told, and the store knows it."""
    store = leader.sources.store
    assert isinstance(store, SqlStore)

    def arrived() -> bool:
        leader.ticker.run()
        return alert[0] in [alarm.finding.name for alarm in SqlAlarms(store).alarms() if alarm.told]

    wait_for(arrived, 60, f"{alert} to arrive")
    assert alert in receiver.alerts()


REFUSED = ("StokerGatewayRefused", "firing")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """nginx does not run here, which takes no 15 s to be told of."""
    kinds = {key: alarm_table.Kind(kind.severity) for key, kind in alarm_table.KINDS.items()}
    monkeypatch.setattr(alarm_table, "KINDS", kinds)


def test_a_leader_tells_the_webhook_and_a_new_one_does_not_tell_it_again(
    place: Place, receiver: WebhookReceiver, capsys: pytest.CaptureFixture[str]
) -> None:
    told(place, f"enabled: false, webhook: {{url: '{receiver.url}'}}")
    telemetry = Telemetry()
    leader = lead(place, claim(place), telemetry)
    until(leader, receiver, REFUSED)
    assert "StokerGatewayRefused" in [alarm.finding.name for alarm in leader.sources.alarms()]
    leader.close()
    before = len(receiver.messages)
    assert 'stoker_webhook_deliveries_total{result="delivered"}' in generate_latest(telemetry.registry).decode()

    again = lead(place, claim(place), Telemetry())
    for _ in range(3):
        again.ticker.run()
    again.close()
    assert [alert for alert in receiver.alerts()[before:] if alert == REFUSED] == []
    assert receiver.url not in capsys.readouterr().err


def test_with_an_alertmanager_the_listing_has_its_alerts_and_not_these(place: Place, receiver: WebhookReceiver) -> None:
    told(place, f"webhook: {{url: '{receiver.url}'}}")
    leader = lead(place, claim(place), Telemetry())
    until(leader, receiver, REFUSED)

    assert leader.sources.alarms() == ()
    assert leader.ticker.alarms() != ()
    leader.close()


def test_a_secret_that_cannot_be_read_is_complained_about_and_keeps_nothing_from_healing(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(place, f"enabled: false, webhook: {{url_file: {tmp_path}/gone}}")
    leader = lead(place, claim(place), Telemetry())
    leader.ticker.run()

    assert f"nobody is told of alerts: {tmp_path}/gone: cannot be read" in capsys.readouterr().err
    assert leader.sources.latest() is not None
    leader.close()


def test_it_is_refused_before_anything_starts(place: Place, tmp_path: Path) -> None:
    told(place, f"webhook: {{url: 'http://127.0.0.1:9/x', headers_file: {tmp_path}/gone}}")

    with pytest.raises(ConfigError, match=rf"^{tmp_path}/gone: cannot be read \(No such file or directory\)"):
        require(place.read()[0])


def test_who_stands_by_tells_nobody(place: Place, receiver: WebhookReceiver) -> None:
    told(place, f"webhook: {{url: '{receiver.url}'}}")
    sources = standing_by(place, Telemetry(), lambda: "stands by; another leads")

    assert sources.alarms() == ()
    assert receiver.asked == 0
