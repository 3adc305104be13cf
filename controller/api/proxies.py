"""The doorway: who may knock at all, whose word on the client counts, and under which names this is asked.

It stands before the application and decides by addresses alone; who somebody is comes later.

- Where the controller listens beyond this machine without TLS, only this machine and the named proxies get in: what
  anybody else sends could be read on the way.
- `X-Forwarded-For`, `-Proto` and `-Host` count from the named proxies only. From anybody else they are an attempt to
  have another address in the audit log, or to be throttled as somebody else.
- Over plain HTTP the Host must be a name of ours. A page on the internet can have its own name lead to 127.0.0.1 a
  moment after it was loaded, and then ask whatever listens there from the visitor's browser, as if that were its own
  server (DNS rebinding). Its name stays in the Host, and is refused. An IP address as Host is not: such a page would
  have to be ours. Over TLS the certificate does all this, as no browser takes it for the page's name. From a proxy it
  is the name that counts in the end: a browser may run on the proxy's machine, and on ours where that is one.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from controller.settings.access import on_loopback

_A_YEAR = "max-age=31536000"
_FORBIDDEN, _MISDIRECTED = 403, 421


@dataclass(frozen=True, slots=True)
class Doors:
    """`trusted`: addresses and networks of proxies. `names`: how people may call this besides localhost and addresses.

    `local_only`: without TLS beyond this machine, so that only this machine and the proxies get in.
    """

    trusted: Sequence[str] = ()
    names: Collection[str] = ()
    local_only: bool = False


class Doorway:
    """See above. An ASGI application around another one."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        self._app, self._doors = app, doors
        self._names = {"localhost", *(name.lower() for name in doors.names)}
        self._networks = [ipaddress.ip_network(text) for text in doors.trusted]
        # uvicorn has types of its own for what are the same three things
        self._believing: Any = ProxyHeadersMiddleware(cast(Any, self._inside), list(doors.trusted))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in, or answer with one sentence."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        peer = _plain(scope)
        trusted = self._trusts(peer)
        if self._doors.local_only and not (trusted or _is_here(peer, scope)):
            await _refuse(send, _FORBIDDEN, _NO_TLS)
            return
        if trusted:
            _take_host(scope)
            self._cut_addresses(scope)
        if (name := self._unknown_name(scope)) is not None:
            await _refuse(send, _MISDIRECTED, _NOT_OURS.format(name=name))
        elif trusted:
            scope["state"] = {**scope.get("state", {}), "proxy": peer}
            await self._believing(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    def _trusts(self, peer: str) -> bool:
        if not self._networks:
            return False
        address = _address(peer) or _address(_name(peer))  # some proxies add a port
        return address is not None and any(address in network for network in self._networks)

    def _cut_addresses(self, scope: Scope) -> None:
        """Leave of X-Forwarded-For what our proxies saw: from the right up to the first address that is none of theirs,
        and where all are, only the last one. Whatever stands before that is the client's own text."""
        told = [part.strip() for line in _headers(scope, b"x-forwarded-for") for part in line.split(",")]
        seen = next((at for at in range(len(told) - 1, -1, -1) if not self._trusts(told[at])), len(told) - 1)
        if told:
            others = [(name, value) for name, value in scope["headers"] if name != b"x-forwarded-for"]
            scope["headers"] = [*others, (b"x-forwarded-for", ", ".join(told[seen:]).encode("latin-1"))]

    async def _inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What a proxy passed on: an address that is none is taken for no better than the proxy's own."""
        if _address(scope["client"][0]) is None:
            scope["client"] = (scope["state"]["proxy"], 0)
        await self._answer(scope, receive, send)

    def _unknown_name(self, scope: Scope) -> str | None:
        """The name that was asked for over plain HTTP, where it is none of ours. That counts for a proxy, too: from its
        machine a browser may ask as well, and what a page says of the scheme is no TLS."""
        name = _name(_header(scope, b"host"))
        if scope["scheme"] != "http" or not name or name in self._names or _address(name) is not None:
            return None
        return name

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = _name(_header(scope, b"host"))
        if scope["scheme"] != "https" or name in ("", "localhost") or _address(name) is not None:
            await self._app(scope, receive, send)
            return

        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("Strict-Transport-Security", _A_YEAR)
            await send(message)

        await self._app(scope, receive, strict)


def names_for(host: str, public_url_host: str | None) -> tuple[str, ...]:
    """What people may call it: the configured host, where that is a name, and the host of `public_url`."""
    return tuple(name for name in (host, public_url_host) if name and not on_loopback(name))


_NO_TLS = (
    "this controller speaks no TLS, so beyond its own machine only the proxies in controller.trusted_proxies may ask it"
)
_NOT_OURS = (
    "this controller is not called {name}; ask for it by localhost or by an address, or give the name that it has as "
    "controller.public_url"
)


def _plain(scope: Scope) -> str:
    """The peer's address. An IPv4 peer of a socket for IPv6 is that IPv4 address, also for who asks later."""
    text, port = scope.get("client") or ("", 0)
    address = _address(text)
    if address is not None:
        scope["client"] = (str(address), port)
    return text if address is None else str(address)


def _is_here(peer: str, scope: Scope) -> bool:
    """From this machine: by loopback, or by the very address that was asked."""
    address = _address(peer)
    server = scope["server"][0] if scope.get("server") else ""
    return address is not None and (address.is_loopback or address == _address(server))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


def _name(host: str) -> str:
    """Of a Host header, without the port and the brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".").lower()


def _header(scope: Scope, wanted: bytes) -> str:
    return next(iter(_headers(scope, wanted)), "")


def _headers(scope: Scope, wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]


def _take_host(scope: Scope) -> None:
    """What the client asked the proxy for takes the place of what the proxy asked us for. The last one, as it is what
    the proxy nearest to us says, on whichever line."""
    told = ",".join(_headers(scope, b"x-forwarded-host")).rpartition(",")[2].strip()
    if told:
        others = [(name, value) for name, value in scope["headers"] if name != b"host"]
        scope["headers"] = [(b"host", told.encode("latin-1")), *others]


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
