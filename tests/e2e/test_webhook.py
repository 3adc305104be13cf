"""The controller alone: no Alertmanager, a webhook of the user's, and load over a threshold on a real stack."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.clock import SystemClock
from controller.installation import Layout
from tests.e2e.load import Load
from tests.e2e.stack import Stack, environment, write_steady_config
from tests.waiting import wait_for
from tests.webhook import WebhookReceiver

pytestmark = pytest.mark.e2e
SLOW = "StokerLatencyHigh"
UP_S, KEPT_S = 120.0, 60.0
MORE = "alerting: {{enabled: false, webhook: {{url_file: {url}, headers_file: {headers}}}}}"


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    made = WebhookReceiver()
    yield made
    made.close()


def secret(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(text)
    return path


@pytest.fixture
def stack(receiver: WebhookReceiver) -> Iterator[Stack]:
    """One replica, for whose users every answer is slow."""
    folder = Path(tempfile.mkdtemp(prefix="st-"))
    url = secret(folder / "url", f"{receiver.url}/s3cret")
    headers = secret(folder / "headers", "Authorization: Bearer hunter2")
    config = write_steady_config(folder, 1, MORE.format(url=url, headers=headers))
    slow = "scaling: {target_in_flight: 8, latency: {threshold: 1ms, for: 2s}}"
    config.write_text(config.read_text().replace("scaling: {target_in_flight: 8}", slow))
    made = Stack(config, folder / "state", environment(None))
    assert made.up("--runtime", "process").returncode == 0
    yield made
    made.stoker("down")
    shutil.rmtree(folder)


def alerts(receiver: WebhookReceiver, status: str) -> list[dict[str, Any]]:
    """What was told of the slow users."""
    told = [alert for body in list(receiver.messages) for alert in body["alerts"]]
    return [alert for alert in told if alert["labels"]["alertname"] == SLOW and alert["status"] == status]


def test_load_over_a_threshold_is_told_and_so_is_its_end(stack: Stack, receiver: WebhookReceiver) -> None:
    wait_for(lambda: len(stack.ready()) == 1, UP_S, "one ready replica")
    assert not [process for process in stack.processes() if "alertmanager" in process.name()]
    with Load(stack, 2) as load:
        wait_for(load.done, 60, "requests")
        fired = wait_for(lambda: alerts(receiver, "firing"), 60, "the alert")[0]
        arrived = SystemClock().now()
        listed = wait_for(lambda: told_of(stack), 20, "its listing")
        wait_for(lambda: written(stack), 20, "the ledger to know that it was taken")
        killed = stack.process("controller.main")
        killed.send_signal(signal.SIGKILL)
        wait_for(lambda: not killed.is_running() and told_of(stack), 60, "a new controller that knows of it")
    over = wait_for(lambda: alerts(receiver, "resolved"), KEPT_S + 90, "the end of the alert")[0]

    crossed = datetime.fromisoformat(fired["startsAt"])
    print(f"crossed for 2 s at {crossed + timedelta(seconds=2)}, told {arrived - crossed - timedelta(seconds=2)} later")
    assert fired["labels"] == {
        "alertname": SLOW,
        "severity": "warning",
        "pool": "smollm2",
        "measure": "first_byte",
        "statistic": "p95",
    }
    assert "above 0.001 s for 2 s" in fired["annotations"]["description"]
    assert listed[0]["fingerprint"] == fired["fingerprint"] == over["fingerprint"]
    assert over["startsAt"] == fired["startsAt"]
    assert len(alerts(receiver, "firing")) == 1
    assert load.record.failed + load.record.cut == []
    assert {sent["Authorization"] for sent in receiver.headers} == {"Bearer hunter2"}
    assert secrets_told(stack) == []


def told_of(stack: Stack) -> list[dict[str, Any]]:
    """What the API lists of it; nothing while no controller answers."""
    try:
        return [one for one in stack.api("/api/v1/alerts") if one["alert"] == SLOW]
    except OSError:
        return []


def written(stack: Stack) -> bool:
    """Whether the next controller will know that it was told."""
    with closing(sqlite3.connect(f"file:{Layout(stack.state_dir).database}?mode=ro", uri=True)) as ledger:
        bodies = [str(body) for (body,) in ledger.execute("SELECT body FROM alarms")]
    return any(SLOW in body and json.loads(body)["told"] for body in bodies)


def secrets_told(stack: Stack) -> list[str]:
    """The files of the installation that have something of them: logs, the database, configurations."""
    found = [path for path in Layout(stack.state_dir).root.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path) for path in found if any(word in path.read_bytes() for word in (b"s3cret", b"hunter2"))]
