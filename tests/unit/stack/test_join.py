"""`stoker gateway join`: what it keeps, whom it asks, what it refuses, and which nginx is its own."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from controller.adapters.nginx import NginxParts
from controller.core.access import KeyId, version_of
from controller.core.gateways import GatewayReport
from controller.core.quota import Block, QuotaKind
from controller.installation import Layout
from controller.reconcile.gateways import Gateways
from controller.settings import GatewaySettings, PoolSettings, PortSettings, Settings
from controller.settings.front import front_of, written
from controller.stack.join.children import Child, NginxChild
from controller.stack.join.client import Away, Controllers, Refused
from controller.stack.join.follower import Follower, Machine
from controller.stack.join.kept import Kept, Keys
from controller.stack.join.options import JoinOptions
from controller.stack.join.run import _machine_name, _metrics, _ports, _warn, join
from controller.stack.trouble import Trouble
from tests.fakes.certificates import made
from tests.fakes.clock import START, FakeClock
from tests.unit.core.test_revision import routes
from tests.waiting import wait_for

SETTINGS = Settings(pools=(PoolSettings(name="llama", model="llama", checkpoint="m.gguf"),))
KEPT = Kept("v1", routes(llama_1=7), front_of(SETTINGS))
RECORDS = {"a" * 64: "key_000000000001 - 0 *", "b" * 64: "key_000000000002 gold 0 *"}
BLOCKS = {KeyId("key_000000000001"): Block(START + timedelta(hours=1), QuotaKind.DAY)}
TEXTS = {key: block.text() for key, block in BLOCKS.items()}
ALL = {"version": f"{version_of(RECORDS)}.{version_of(TEXTS)}", "records": RECORDS, "blocks": TEXTS}
TOKEN = "0" * 64


def test_what_it_was_told_comes_back(tmp_path: Path) -> None:
    KEPT.write(tmp_path / "joined.json")

    assert Kept.read(tmp_path / "joined.json") == KEPT
    assert (tmp_path / "joined.json").stat().st_mode & 0o777 == 0o600
    assert Kept.read(tmp_path / "nowhere") is None


@pytest.mark.parametrize("change", [{"version": 1}, {"plan": {}}, {"settings": {"later": 1}}, {"settings": None}])
def test_what_is_something_else_is_refused(change: dict[str, Any]) -> None:
    told = {"version": "v1", "plan": {"pools": []}, "settings": written(front_of(SETTINGS))}
    assert Kept.from_json(told).version == "v1"
    with pytest.raises(ValueError, match="."):
        Kept.from_json({**told, **change})


def test_keys_as_the_controller_tells_them() -> None:
    first = Keys.after(None, ALL)
    assert (first.records, first.blocks, first.version) == (RECORDS, BLOCKS, ALL["version"])

    more = {**RECORDS, "c" * 64: "key_000000000003 - 0 *"}
    del more["a" * 64]
    step = {
        "version": f"{version_of(more)}.{version_of({})}",
        "base": version_of(RECORDS),
        "set": {"c" * 64: "key_000000000003 - 0 *"},
        "delete": ["a" * 64],
        "blocks": {},
    }
    second = Keys.after(first, step)
    assert (second.records, second.blocks, second.version) == (more, {}, step["version"])
    assert first.records == RECORDS, "which nginx was told, and is compared with"
    only_blocks = {**step, "base": version_of(more), "set": {}, "delete": [], "blocks": TEXTS}
    assert Keys.after(second, only_blocks).records is second.records


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({**ALL, "records": {"a" * 64: "other"}}, "not what their version says"),
        ({"version": "x.y", "base": "x", "set": {}, "delete": [], "blocks": {}}, "difference to other keys"),
        ({**ALL, "records": [1]}, "not the form of keys"),
        ({**ALL, "blocks": {"key_1": "soon"}}, "."),
        ([], "not the form of keys"),
        ({"version": "x"}, "."),
    ],
)
def test_keys_that_cannot_be_right_are_refused(data: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Keys.after(None, data)


def test_keys_come_back_from_the_file_of_nginx(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"version": version_of(RECORDS), "keys": RECORDS, "blocks": TEXTS}))
    found = Keys.read(file)
    assert found is not None
    assert (found.records, found.blocks, found.version) == (RECORDS, BLOCKS, ALL["version"])

    file.write_text(json.dumps({"version": "0" * 16, "keys": RECORDS, "blocks": TEXTS}))
    assert Keys.read(file) is None
    assert Keys.read(tmp_path / "nowhere") is None


@dataclass
class Server:
    """Says what it is told to say: a status and a body, or nothing of HTTP."""

    status: int = 200
    body: bytes = b'{"version": "v1"}'
    packed: bool = False
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    port: int = 0
    secure: Callable[[ssl.SSLContext], None] = lambda context: None  # it speaks TLS from then on

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def _securing(server: http.server.HTTPServer) -> Callable[[ssl.SSLContext], None]:
    def secure(context: ssl.SSLContext) -> None:
        server.socket = context.wrap_socket(server.socket, server_side=True)

    return secure


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    found, running = [], []
    for _ in range(2):
        told = Server()

        class Handler(http.server.BaseHTTPRequestHandler):
            said = told

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.said.asked.append((self.path, dict(self.headers), body))
                self.send_response(self.said.status)
                if self.said.packed:
                    self.send_header("Content-Encoding", "gzip")
                self.end_headers()
                self.wfile.write(self.said.body)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        told.port, told.secure = server.server_address[1], _securing(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        found.append(told)
        running.append(server)
    yield found
    for server in running:
        server.shutdown()
        server.server_close()


def test_it_shows_its_token_and_understands_what_is_packed(servers: list[Server]) -> None:
    servers[0].packed, servers[0].body = True, gzip.compress(b'{"version": "v2"}')
    controllers = Controllers([servers[0].url + "/"], TOKEN)

    assert controllers.ask("second", {"applied": "x"}) == {"version": "v2"}
    ((path, headers, body),) = servers[0].asked
    assert (path, body, headers["Authorization"]) == ("/api/v1/gateways/second", {"applied": "x"}, f"Bearer {TOKEN}")


def test_the_one_that_leads_is_asked_first_from_then_on(servers: list[Server]) -> None:
    first, second = servers
    first.status, first.body = 409, b'{"detail": "this controller stands by"}'
    controllers = Controllers([first.url, second.url], TOKEN)
    assert controllers.ask("a", {}) == {"version": "v1"}
    assert controllers.ask("a", {}) == {"version": "v1"}
    assert (len(first.asked), len(second.asked)) == (1, 2)


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (409, b'{"detail": "this controller stands by"}', Away, "this controller stands by"),
        (503, b'{"detail": "ask again in a moment"}', Away, "ask again in a moment"),
        (500, b"oh", Away, "it answered 500"),
        (404, b'{"detail": "Not Found"}', Away, "Not Found"),
        (401, b'{"detail": "this needs the token"}', Refused, "this needs the token"),
        (412, b'{"detail": "install stoker==9"}', Refused, "install stoker==9"),
        (422, b'{"detail": [{"msg": "x"}]}', Refused, "x"),
        (200, b"[]", Away, "is no controller"),
        (200, b"{", Away, "does not answer"),
    ],
)
def test_what_else_may_be_answered(
    servers: list[Server], status: int, body: bytes, kind: type[Exception], words: str
) -> None:
    servers[0].status, servers[0].body = status, body

    with pytest.raises(kind, match=words) as told:
        Controllers([servers[0].url], TOKEN).ask("a", {})
    assert f"127.0.0.1:{servers[0].port}" in str(told.value)
    assert TOKEN not in str(told.value)


def test_who_is_not_there_is_away(servers: list[Server]) -> None:
    with pytest.raises(Away, match="does not answer"):
        Controllers(["http://127.0.0.1:9"], TOKEN).ask("a", {})
    assert Controllers(["http://127.0.0.1:9", servers[0].url], TOKEN).ask("a", {}) == {"version": "v1"}


@pytest.mark.parametrize(
    "url", ["10.0.0.1:8000", "ftp://a", "http://", "http://a:b", "http://a/?x", "http://user:word@a:8000", "http://[::"]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Trouble, match="is no URL of a controller"):
        Controllers([url], TOKEN)


@pytest.mark.parametrize("url", ["http://10.0.0.1:8000", "http://gpu-1:8000"])
def test_the_token_goes_to_another_machine_over_tls_only(url: str) -> None:
    with pytest.raises(Trouble, match=r"anybody on the way would read the token .* write https://"):
        Controllers([url], TOKEN)


def test_a_controller_over_tls_is_known_by_a_copy_of_its_certificate(servers: list[Server], tmp_path: Path) -> None:
    ours, other = made(tmp_path, name="ours"), made(tmp_path, name="other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours.certificate, ours.key)
    servers[0].secure(context)
    url = servers[0].url.replace("http://", "https://")

    assert Controllers([url], TOKEN, ours.certificate).ask("a", {}) == {"version": "v1"}
    for ca_file in (other.certificate, None):
        with pytest.raises(Away, match="certificate verify failed"):
            Controllers([url], TOKEN, ca_file).ask("a", {})


def options(tmp_path: Path, **changes: Any) -> JoinOptions:
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    return replace(JoinOptions(["http://127.0.0.1:9"], token, tmp_path / "state"), **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "A"}, "is no name of a gateway"),
        ({"state_dir": Path("/srv/" + "x" * 100)}, "bytes too long for the socket of nginx"),
        ({"port": 8081}, "two of the ports are the same"),
        ({"token_file": Path("/nowhere")}, "/nowhere cannot be read"),
        ({"controller": ["nowhere"]}, "is no URL"),
        ({"ca_file": Path("/nowhere")}, "--ca-file"),
    ],
)
def test_what_it_refuses_to_begin_with(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Trouble, match=words):
        join(options(tmp_path, **changes))


def test_it_leaves_the_state_directory_of_a_stack_alone(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/installation.json").write_text("{}")

    with pytest.raises(Trouble, match="is the state directory of a `stoker up`"):
        join(options(tmp_path))


def test_ports_and_addresses(tmp_path: Path) -> None:
    given = options(tmp_path, port=1, status_port=2, edge_port=3, log_port=4, reach="2001:db8::1")
    made = _ports(given)
    assert (made.gateway, made.gateway_status, made.edge, made.edge_log) == (1, 2, 3, 4)
    assert _metrics(given) == "[2001:db8::1]:3"
    assert _metrics(options(tmp_path)) is None
    assert _machine_name()


@pytest.mark.parametrize(
    ("reach", "url", "words"),
    [
        (None, "http://127.0.0.1:1", "without --reach Prometheus cannot find it"),
        ("127.0.0.1", "https://10.0.0.1:1", "does not find it at 127.0.0.1"),
        ("127.0.0.1", "http://localhost:1", ""),
        ("10.0.0.2", "https://10.0.0.1:1", ""),
    ],
)
def test_it_warns_where_nobody_would_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reach: str | None, url: str, words: str
) -> None:
    _warn(options(tmp_path, reach=reach, controller=[url]))

    told = capsys.readouterr().err
    assert words in told if words else told == ""


def follower(tmp_path: Path) -> Follower:
    return Follower(Machine(Layout(tmp_path), "127.0.0.1", PortSettings(), None))


def test_a_difference_that_does_not_fit_makes_it_ask_for_all_keys(tmp_path: Path) -> None:
    one = follower(tmp_path)
    assert one.report()["keys_version"] == ""
    one.take({"version": "v1", "keys": ALL})
    assert one.report()["keys_version"] == ALL["version"]

    one.take({"version": "v1", "keys": {"version": "x.y", "base": "x", "set": {}, "delete": [], "blocks": {}}})
    assert (one.report()["keys_version"], "difference to other keys" in one.error) == ("", True)
    one.take({"version": "v1", "keys": ALL})
    assert (one.report()["keys_version"], one.error) == (ALL["version"], "")


def test_what_it_cannot_read_it_says_and_goes_on(tmp_path: Path) -> None:
    one = follower(tmp_path)
    one.take({"version": "v1", "plan": {"pools": []}, "settings": {"later": 1}})
    assert "what the controller said cannot be used: later: Extra inputs" in one.error
    assert (one.serves, one.report()["error"]) == (False, one.error)
    one.take({"version": "v1"})
    assert one.error == ""


def test_what_it_holds_follows_what_the_controller_wants(tmp_path: Path) -> None:
    """Both sides as they are, without nginx."""
    gateways, clock, one = Gateways(), FakeClock(), follower(tmp_path)
    gateways.want(routes(llama_1=7), SETTINGS, clock.now())
    for number in range(5):
        gateways.want_keys({f"{digest:064x}": "key_000000000001 - 0 *" for digest in range(number, 9)}, BLOCKS)
        report = one.report()
        answer = gateways.hear(GatewayReport("a", "1", keys_version=report["keys_version"]), clock.now())
        assert answer is not None
        assert answer.keys is not None
        told = {"version": answer.keys.version, "blocks": answer.keys.blocks}
        base = {"base": answer.keys.base, "set": answer.keys.records, "delete": list(answer.keys.delete)}
        one.take({"version": "v", "keys": told | (base if number else {"records": answer.keys.records})})
        assert (one.error, one.report()["keys_version"]) == ("", answer.keys.version)


def test_a_child_that_ends_is_started_again(tmp_path: Path) -> None:
    told: list[str] = []
    command = [sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'a').write('x'); raise SystemExit(3)"]
    child = Child("it", command, os.environ, told.append)

    def ran_twice() -> bool:
        child.ensure()
        return (tmp_path / "ran").exists() and len((tmp_path / "ran").read_text()) >= 2

    wait_for(ran_twice, 20, "it was started again")
    assert told[0] == "it has ended (exit code 3) and is started again"
    child.stop()
    assert not child.runs()


def test_an_nginx_of_another_folder_is_not_its_own(tmp_path: Path) -> None:
    """After the machine was started anew the number in the pid file may be that of the system's nginx."""
    parts = NginxParts(tmp_path, tmp_path, GatewaySettings(), PortSettings(), FakeClock())
    other = subprocess.Popen([sys.executable, "-c", RENAMED], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        assert psutil.Process(other.pid).name() == "nginx"
        (tmp_path / "nginx.pid").write_text(f"{other.pid}\n")
        child = NginxChild(parts.process(), ["/bin/false"], os.environ, lambda words: None)

        assert not child.runs()
        child.stop()
        assert other.poll() is None
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert other.stdout is not None
        other.stdout.close()


RENAMED = """
import ctypes, signal
ctypes.CDLL(None).prctl(15, b"nginx", 0, 0, 0)
print("renamed", flush=True)
signal.pause()
"""
