"""What a gateway asks of the controllers, over HTTP."""

from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from controller.settings.access import on_loopback
from controller.stack.trouble import Trouble

_ANSWER_S = 5.0
_LATER = (404, 409, 429)  # besides 5xx: an older controller, one that stands by, one that has no room


class Away(Exception):
    """No controller that leads answers now. The text is one sentence without its end."""


class Refused(Exception):
    """A controller will not have this gateway as it is. The text is one sentence without its end."""


class Controllers:
    """All that may lead; the one that answered last is asked first."""

    def __init__(self, urls: Sequence[str], token: str, ca_file: Path | None = None) -> None:
        """Raises `Trouble` for a URL that is none, or a file that vouches for nobody."""
        self._urls = [_checked(url) for url in urls]
        self._token = token
        # Controllers are inside: a proxy for the outside world has nothing to do with them.
        self._opener = build_opener(ProxyHandler({}), HTTPSHandler(context=_context(ca_file)))

    def ask(self, name: str, report: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of the one that leads. Blocks for at most 5 s for each. Raises `Away` and `Refused`."""
        away: Away | None = None
        for url in list(self._urls):
            try:
                answer = self._ask(f"{url}/api/v1/gateways/{name}", report)
            except Away as error:
                away = away or error
                continue
            self._urls.remove(url)
            self._urls.insert(0, url)
            return answer
        raise away or Away("no controller is given")

    def _ask(self, url: str, report: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip"}
        request = Request(url, json.dumps(report).encode(), headers)
        request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=_ANSWER_S) as answer:
                body = answer.read()
                packed = answer.headers.get("Content-Encoding") == "gzip"
            found = json.loads(gzip.decompress(body) if packed else body)
        except HTTPError as error:
            with error:
                raise _refusal(error) from error
        except (URLError, OSError, EOFError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise Away(f"the controller at {_place(url)} does not answer ({reason})") from error
        if not isinstance(found, dict):
            raise Away(f"what answers at {_place(url)} is no controller")
        return found


def _refusal(error: HTTPError) -> Away | Refused:
    try:
        words = str(json.loads(error.read())["detail"])
    except (ValueError, LookupError, TypeError, OSError):
        words = f"it answered {error.code} {error.reason}"
    told = f"the controller at {_place(error.url)}: {words}"
    return Away(told) if error.code in _LATER or error.code >= 500 else Refused(told)


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
        _ = parts.port  # raises where it is none
    except ValueError:
        good = False
    if not good or parts.username or parts.password:
        raise Trouble(f"{url!r} is no URL of a controller; write one such as https://stoker.example.org:8000")
    if parts.scheme == "http" and not on_loopback(parts.hostname or ""):
        raise Trouble(
            f"over {url} anybody on the way would read the token and take this gateway over; write https://, and where "
            "the controller's certificate signed itself give a copy of it as --ca-file"
        )
    return url.rstrip("/")


def _place(url: str) -> str:
    return urlsplit(url).netloc


def _context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise Trouble(f"{ca_file} cannot be used as --ca-file: {error.strerror or error}") from error
    if ca_file is not None:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it may be the controller's own, whoever signed that
    return context
