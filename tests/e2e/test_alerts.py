"""Load over a threshold, end to end: the alert fires, the webhook wakes the tick, a replica more, and it is over.

Real Prometheus, Alertmanager, nginx and model; replicas are local processes. Times are printed, none is asserted on.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controller.installation import Layout
from tests.e2e.browser import chromium, tab_of
from tests.e2e.load import Load
from tests.e2e.stack import Stack, environment, write_config
from tests.waiting import wait_for
from tests.webhook import WebhookReceiver

pytestmark = pytest.mark.e2e
PATIENCE_S = 180.0
THRESHOLD_S = 0.3
LATENCY = '{measure="first_byte", statistic="p95", pool="smollm2"}'


@pytest.fixture(scope="module")
def people() -> Iterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def stack(people: WebhookReceiver) -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="st-"))
    config = write_config(folder, ceiling=2, target=8, window="300s")
    latency = f"utilization: {{enabled: false}}, latency: {{threshold: {THRESHOLD_S * 1000:.0f}ms}}"
    text = config.read_text().replace("floor: 3", "floor: 1").replace("scaling: {", f"scaling: {{{latency}, ")
    told = f"[{{name: team, webhook: {{url: '{people.url}'}}}}]"
    config.write_text(f"{text}alerting: {{group_wait: 0s, group_interval: 1s, receivers: {told}}}\n")
    made = Stack(config, folder / "state", environment(None))
    came = made.up("--runtime", "process")
    assert came.returncode == 0, came.stdout + came.stderr
    assert f":{made.port('alertmanager')}" in came.stdout
    yield made
    went = made.stoker("down")
    assert went.returncode == 0, went.stdout + went.stderr
    assert made.processes() == []
    shutil.rmtree(folder)


def latency_alert(stack: Stack, status: str) -> dict[str, Any] | None:
    """The pool's, where it has that status."""
    found = stack.api("/api/v1/alerts")
    return next((one for one in found if (one["alert"], one["status"]) == ("StokerLatencyHigh", status)), None)


def asked(stack: Stack, path: str, **query: object) -> Any:
    """An answer of Prometheus."""
    url = f"http://127.0.0.1:{stack.port('prometheus')}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]["result"]


def crossed_at(stack: Stack, since: datetime) -> datetime:
    """When Prometheus first saw the latency above its threshold."""
    query = f"stoker:pool_latency_seconds{LATENCY} > {THRESHOLD_S}"
    (series,) = asked(stack, "query_range", query=query, start=since.timestamp(), end=_now().timestamp(), step="250ms")
    return datetime.fromtimestamp(float(series["values"][0][0]), UTC)


def test_load_over_a_threshold_brings_an_alert_a_decision_a_replica_and_an_end(
    stack: Stack, people: WebhookReceiver, tmp_path: Path
) -> None:
    began = _now()
    with Load(stack, 4, tokens=16) as load:
        wait_for(lambda: latency_alert(stack, "firing"), PATIENCE_S, "the alert at the controller")
        wait_for(lambda: (latency_alert(stack, "firing") or {}).get("followed"), PATIENCE_S, "a decision")
        wait_for(lambda: len(stack.ready()) == 2, PATIENCE_S, "a second replica")
        fired = latency_alert(stack, "firing")
        shown = page(stack, tmp_path / "page.png")
    said = stack.stoker("alerts").stdout
    ended = wait_for(lambda: latency_alert(stack, "resolved"), PATIENCE_S, "the end of the alert")
    wait_for(lambda: ("StokerLatencyHigh", "resolved") in people.alerts(), PATIENCE_S, "people to hear of its end")

    assert fired is not None
    assert ended is not None
    assert (load.record.failed, load.record.cut) == ([], [])
    followed = ended["followed"]
    assert (followed["kind"], followed["subject"]) == ("scale_pool", "pool/smollm2")
    assert followed["text"].startswith("from 1 to 2")
    assert ("StokerLatencyHigh", "firing") in people.alerts()
    assert all(text in shown for text in ("StokerLatencyHigh", ended["summary"], "from 1 to 2"))
    assert "StokerLatencyHigh" in said
    assert ended["annotations"]["runbook_url"] == "docs/runbooks/StokerLatencyHigh.md"
    tell(stack, began, ended)


def test_what_is_to_hold_for_a_second_is_decided_on_before_any_alert(stack: Stack) -> None:
    shorter = f"threshold: {THRESHOLD_S * 1000:.0f}ms, for: 1s"
    text = stack.config.read_text().replace(f"threshold: {THRESHOLD_S * 1000:.0f}ms", shorter)
    stack.config.write_text(text.replace("ceiling: 2", "ceiling: 3"))
    applied = stack.stoker("apply", "--config", str(stack.config))
    assert applied.returncode == 0, applied.stdout + applied.stderr
    began = _now()

    def decided() -> dict[str, Any] | None:
        return next((item for item in stack.decisions() if item["kind"] == "scale_pool" and item["desired"] == 3), None)

    with Load(stack, 12, tokens=16):
        decision = wait_for(decided, PATIENCE_S, "a third replica")

    assert decision["reasons"][0]["text"].startswith("latency")
    at = datetime.fromisoformat(decision["at"])
    print(f"threshold crossed to decision: {(at - crossed_at(stack, began)).total_seconds():.2f} s")


def test_the_controller_counts_what_it_was_told(stack: Stack) -> None:
    def counted(status: str) -> bool:
        found = asked(stack, "query", query=f'stoker_alerts_received_total{{status="{status}"}}')
        return bool(found) and float(found[0]["value"][1]) >= 1

    wait_for(lambda: counted("firing") and counted("resolved"), PATIENCE_S, "both counts")


def test_the_token_is_in_no_command_line_and_no_log(stack: Stack) -> None:
    layout = Layout(stack.state_dir)
    token = layout.alerts_token.read_text().strip()

    assert not any(token in " ".join(process.cmdline()) for process in stack.processes())
    assert not any(token in log.read_text(errors="replace") for log in layout.logs.iterdir())


def page(stack: Stack, picture: Path) -> str:
    """What a browser shows of the alerts, without a fault."""
    with chromium() as browser:
        headers = {"Authorization": f"Bearer {stack.token()}"}
        tab = tab_of(browser.new_context(viewport={"width": 1280, "height": 900}, extra_http_headers=headers))
        tab.page.goto(f"http://127.0.0.1:{stack.port('controller')}/alerts")
        text = str(tab.page.inner_text("body"))
        tab.page.screenshot(path=picture, full_page=True)
    assert tab.faults == []
    return text


def tell(stack: Stack, began: datetime, ended: dict[str, Any]) -> None:
    """The times, for docs/monitoring.md."""
    crossed = crossed_at(stack, began)
    second = next(item for item in stack.replicas() if item["replica"] == "smollm2-2")
    times = {
        "load began": began,
        "threshold crossed": crossed,
        "alert fires": datetime.fromisoformat(ended["since"]),
        "webhook": datetime.fromisoformat(ended["came_at"]),
        "decision": datetime.fromisoformat(ended["followed"]["at"]),
        "new replica ready": datetime.fromisoformat(second["ready_at"]),
        "resolved": datetime.fromisoformat(ended["resolved_at"]),
    }
    for name, at in times.items():
        print(f"{name:20} {(at - crossed).total_seconds():+8.2f} s")


def _now() -> datetime:
    return datetime.now(UTC)
