"""The certificate and key that nginx serves with: a copy of the files that the settings name.

Those may be renewed at any moment, and stand half-written, or one without the other, for a while. Nginx refuses every
configuration then, also one that takes a dead replica out. So it is given a pair that was seen to be good, in one file,
and goes on with that one until the next pair is good, too.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from controller.adapters.nginx.config import NginxConfig
from controller.core.errors import GatewayRejected

NAME = "tls.pem"
_LARGEST = 1024 * 1024  # bytes; a chain has a few thousand

_Signature = tuple[tuple[str, int, int, int], ...]


class ServedCertificate:
    """`tls.pem` in nginx's folder, mode 0600. For one thread."""

    def __init__(self, folder: Path, name: str = NAME) -> None:
        self._file = folder / name
        self._seen: _Signature | None = None  # of the files that the copy was made of

    def take(self, config: NginxConfig) -> bytes | None:
        """Copy the pair if it is another one: what the copy held before, to be put back if nginx refuses the new one.

        None where nothing changed, or nothing is to be served with TLS. Two looks at the files where they are the same.

        Raises:
            GatewayRejected: they cannot be read, or do not belong together. The copy is as before.
        """
        if not config.certificate:
            return None
        seen = _signature(config.certificate, config.certificate_key)
        if seen == self._seen and self._file.exists():
            return None
        before = self._file.read_bytes() if self._file.exists() else b""
        pair = _read(config.certificate) + b"\n" + _read(config.certificate_key)
        if pair != before:
            self._put(pair, f"{config.certificate} and {config.certificate_key}")
        self._seen = seen
        return None if pair == before else before

    def take_other(self, config: NginxConfig, before: NginxConfig | None) -> bytes | None:
        """The same, where the settings name other files than before. The same files wait: routes come first."""
        if before is not None and _files(config) == _files(before):
            return None
        return self.take(config)

    def put_back(self, pair: bytes) -> None:
        """The copy is that again; the files are looked at anew next time. Empty: there was none."""
        self._seen = None
        if pair:
            _write(self._file, pair)
        else:
            self._file.unlink(missing_ok=True)

    def _put(self, pair: bytes, what: str) -> None:
        candidate = self._file.with_suffix(".next")
        _write(candidate, pair)
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(candidate, password=lambda: b"")
        except (ssl.SSLError, OSError) as error:
            candidate.unlink()
            words = str(getattr(error, "reason", None) or error).replace("_", " ").lower()
            raise GatewayRejected(
                f"{what} are no certificate with its key ({words}); put a pair in place that belongs together, the key "
                "without a passphrase"
            ) from error
        os.replace(candidate, self._file)


def _files(config: NginxConfig) -> tuple[str, str]:
    return config.certificate, config.certificate_key


def _signature(*files: str) -> _Signature:
    found = []
    for file in files:
        try:
            stat = os.stat(file)
        except OSError as error:
            raise _unreadable(file, error) from error
        found.append((file, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


def _read(file: str) -> bytes:
    try:
        with open(file, "rb") as opened:
            return opened.read(_LARGEST)
    except OSError as error:
        raise _unreadable(file, error) from error


def _write(file: Path, content: bytes) -> None:
    """Never readable by others, not for a moment."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(descriptor)


def _unreadable(file: str, error: OSError) -> GatewayRejected:
    return GatewayRejected(f"{file} cannot be read: {error.strerror}")
