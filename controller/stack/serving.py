"""The certificate and key that the controller serves with.

The files that the configuration names may be renewed at any moment, and stand half-written, or one without the other,
for a while. So a pair that was seen to be good is kept in the state directory, and goes on until the next one is good,
too: over a restart, as replicas must not wait for a certificate. What is new is looked for at each handshake, and then
counts for that one; connections that are open know nothing of it.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from controller.faults import ConfigError
from controller.installation import Layout, replace_text
from controller.settings import Settings
from controller.settings.access import ControllerTlsSettings
from controller.stack.pinned import leaf_of, trusting

_LARGEST = 1024 * 1024  # bytes; a chain has a few thousand
_FLIGHTS = 8  # of a handshake; it has three
_Signature = tuple[tuple[int, int, int], ...]
_WHAT = "controller.tls"


class ServedPair:
    """See above. For one thread."""

    def __init__(self, tls: ControllerTlsSettings, layout: Layout, complain: Callable[[str], None]) -> None:
        self._tls, self._layout, self._complain = tls, layout, complain
        self._seen: _Signature | None = None
        self._newest: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """For the server: it looks for a newer pair at each handshake.

        Raises:
            ConfigError: the pair is not good, and there is none from before.
        """
        try:
            self._newest = self._take()
        except ConfigError as error:
            if not self._layout.served_pair.exists():
                raise
            self._complain(f"{error}; the pair from before serves on")
            self._newest = _context(self._layout.served_pair)
        self._newest.sni_callback = self._renew
        return self._newest

    def _renew(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
        try:
            if self._signature() != self._seen:
                self._newest = self._take()
        except ConfigError as error:
            self._complain(f"{error}; the pair from before serves on")
        if self._newest is not None:
            connection.context = self._newest

    def _take(self) -> ssl.SSLContext:
        """What is there now, if it is good; then it is the one that is kept. Raises `ConfigError`."""
        self._seen = self._signature()
        try:
            pair = b"\n".join(Path(file).read_bytes()[:_LARGEST] for file in (self._tls.certificate, self._tls.key))
            candidate = self._layout.served_pair.with_suffix(f".{os.getpid()}")
            _write(candidate, pair)
            try:
                context = _context(candidate)
                os.replace(candidate, self._layout.served_pair)
            finally:
                candidate.unlink(missing_ok=True)
            replace_text(self._layout.served_certificate, leaf_of(str(self._layout.served_pair)))
        except OSError as error:
            words = str(getattr(error, "reason", None) or error.strerror or error).replace("_", " ").lower()
            raise ConfigError(
                f"{self._tls.certificate} and {self._tls.key} cannot be served with ({words}); {_WHAT} needs a "
                "certificate and the key that belongs to it, as PEM, the key without a passphrase"
            ) from error
        return context

    def _signature(self) -> _Signature:
        try:
            found = [os.stat(file) for file in (self._tls.certificate, self._tls.key)]
        except OSError as error:
            if self._seen == ():
                return ()
            self._seen = ()  # it is told once
            raise ConfigError(f"{error.filename} cannot be read ({error.strerror}); {_WHAT} names it") from error
        return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in found)


def take(tls: ControllerTlsSettings, layout: Layout) -> None:
    """Keep the pair for what is about to start, and refuse what nobody could verify.

    Raises:
        ConfigError: the files cannot be read, or are no pair; or the certificate tells no name.
    """
    layout.root.mkdir(parents=True, exist_ok=True)
    ServedPair(tls, layout, lambda words: None)._take()
    server_name(layout)


def trust(settings: Settings, layout: Layout) -> dict[str, object]:
    """How Prometheus and Alertmanager verify the controller; nothing where it speaks no TLS. Raises `ConfigError`."""
    if settings.controller.tls is None:
        return {}
    return {"tls_config": {"ca_file": str(layout.served_certificate), "server_name": server_name(layout)}}


def server_name(layout: Layout) -> str:
    """By what name Prometheus and Alertmanager, which insist on one, are to know the certificate.

    Raises:
        ConfigError: it tells none, or is not for servers.
    """
    try:
        names = _names(_context(layout.served_pair), trusting(leaf_of(str(layout.served_pair))))
    except OSError as error:
        raise ConfigError(f"the certificate of {_WHAT} is not one for a server: {error}") from error
    if not names:
        raise ConfigError(
            f"the certificate of {_WHAT} has no subjectAltName, without which neither browsers nor Prometheus take it; "
            'make one with, say, `-addext "subjectAltName=DNS:stoker.example.org"`'
        )
    return f"stoker{names[0][1:]}" if names[0].startswith("*.") else names[0]


def _names(server: ssl.SSLContext, client: ssl.SSLContext) -> list[str]:
    """What the certificate says, found by a handshake that no network is needed for."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(there, back)
    answering = server.wrap_bio(back, there, server_side=True)
    for _ in range(_FLIGHTS):
        for side in (asking, answering):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    told = cast(Sequence[tuple[str, str]], (asking.getpeercert() or {}).get("subjectAltName", ()))
    return [name for kind, name in told if kind in ("DNS", "IP Address")]


def _context(pair: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pair, password=lambda: b"")
    return context


def _write(file: Path, content: bytes) -> None:
    """Never readable by others, not for a moment."""
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
