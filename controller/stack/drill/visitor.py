"""How the drill's load is let in: with a key of its own where the pool needs one, for as long as the drill runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from controller.adapters.nginx.rules import rules_of
from controller.settings import Settings
from controller.stack.key_requests import KeysClient
from controller.stack.trouble import Trouble

_ENDS_S = 3600  # should nobody be left to revoke it
_LET_IN_S, _PAUSE_S, _ANSWER_S = 15.0, 0.1, 2.0
_opener = build_opener(ProxyHandler({}))


@contextmanager
def visiting(state_dir: Path, settings: Settings, pool: str, url: str) -> Iterator[str]:
    """The key to show at the gateway's `url`; empty for an open pool. It is revoked at the end.

    Raises:
        Trouble: no key can be made, or the gateway does not let it in within 15 s.
    """
    if rules_of(settings).of(pool).open:
        yield ""
        return
    model = next(known.model for known in settings.pools if known.name == pool)
    keys = KeysClient(state_dir)
    made = keys.create({"name": "drill", "models": [model], "expires_in_s": _ENDS_S, "why": "the load of a drill"}).row
    try:
        _await(f"{url}/v1/models/{quote(model)}", made["key"])
        yield made["key"]
    finally:
        keys.revoke(made["id"], "the drill is over")


def _await(url: str, key: str) -> None:
    until_s = time.monotonic() + _LET_IN_S
    while not _lets_in(url, key):
        if time.monotonic() > until_s:
            raise Trouble(
                f"the gateway does not let the drill's key in within {_LET_IN_S:g} s; `stoker status` says why"
            )
        threading.Event().wait(_PAUSE_S)


def _lets_in(url: str, key: str) -> bool:
    request = Request(url)
    request.add_unredirected_header("Authorization", f"Bearer {key}")
    try:
        with _opener.open(request, timeout=_ANSWER_S):
            return True
    except HTTPError as error:
        error.close()
        return False
    except (URLError, OSError):
        return False
