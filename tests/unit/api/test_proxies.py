"""The doorway: whose requests get in, whose word on the client counts, and under which names."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from controller.api.proxies import Doors, Doorway, names_for

PROXY, CLIENT = "10.0.0.9", "203.0.113.5"
BEYOND = Doors(trusted=("10.0.0.9/32",), names=("stoker.example.org",), local_only=True)
ON_LOOPBACK = Doors(names=("stoker.example.org",))


@dataclass
class Seen:
    """What came of a request: the application's scope, where it got there, and the answer."""

    scope: dict[str, Any] = field(default_factory=dict)
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def detail(self) -> str:
        return str(json.loads(self.body)["detail"])


def ask(doors: Doors, peer: str, *, scheme: str = "http", server: str = "10.0.0.1", **headers: str) -> Seen:
    seen = Seen()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.scope = scope
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            seen.status = message["status"]
            seen.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        seen.body += message.get("body", b"")

    async def receive() -> Any:
        return {"type": "http.request"}

    sent = {"host": f"{server}:8000", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "scheme": scheme,
        "client": (peer, 50_000),
        "server": (server, 8000),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
    }
    asyncio.run(Doorway(app, doors)(scope, receive, send))
    return seen


def test_without_tls_only_this_machine_and_the_proxies_get_in() -> None:
    refused = ask(BEYOND, CLIENT, x_forwarded_for="127.0.0.1")
    assert (refused.status, refused.scope) == (403, {})
    assert "only the proxies in controller.trusted_proxies may ask it" in refused.detail
    for here in ("127.0.0.1", "10.0.0.1", "::ffff:127.0.0.1", PROXY):
        assert ask(BEYOND, here).status == 200


@pytest.mark.parametrize(
    ("peer", "headers", "client", "scheme"),
    [
        (PROXY, {"x_forwarded_for": CLIENT, "x_forwarded_proto": "https"}, CLIENT, "https"),
        (PROXY, {}, PROXY, "http"),
        # What the client itself has put there stands before what the proxy added.
        (PROXY, {"x_forwarded_for": f"1.2.3.4, {CLIENT}"}, CLIENT, "http"),
        (f"::ffff:{PROXY}", {"x_forwarded_for": CLIENT}, CLIENT, "http"),
        (PROXY, {"x_forwarded_for": "<script>"}, PROXY, "http"),
        (PROXY, {"x_forwarded_proto": "gopher"}, PROXY, "http"),
        # From anybody else they say nothing.
        ("127.0.0.1", {"x_forwarded_for": CLIENT, "x_forwarded_proto": "https"}, "127.0.0.1", "http"),
    ],
)
def test_whose_word_on_the_client_counts(peer: str, headers: dict[str, str], client: str, scheme: str) -> None:
    seen = ask(BEYOND, peer, **headers)
    assert (seen.scope["client"][0], seen.scope["scheme"]) == (client, scheme)


@pytest.mark.parametrize(
    ("told", "client"),
    [
        (["10.9.9.9, 10.1.2.3"], "10.1.2.3"),  # all of them could be proxies: the client wrote the first one
        (["10.9.9.9", "10.1.2.3"], "10.1.2.3"),
        ([f"10.9.9.9, {CLIENT}, 10.1.2.3"], CLIENT),
        ([f"10.9.9.9, {CLIENT}:50000, 10.1.2.3:443"], CLIENT),
        ([f"10.9.9.9, {CLIENT}", "10.1.2.3, 10.1.2.4"], CLIENT),
        (["1.2.3.4, <script>, 10.1.2.3"], PROXY),
        (["10.9.9.9, [2001:db8::1]:443"], "2001:db8::1"),
        ([""], PROXY),
    ],
)
def test_of_several_addresses_that_counts_which_a_proxy_of_ours_saw(told: list[str], client: str) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"][0])

    headers = [(b"host", b"localhost"), *((b"x-forwarded-for", line.encode()) for line in told)]
    scope = {
        "type": "http", "scheme": "http", "client": (PROXY, 1), "server": ("10.0.0.1", 8000), "headers": headers
    }  # fmt: skip
    asyncio.run(Doorway(app, Doors(trusted=("10.0.0.0/8",)))(scope, None, None))  # type: ignore[arg-type]
    assert seen == [client]


def test_of_several_hosts_the_last_one_counts() -> None:
    def name(*told: bytes) -> int:
        statuses: list[int] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            statuses.append(200)

        async def send(message: Any) -> None:
            statuses.append(message.get("status", 0))

        headers = [(b"host", b"localhost"), *((b"x-forwarded-host", one) for one in told)]
        scope = {
            "type": "http", "scheme": "http", "client": (PROXY, 1), "server": ("10.0.0.1", 8000), "headers": headers
        }  # fmt: skip
        asyncio.run(Doorway(app, BEYOND)(scope, None, send))  # type: ignore[arg-type]
        return statuses[0]

    assert name(b"localhost", b"evil.example") == 421
    assert name(b"evil.example", b"stoker.example.org") == 200


def test_a_proxy_says_what_the_client_asked_for() -> None:
    headers = dict(ask(BEYOND, PROXY, x_forwarded_host="stoker.example.org").scope["headers"])
    assert headers[b"host"] == b"stoker.example.org"
    assert ask(BEYOND, "127.0.0.1", x_forwarded_host="evil.example").scope["headers"][0] == (b"host", b"10.0.0.1:8000")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("LOCALHOST:8000", 200),
        ("stoker.example.org", 200),
        ("stoker.example.org.:8000", 200),
        ("192.0.2.7", 200),  # whose page that is, is our own
        ("rebound.example:8000", 421),
        ("127.0.0.1.rebound.example", 421),
        ("stoker.example.org.evil", 421),
    ],
)
def test_a_page_of_somebody_else_cannot_ask_under_its_own_name(host: str, status: int) -> None:
    seen = ask(ON_LOOPBACK, "127.0.0.1", host=host)
    assert seen.status == status
    if status == 421:
        assert "is not called" in seen.detail


HERE_TRUSTED = Doors(trusted=("127.0.0.1/32",), names=("stoker.example.org",))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "rebound.example:8000"}, 421),  # a browser on the proxy's machine, without the proxy
        ({"host": "rebound.example:8000", "x_forwarded_proto": "https"}, 421),  # which a page may write itself
        ({"host": "127.0.0.1:8000", "x_forwarded_host": "rebound.example"}, 421),
        ({"host": "stoker.example.org", "x_forwarded_proto": "https", "x_forwarded_for": CLIENT}, 200),
        ({"host": "stoker.example.org", "x_forwarded_host": "stoker.example.org:8443"}, 200),
        ({"host": "upstream", "x_forwarded_host": "stoker.example.org", "x_forwarded_proto": "https"}, 200),
        ({"host": "upstream", "x_forwarded_host": "any.example, stoker.example.org"}, 200),
        ({"host": "127.0.0.1:8000"}, 200),  # our own clients
        ({"host": "localhost:8000"}, 200),
        ({"host": ""}, 200),
    ],
)
def test_what_a_proxy_passes_on_must_be_a_name_of_ours_too(headers: dict[str, str], status: int) -> None:
    seen = ask(HERE_TRUSTED, "127.0.0.1", **headers)
    assert seen.status == status
    assert ("give the name that it has as controller.public_url" in seen.body.decode()) is (status == 421)


def test_a_proxy_that_speaks_tls_to_us_goes_by_the_certificate() -> None:
    assert ask(HERE_TRUSTED, "127.0.0.1", scheme="https", host="any.example").status == 200


def test_over_tls_the_certificate_says_what_it_is_called() -> None:
    assert ask(Doors(), CLIENT, scheme="https", host="any.example").status == 200


@pytest.mark.parametrize(
    ("scheme", "host", "told"),
    [
        ("https", "stoker.example.org", True),
        ("https", "localhost:8000", False),  # would hold for everything else there, too
        ("https", "10.0.0.1:8000", False),
        ("http", "stoker.example.org", False),
    ],
)
def test_who_came_by_tls_by_name_is_to_come_by_tls_again(scheme: str, host: str, told: bool) -> None:
    seen = ask(ON_LOOPBACK, CLIENT, scheme=scheme, host=host)
    assert ("strict-transport-security" in seen.headers) is told


def test_what_is_no_request_goes_through() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(Doorway(app, BEYOND)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]


def test_names_are_those_of_the_configuration() -> None:
    assert names_for("127.0.0.1", None) == ()
    assert names_for("gpu-1", "stoker.example.org") == ("gpu-1", "stoker.example.org")
