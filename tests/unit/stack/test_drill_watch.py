"""What is asked of the controller and the edge exporter, and the two clocks put together."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from controller.settings import Settings
from controller.settings.file import parse
from controller.stack.drill.assemble import Moment, events_after, key, looks_after, requests_after
from controller.stack.drill.facts import Seen
from controller.stack.drill.watch import Api, Watch, retries_in
from tests.unit.stack.drill_samples import AT, look, request
from tests.waiting import wait_for

ROWS: dict[str, Any] = {
    "/api/v1/replicas": [
        {"replica": "small-1", "pool": "small", "state": "ready", "routed": True},
        {"replica": "big-1", "pool": "big", "state": "ready", "routed": True},
    ],
    "/api/v1/pools": [{"pool": "big", "desired": 9}, {"pool": "small", "desired": 3}],
    "/api/v1/events?limit=1000": [{"at": "2"}, {"at": "1"}],
}
METRICS = """\
# TYPE stoker_edge_retries_total counter
stoker_edge_retries_total{pool="small",replica="small-1"} 2.0
stoker_edge_retries_total{pool="small",replica="small-2"} 3.0
stoker_edge_retries_total{pool="big",replica="big-1"} 50.0
"""


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = METRICS if self.path == "/metrics" else json.dumps(ROWS[self.path])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
        self.close_connection = True  # without saying so: as a server does that is tired of an idle connection

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def controller() -> Iterator[Settings]:
    """Something that answers as the controller and the edge exporter would."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        text = (
            "pools: [{name: small, model: small, checkpoint: small.gguf}]\n"
            f"ports: {{controller: {server.server_port}}}"
        )
        settings = parse(text, "test")
        # Both on one port, which a configuration may not have.
        ports = settings.ports.model_copy(update={"edge": server.server_port})
        try:
            yield settings.model_copy(update={"ports": ports})
        finally:
            server.shutdown()
            thread.join()


def test_what_the_controller_says() -> None:
    with controller() as settings:
        api = Api(settings, "a token")
        assert api.events() == [{"at": "1"}, {"at": "2"}]
        assert api.rows("pools") == ROWS["/api/v1/pools"]  # although the connection was closed meanwhile
        assert api.retries("small") == 5
        api.close()


def test_nobody_answers() -> None:
    with controller() as settings:
        api = Api(settings, "a token")

    assert (api.rows("pools"), api.events(), api.retries("small")) == (None, [], None)
    api.close()


def test_looks_are_of_one_pool_and_know_what_it_is_to_have() -> None:
    with controller() as settings, Watch(settings, "small", "a token") as watch:
        found = wait_for(watch.latest, 10, "a look")

    assert found.replicas == (Seen("small-1", "ready", True),)
    assert found.desired == 3


def test_a_pool_without_retries() -> None:
    assert retries_in(METRICS, "other") == 0


def row(after_s: float, event: str) -> dict[str, str]:
    at = (AT + timedelta(seconds=after_s)).isoformat()
    return {"at": at, "event": event, "subject": "replica/small-1", "reason": "Because", "message": "So."}


def test_events_are_those_that_are_new() -> None:
    old, late, new, far = row(-9, "old"), row(-0.1, "late"), row(1.5, "new"), row(60, "far")

    found = events_after([old, late, new, far], frozenset({key(old)}), Moment(AT, 100.0), 10.0)

    # The tick of `late` had begun before the fault, and told of it after.
    assert [(one.at_s, one.event) for one in found] == [(0.0, "late"), (1.5, "new")]


def test_looks_and_requests_move_to_the_time_of_the_fault() -> None:
    moment = Moment(AT, 100.0)

    looks = looks_after([look(99.0, "small-1"), look(101.5, "small-1")], moment)
    requests = requests_after([request(105.0), request(99.0, first=False)], moment)

    assert [one.at_s for one in looks] == [-1.0, 1.5]
    assert [(one.sent_s, one.first_s, one.ended_s) for one in requests] == [(-1.5, None, -1.0), (4.5, 4.75, 5.0)]
