"""Keys for a gateway under test, given to nginx over its control socket as the controller gives them."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from controller.adapters.nginx.rules import Rules
from tests.fakes.clock import FakeClock
from tests.fakes.running_nginx import RunningNginx, parts_in


@contextlib.contextmanager
def gateway(folder: Path, rules: Rules, **settings: object) -> Iterator[RunningNginx]:
    """A gateway with these rules, stopped at the end."""
    clock = FakeClock()
    nginx = RunningNginx(parts_in(folder, clock, rules, **settings), clock)
    try:
        yield nginx
    finally:
        nginx.stop()


Answer = tuple[int, dict[str, str], bytes]


def key(number: int) -> str:
    """A well-formed API key."""
    return f"sk-stoker-{number:043d}"


def digest(text: str) -> str:
    """What nginx knows of it."""
    return hashlib.sha256(text.encode()).hexdigest()


def record(number: int, plan: str = "-", expires: int = 0, models: str = "*") -> str:
    """What nginx is told of key `number`."""
    return f"key_{number:012x} {plan} {expires} {models}"


def control(nginx: RunningNginx, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """One request over the control socket."""
    connection = http.client.HTTPConnection("localhost")
    with socket.socket(socket.AF_UNIX) as connection.sock:
        connection.sock.connect(str(nginx.parts.folder / "control" / "control.sock"))
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def give(nginx: RunningNginx, records: dict[str, str], version: str = "1") -> None:
    """All keys anew."""
    body = {"base": None, "version": version, "set": records, "delete": [], "last": True}
    assert control(nginx, "POST", "/keys", body) == (200, {"version": version})


def ask(nginx: RunningNginx, secret: str | None, body: dict[str, Any] | None = None, **headers: str) -> Answer:
    """One chat completion with that key."""
    connection = nginx.connect()
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if secret is not None:
        given["Authorization"] = f"Bearer {secret}"
    try:
        text = json.dumps({"model": "smollm2", **(body or {})})
        connection.request("POST", "/v1/chat/completions", text, {"Connection": "close", **given})
        with connection.getresponse() as answer:
            return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def code_of(answer: Answer) -> tuple[int, str]:
    """Status, and the code of OpenAI's error object."""
    error = json.loads(answer[2])["error"]
    assert {"message", "type", "param", "code"} == set(error)
    return answer[0], error["code"]
