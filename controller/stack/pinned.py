"""The controller's own certificate, as our own clients know it: that one, and no other that somebody vouches for.

They read it from the file that the configuration names. So there is nobody to trust, a certificate that signed itself
is as good as any, and neither its names nor its dates matter: an expired one must not keep people from `stoker status`.
"""

from __future__ import annotations

import re
import ssl
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, build_opener

from controller.settings import Settings

_BLOCK = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, for which Python has no name
_LARGEST = 1024 * 1024  # characters; a chain has a few thousand


def opener(settings: Settings) -> OpenerDirector:
    """For the controller. It is on this machine: a proxy for the outside world has nothing to do with it.

    Raises:
        OSError: the certificate cannot be read.
    """
    if settings.controller.tls is None:
        return build_opener(ProxyHandler({}))
    return build_opener(ProxyHandler({}), HTTPSHandler(context=trusting(leaf_of(settings.controller.tls.certificate))))


def connection(settings: Settings, timeout_s: float) -> HTTPConnection:
    """One that is kept. Raises `OSError` as `opener` does."""
    own, port = settings.controller, settings.ports.controller
    if own.tls is None:
        return HTTPConnection(own.reach.strip("[]"), port, timeout=timeout_s)
    context = trusting(leaf_of(own.tls.certificate))
    return HTTPSConnection(own.reach.strip("[]"), port, timeout=timeout_s, context=context)


def leaf_of(file: str) -> str:
    """The first certificate of a PEM file, which is the server's own: those behind it vouch for others, too.

    Raises:
        OSError: it cannot be read, or there is none in it.
    """
    with Path(file).open(encoding="ascii", errors="replace") as opened:
        found = _BLOCK.search(opened.read(_LARGEST))
    if found is None:
        raise ssl.SSLError(f"there is no certificate in {file}")
    return f"{found[0]}\n"


def trusting(pem: str) -> ssl.SSLContext:
    """A client that takes this certificate and no other. Raises `ssl.SSLError` where it is damaged."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    context.load_verify_locations(cadata=pem)
    return context
