"""A real Prometheus and a real Alertmanager as `stoker up` starts them, before the controller's API and somebody who is
told."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import uvicorn

from controller.adapters.clock import SystemClock
from controller.api.app import create_app
from controller.api.deps import Sources
from controller.core.alerts import HeardAlerts
from controller.installation import Layout, alerts_token, api_token, metrics_token
from controller.reconcile.alerts import Alerts
from controller.settings import parse
from controller.stack import alertmanager, prometheus
from controller.stack.supervisor import Program
from tests.e2e.stack import PORTS, free_ports
from tests.fakes.store import FakeStore
from tests.waiting import wait_for
from tests.webhook import WebhookReceiver

PATIENCE_S = 40.0
FILE = """\
pools: [{{name: small, model: small, checkpoint: small.gguf}}]
ports: {ports}
controller: {{scrape_interval: 200ms}}
alerting:
  group_wait: 300ms
  group_interval: 1s
  receivers:
    - {{name: team, severities: [critical, warning, info], webhook: {{url: '{url}', token_file: {token}}}}}
"""


class Watching:
    """What `expose` says is scraped; `woken` counts how often the API would have woken the tick."""

    def __init__(self, folder: Path) -> None:
        self.people = WebhookReceiver()
        self.woken = 0
        self.counted: list[HeardAlerts] = []
        self._text = ""
        token = folder / "team.token"
        token.write_text("for-the-team\n")
        token.chmod(0o600)
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        text = FILE.format(ports=json.dumps(ports), url=self.people.url, token=token)
        self.settings, self.layout = parse(text, "stoker.yaml"), Layout(folder / "state")
        alertmanager.require(self.settings)
        prometheus.prepare(self.settings, self.layout)
        alertmanager.prepare(self.settings, self.layout)
        self._serve()
        (program,) = alertmanager.programs(self.settings, self.layout)
        self._processes = [_started(one) for one in (prometheus.program(self.settings, self.layout), program)]

    def expose(self, *lines: str) -> None:
        """The controller's metrics are these from now on."""
        self._text = "".join(f"{line}\n" for line in lines)

    def known(self, **labels: str) -> list[dict[str, Any]]:
        """What the controller knows of alerts with these labels."""
        headers = {"Authorization": f"Bearer {api_token(self.layout)}"}
        request = urllib.request.Request(f"{self._url}/api/v1/alerts", headers=headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return [item for item in json.load(answer) if labels.items() <= item["labels"].items()]

    def wait_known(self, status: str, **labels: str) -> dict[str, Any]:
        """It, once it has that status."""

        def found() -> dict[str, Any] | None:
            return next((item for item in self.known(**labels) if item["status"] == status), None)

        return wait_for(found, PATIENCE_S, f"{labels} {status} at the controller") or {}

    def suppressed(self, **labels: str) -> bool:
        """Whether Alertmanager has all alerts with these labels, and tells nobody of any."""
        url = f"http://127.0.0.1:{self.settings.ports.alertmanager}/api/v2/alerts"
        with urllib.request.urlopen(url, timeout=5) as answer:
            found = [item for item in json.load(answer) if labels.items() <= item["labels"].items()]
        return bool(found) and all(item["status"]["inhibitedBy"] for item in found)

    def told(self, **labels: str) -> list[dict[str, Any]]:
        """The messages to people that have such an alert."""
        return [
            body
            for body in self.people.messages
            if any(labels.items() <= alert["labels"].items() for alert in body["alerts"])
        ]

    def message(self, count: int, number: int) -> bytes:
        """What Alertmanager would post: so many alerts, other ones for each number."""
        begun = SystemClock().now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        labels = {"alertname": "StokerFlood", "severity": "warning", "pool": "small", "node": "node-1"}
        texts = {
            "summary": "Requests of small wait too long.",
            "description": "95 % of them wait 0.912 s, more than 0.5 s.",
            "runbook_url": "docs/runbooks/StokerLatencyHigh.md",
        }
        alerts = [
            {
                "status": "firing",
                "labels": {**labels, "replica": f"small-{item}"},
                "annotations": texts,
                "startsAt": begun,
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://127.0.0.1:9090/graph?g0.expr=up&g0.tab=1",
                "fingerprint": f"{number:x}{item:015x}",
            }
            for item in range(count)
        ]
        return json.dumps({"version": "4", "status": "firing", "alerts": alerts, "truncatedAlerts": 0}).encode()

    def post(self, body: bytes) -> float:
        """How many milliseconds it takes the controller to answer."""
        token = self.layout.alerts_token.read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._url}/api/v1/alerts", body, headers)
        began = time.perf_counter()
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
        return 1000 * (time.perf_counter() - began)

    def close(self) -> None:
        """End all of it."""
        for process in self._processes:
            process.terminate()
            process.wait(20)
        self._server.should_exit = True
        self._thread.join(20)
        self.people.close()

    def _wake(self) -> None:
        self.woken += 1

    def _serve(self) -> None:
        sources = Sources(
            policies=(),
            nodes=(),
            store=FakeStore(),
            latest=lambda: None,
            healthy=lambda: True,
            metrics=lambda: self._text.encode(),
            now=SystemClock().now,
            wake=self._wake,
            alerts=Alerts(self.counted.append),
            alerts_token=alerts_token(self.layout),
            metrics_token=metrics_token(self.layout),
            token=api_token(self.layout),
        )
        port = self.settings.ports.controller
        self._url = f"http://127.0.0.1:{port}"
        config = uvicorn.Config(create_app(sources), port=port, log_config=None, access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_for(lambda: self._server.started, PATIENCE_S, "the API")


def _started(program: Program) -> subprocess.Popen[bytes]:
    with (program.directory / f"{program.name}.log").open("ab") as log:
        return subprocess.Popen(program.command, stdout=log, stderr=log, cwd=program.directory)
