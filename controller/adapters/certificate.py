"""Until when a certificate is good, as its PEM file says.

Python's own library decodes a certificate only after a handshake that succeeded, which one that has expired never does,
and a process of `openssl` for one date is much for a tick. So the bytes of DER on the way to that date are read here.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from controller.ports import Clock

_FRESH = timedelta(minutes=1)
_LARGEST = 1024 * 1024  # bytes; a chain has a few thousand
_BLOCK = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x17, 0x18, 0xA0
_CENTURY = 50  # RFC 5280: a UTCTime of 50 and more is of the century before


class CertificateEnds:
    """Reads a file at most once a minute. For one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, tuple[datetime, datetime | None]] = {}  # when it was read, and what was found

    def of(self, file: str) -> datetime | None:
        """The first moment at which one of its certificates is good no longer; None where it cannot be read."""
        now = self._clock.now()
        read_at, end = self._known.get(file, (None, None))
        if read_at is None or not timedelta(0) <= now - read_at < _FRESH:
            end = _read(Path(file))
            self._known = {file: (now, end)}  # of one file only: a reload may have brought another
        return end


def _read(file: Path) -> datetime | None:
    try:
        with file.open(encoding="ascii") as opened:
            return end_of(opened.read(_LARGEST))
    except (OSError, ValueError):
        return None


def end_of(pem: str) -> datetime:
    """The earliest end of the certificates in it. Raises `ValueError` where there is none, or one is damaged."""
    ends = [_not_after(ssl.PEM_cert_to_DER_cert(block)) for block in _BLOCK.findall(pem)]
    if not ends:
        raise ValueError("there is no certificate in it")
    return min(ends)


def _not_after(der: bytes) -> datetime:
    """RFC 5280, 4.1: [version], serial, signature, issuer, and then the validity, the second time of which it is."""
    (_, certificate), *_ = _parts(der)
    (_, signed), *_ = _parts(certificate)
    parts = [content for tag, content in _parts(signed) if tag != _VERSION]
    try:
        tag, text = list(_parts(parts[3]))[1]
    except IndexError:
        raise ValueError("it ends before its validity") from None
    return _time(tag, text.decode("ascii"))


def _parts(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each part, one after the other."""
    at = 0
    while at < len(der):
        head = der[at : at + 2]
        if len(head) < 2:
            raise ValueError("it ends within a part")
        tag, size = head
        at += 2
        if size & 0x80:
            more = size & 0x7F
            size = int.from_bytes(der[at : at + more], "big")
            at += more
        if at + size > len(der):
            raise ValueError("it ends within a part")
        yield tag, der[at : at + size]
        at += size


def _time(tag: int, text: str) -> datetime:
    if tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= _CENTURY else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("its validity has no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
