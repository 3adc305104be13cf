"""What the controller posts is what a real Alertmanager posts of the same alert: keys, labels, fingerprint, words."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.adapters.clock import SystemClock
from controller.core.alarm import Alarm, Finding, Severity, Standing
from controller.core.alarm_message import annotations_of, labels_of, message
from tests.e2e.stack import free_ports
from tests.waiting import wait_for
from tests.webhook import WebhookReceiver

FINDING = Finding(
    "StokerMemoryHigh",
    Severity.WARNING,
    (("of", "container"), ("pool", "llama"), ("replica", "llama-2")),
    "Replica llama-2 of llama has little memory left.",
    'It is 91 % – "nearly" full.',
)
OTHER = replace(FINDING, labels=(("of", "container"), ("pool", "llama"), ("replica", "llama-3")))


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    made = WebhookReceiver()
    yield made
    made.close()


@pytest.fixture
def alertmanager(tmp_path: Path, receiver: WebhookReceiver) -> Iterator[int]:
    """A real one that posts to the receiver at once, and to nobody else; its port."""
    binary = shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")
    assert binary is not None, "deploy/install.sh test installs it"
    times = {"group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"}
    hook = {"url": receiver.url, "send_resolved": True}
    config = {
        "route": {"receiver": "stoker", "group_by": ["alertname", "pool"], **times},
        "receivers": [{"name": "stoker", "webhook_configs": [hook]}],
    }
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    command = [
        binary,
        f"--config.file={file}",
        f"--storage.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--web.external-url=http://127.0.0.1:{port}/",
        "--cluster.listen-address=",
    ]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        wait_for(lambda: answers(port), 30, "Alertmanager")
        yield port
        process.terminate()
        process.wait(20)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def post(port: int, alarms: list[Alarm], link: str) -> None:
    body = [
        {
            "labels": labels_of(alarm),
            "annotations": annotations_of(alarm),
            "startsAt": alarm.since.isoformat(),
            "generatorURL": link,
            **({"endsAt": alarm.changed_at.isoformat()} if alarm.standing is Standing.RESOLVED else {}),
        }
        for alarm in alarms
    ]
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v2/alerts", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status == 200


def kinds(value: Any) -> Any:
    """The keys, and of what kind each value is."""
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    return [kinds(item) for item in value] if isinstance(value, list) else type(value).__name__


def test_the_messages_are_alike(alertmanager: int, receiver: WebhookReceiver) -> None:
    now = SystemClock().now()
    fires = [Alarm(item, Standing.FIRING, now - timedelta(minutes=2), now, now) for item in (FINDING, OTHER)]
    link = f"http://127.0.0.1:{alertmanager}/"
    post(alertmanager, fires, link)
    # The first message may have one of them only: Alertmanager waits for no second one here.
    both: Callable[[], list[Any]] = lambda: [said for said in receiver.messages if len(said["alerts"]) == 2]  # noqa: E731
    theirs = wait_for(both, 20, "Alertmanager's message of both")[0]
    ours = message(fires, link)

    assert kinds(ours) == kinds(theirs)
    for key in ("version", "status", "receiver", "groupLabels", "commonLabels", "commonAnnotations", "groupKey"):
        assert ours[key] == theirs[key], key
    for mine, real in zip(
        ours["alerts"], sorted(theirs["alerts"], key=lambda one: one["labels"]["replica"]), strict=True
    ):
        assert {**mine, "startsAt": ""} == {**real, "startsAt": ""}

    over = [replace(alarm, standing=Standing.RESOLVED, changed_at=SystemClock().now()) for alarm in fires]
    post(alertmanager, over, link)
    ended = wait_for(lambda: [said for said in receiver.messages if said["status"] == "resolved"], 20, "its end")[-1]
    named = {alert["labels"]["replica"] for alert in ended["alerts"]}  # one that ended alone was told before
    assert kinds(message([one for one in over if dict(one.finding.labels)["replica"] in named], link)) == kinds(ended)
    assert {alert["status"] for alert in ended["alerts"]} == {"resolved"}
