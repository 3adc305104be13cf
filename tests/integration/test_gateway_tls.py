"""TLS at the gateway, and whose address a request has behind a proxy."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.nginx import prepare
from controller.adapters.nginx.rules import PoolRules, Rules
from controller.core.errors import GatewayRejected
from tests.fakes.clock import FakeClock
from tests.fakes.engine import Exchange, FakeEngine, engines
from tests.fakes.running_nginx import POOL, RunningNginx, parts_in, plan
from tests.integration.gateway_access import digest, give, key, record
from tests.integration.gateway_llama import WORDS, llama
from tests.integration.gateway_raw import Said, Wire, request
from tests.integration.gateway_watch import idle
from tests.waiting import wait_for

BODY = b'{"model":"smollm2","messages":[]}'
STREAM = b'{"model":"smollm2","messages":[],"stream":true}'
AUTH = f"Authorization: Bearer {key(1)}"
CURL = shutil.which("curl")


@dataclass(frozen=True)
class Files:
    """A certificate that signs itself, and its key."""

    certificate: Path
    key: Path

    def renew(self, name: str) -> None:
        """Another one, for this machine; `name` tells it apart.

        By rename: nginx takes files of the same number and the same second for the same files.
        """
        subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        made = ["-keyout", f"{self.key}.new", "-out", f"{self.certificate}.new"]
        kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        subprocess.run(["openssl", "req", *kind, *subject, *made], check=True, capture_output=True, timeout=30)
        for file in (self.certificate, self.key):
            os.replace(f"{file}.new", file)

    def trusted(self, *protocols: str) -> ssl.SSLContext:
        """A client that trusts it, and nothing else."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.set_alpn_protocols(list(protocols or ("http/1.1",)))
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    found = Files(tmp_path / "gateway.crt", tmp_path / "gateway.key")
    found.renew("first")
    return found


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with engines(llama) as (engine,):
        yield engine


def started(folder: Path, rules: PoolRules, **settings: object) -> RunningNginx:
    clock = FakeClock()
    nginx = RunningNginx(parts_in(folder, clock, Rules({"smollm2": rules}), **settings), clock)
    give(nginx, {digest(key(1)): record(1)})
    return nginx


@pytest.fixture
def nginx(tmp_path: Path, files: Files, engine: FakeEngine) -> Iterator[RunningNginx]:
    tls = {"certificate": str(files.certificate), "key": str(files.key)}
    running = started(tmp_path, PoolRules(open=False), tls=tls)
    running.apply(plan(engine.address))
    yield running
    running.stop()


def name_of(wire: Wire) -> str:
    """Whom the certificate names that this connection was begun with."""
    assert isinstance(wire.socket, ssl.SSLSocket)
    found: Any = wire.socket.getpeercert()
    return str(dict(pair[0] for pair in found["subject"])["commonName"])


def test_requests_over_tls(nginx: RunningNginx, files: Files) -> None:
    with Wire(nginx, tls=files.trusted()) as wire:
        assert isinstance(wire.socket, ssl.SSLSocket)
        assert wire.socket.version() == "TLSv1.3"
        for body in (BODY, STREAM):
            said = wire.ask(request(body, AUTH))
            assert said is not None
            assert said.status == 200
        said = wire.ask(request(BODY))
        assert said is not None
        assert (said.status, said.code) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(("h2", "http/1.1"), "h2"), (("http/1.1",), "http/1.1"), (("spdy/1", "http/1.1"), "http/1.1")],
)
def test_the_protocol_is_agreed_upon(nginx: RunningNginx, files: Files, offered: tuple[str, ...], chosen: str) -> None:
    with Wire(nginx, tls=files.trusted(*offered)) as wire:
        assert isinstance(wire.socket, ssl.SSLSocket)
        assert wire.socket.selected_alpn_protocol() == chosen


def test_old_versions_of_tls_are_refused(nginx: RunningNginx, files: Files) -> None:
    context = files.trusted()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Wire(nginx, tls=context) as wire:
        assert isinstance(wire.socket, ssl.SSLSocket)
        assert wire.socket.version() == "TLSv1.2"
    old = subprocess.run(
        ["openssl", "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-connect", address(nginx)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert old.returncode != 0


def address(nginx: RunningNginx) -> str:
    return f"127.0.0.1:{nginx.parts.ports.gateway}"


def curl(nginx: RunningNginx, files: Files, body: bytes, *more: str) -> tuple[str, str, bytes]:
    """One request over HTTP/2: version, status, body."""
    assert CURL is not None
    done = subprocess.run(
        [CURL, "--silent", "--http2", "--no-buffer", "--cacert", str(files.certificate), "--data-binary", "@-"]
        + ["--write-out", "\n%{http_version} %{http_code}", *more, f"https://{address(nginx)}/v1/chat/completions"],
        input=body,
        capture_output=True,
        timeout=30,
        check=True,
    )
    text, _, told = done.stdout.rpartition(b"\n")
    version, status = told.decode().split(" ")
    return version, status, text


def test_http_2(nginx: RunningNginx, files: Files, engine: FakeEngine) -> None:
    authorised = ("-H", AUTH)
    assert curl(nginx, files, BODY, *authorised)[:2] == ("2", "200")
    version, status, text = curl(nginx, files, STREAM, *authorised)
    assert (version, status) == ("2", "200")
    assert all(f'"content": "{word}"'.encode() in text for word in WORDS)
    assert b'"usage"' not in text, "only the gateway has asked for it"
    assert text.endswith(b"data: [DONE]\n\n")

    json = {"content-type": "application/json"}
    version, status, text = curl(nginx, files, BODY)
    assert (version, status, Said(401, json, text).code) == ("2", "401", "invalid_api_key")
    version, status, text = curl(nginx, files, b"x" * 9_000_000, *authorised)
    assert (version, status, Said(413, json, text).code) == ("2", "413", "request_too_large")
    assert [exchange.head.split(b" ")[2][:8] for exchange in engine.seen] == [b"HTTP/1.1"] * 2
    wait_for(lambda: idle(nginx), 10, "nothing is in flight")


def test_plain_http_is_told_what_is_missing(nginx: RunningNginx, engine: FakeEngine) -> None:
    with Wire(nginx) as wire:
        said = wire.ask(request(BODY, AUTH))
        assert said is not None
        assert (said.status, said.code, said.headers["connection"]) == (400, "tls_needed", "close")
    assert engine.seen == []


def test_a_new_certificate_is_taken_by_the_next_look(nginx: RunningNginx, files: Files, engine: FakeEngine) -> None:
    before = files.trusted()
    with Wire(nginx, tls=before) as old:
        assert name_of(old) == "first"
        files.renew("second")
        with Wire(nginx, tls=before) as wire:
            assert name_of(wire) == "first", "nobody has looked yet"
        nginx.gateway.apply(plan(engine.address))  # what runs already
        with Wire(nginx, tls=files.trusted()) as wire:
            assert name_of(wire) == "second"
            said = wire.ask(request(BODY, AUTH))
            assert said is not None
            assert said.status == 200
        said = old.ask(request(BODY, AUTH))
        assert said is not None
        assert said.status == 200, "who was connected is served"
    with pytest.raises(ssl.SSLCertVerificationError):
        Wire(nginx, tls=before)


def test_the_same_certificate_is_no_reason_for_a_reload(nginx: RunningNginx, files: Files, engine: FakeEngine) -> None:
    workers = nginx.settled()
    for file in (files.certificate, files.key):
        shutil.copy(file, f"{file}.new")
        os.replace(f"{file}.new", file)
    nginx.gateway.apply(plan(engine.address))
    assert nginx.settled() == workers


@pytest.mark.parametrize("spoil", ["other key", "half written", "gone", "passphrase"])
def test_files_that_are_no_pair_are_told_and_stop_no_change_of_routes(
    nginx: RunningNginx, files: Files, engine: FakeEngine, tmp_path: Path, spoil: str
) -> None:
    client = files.trusted()
    spoiled(files, tmp_path, spoil)
    nginx.clock.advance(60)
    nginx.gateway.apply(plan())  # a replica that is dead must leave all the same
    with pytest.raises(GatewayRejected, match=r"gateway\.(crt|key)") as refused:
        nginx.gateway.apply(plan())
    assert "PRIVATE" not in str(refused.value)
    nginx.clock.advance(60)
    nginx.gateway.apply(plan(engine.address))

    with Wire(nginx, tls=client) as wire:
        said = wire.ask(request(BODY, AUTH))
        assert said is not None
        assert (said.status, name_of(wire)) == (200, "first")

    files.renew("mended")
    nginx.gateway.apply(plan(engine.address))
    with Wire(nginx, tls=files.trusted()) as wire:
        assert name_of(wire) == "mended"


def spoiled(files: Files, folder: Path, how: str) -> None:
    """What may stand there while a certificate is renewed, or for good."""
    if how == "other key":
        other = Files(folder / "other.crt", folder / "other.key")
        other.renew("other")
        shutil.copy(other.key, files.key)
    elif how == "half written":
        files.certificate.write_bytes(files.certificate.read_bytes()[:200])
    elif how == "gone":
        files.key.unlink()
    else:
        command = ["openssl", "ec", "-aes256", "-passout", "pass:sesame", "-in", str(files.key), "-out", str(files.key)]
        subprocess.run(command, check=True, capture_output=True, timeout=30)


def test_the_copy_of_the_key_is_nobody_elses(nginx: RunningNginx) -> None:
    assert (nginx.parts.folder / "tls.pem").stat().st_mode & 0o777 == 0o600


def test_missing_files_are_told_before_anything_starts(tmp_path: Path) -> None:
    tls = {"certificate": str(tmp_path / "no.crt"), "key": str(tmp_path / "no.key")}
    parts = parts_in(tmp_path, FakeClock(), tls=tls)

    with pytest.raises(GatewayRejected, match=r"no\.crt"):
        prepare(parts, [POOL])


# Behind a proxy


def users(nginx: RunningNginx, running: list[FakeEngine], forwarded: list[str]) -> list[int]:
    """Which replica each of these addresses had."""
    found = []
    for text in forwarded:
        before = [len(engine.seen) for engine in running]
        with Wire(nginx) as wire:
            said = wire.ask(request(BODY, f"X-Forwarded-For: {text}"))
            assert said is not None
            assert said.status == 200
        found += [place for place, engine in enumerate(running) if len(engine.seen) > before[place]]
    return found


MANY = [f"192.0.2.{number}" for number in range(16)]


@pytest.mark.parametrize(
    ("trusted", "forwarded", "several"),
    [
        pytest.param(["127.0.0.1/32"], MANY, True, id="a trusted proxy"),
        pytest.param(["127.0.0.0/8", "::1/128"], MANY, True, id="a network of them"),
        pytest.param([], MANY, False, id="nobody is trusted"),
        pytest.param(["10.0.0.0/8"], MANY, False, id="somebody else is trusted"),
        pytest.param(["127.0.0.1/32"], [f"{one}, 198.51.100.7" for one in MANY], False, id="what a client made up"),
        pytest.param(
            ["127.0.0.1/32", "198.51.100.0/24"], [f"{one}, 198.51.100.7" for one in MANY], True, id="two proxies"
        ),
        pytest.param(["127.0.0.1/32"], ["x", "", "-", "999.1.1.1", "$remote_addr", "::::"], False, id="no address"),
    ],
)
def test_whose_address_it_is(tmp_path: Path, trusted: list[str], forwarded: list[str], several: bool) -> None:
    nginx = started(tmp_path, PoolRules(), trusted_proxies=trusted)
    with engines(*[Exchange.answer] * 4) as running:
        nginx.apply(plan(*(engine.address for engine in running)))
        found = users(nginx, running, forwarded)
        assert users(nginx, running, forwarded) == found, "an address keeps its replica"
    nginx.stop()

    assert (len(set(found)) > 1) == several


def test_a_handshake_that_is_none_does_no_harm(nginx: RunningNginx, files: Files) -> None:
    workers = nginx.settled()
    for data in (b"\x16\x03\x01" + b"\xff" * 300, b"\x80" * 100, b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", nginx.parts.ports.gateway), timeout=20) as client:
            client.sendall(data)
    with Wire(nginx, tls=files.trusted("h2")) as wire:
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 200)
        wire.rest()
    with Wire(nginx, tls=files.trusted()) as wire:
        said = wire.ask(request(BODY, AUTH))
        assert said is not None
        assert said.status == 200
    assert nginx.workers() == workers
    wait_for(lambda: idle(nginx), 10, "nothing is in flight")
