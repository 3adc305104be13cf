"""What the controller's API says, as the command line reads it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

from controller.settings import Settings
from controller.stack.trouble import Trouble

_ANSWER_S = 2.0
# The controller is on this machine: a proxy for the outside world has nothing to do with it.
_opener = build_opener(ProxyHandler({}))

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """Pools and replicas as of the controller's last tick, in the API's own words."""

    pools: tuple[Row, ...] = ()
    replicas: tuple[Row, ...] = ()

    def ready(self) -> bool:
        """Whether nginx sends requests to at least its floor of replicas, for every pool."""
        routed = Counter(row["pool"] for row in self.replicas if row["routed"])
        return bool(self.pools) and all(routed[pool["pool"]] >= pool["floor"] for pool in self.pools)


def url(settings: Settings) -> str:
    """Where the controller listens."""
    return f"http://{settings.controller.reach}:{settings.ports.controller}"


def look(settings: Settings) -> Seen | None:
    """Ask once; None where it does not answer or has not finished its first tick. Blocks for a few seconds at most."""
    base = url(settings)
    try:
        _get(f"{base}/readyz")
        pools, replicas = (json.loads(_get(f"{base}/api/v1/{name}")) for name in ("pools", "replicas"))
    except (URLError, OSError, ValueError):
        return None
    return Seen(tuple(pools), tuple(sorted(replicas, key=_order)))


def pool_decisions(settings: Settings, pool: str, asked: dict[str, str]) -> list[Row]:
    """`GET /api/v1/pools/{pool}/decisions`. Blocks for a few seconds at most.

    Raises:
        Trouble: the controller does not answer, or says that there is no such pool.
    """
    found: list[Row] = ask(settings, f"/api/v1/pools/{quote(pool, safe='')}/decisions?{urlencode(asked)}")
    return found


def ask(settings: Settings, path: str, wanted: Row | None = None, token: str = "") -> Any:
    """What the API answers to a GET, or to a POST of what is wanted. Blocks for a few seconds at most.

    Raises:
        Trouble: the controller does not answer, or refuses; then with its own sentence.
    """
    body = None if wanted is None else json.dumps(wanted).encode()
    request = Request(f"{url(settings)}{path}", body, {"Content-Type": "application/json"} if body else {})
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with _opener.open(request, timeout=_ANSWER_S) as answer:
            return json.loads(answer.read())
    except HTTPError as error:
        with error:
            raise Trouble(_detail(error)) from error
    except (URLError, OSError, ValueError) as error:
        raise Trouble(
            f"the controller does not answer at {url(settings)}; is it running? `stoker up` starts it"
        ) from error


def _detail(error: HTTPError) -> str:
    """The API's own sentence, where it gave one."""
    try:
        return str(json.loads(error.read())["detail"])
    except (ValueError, LookupError, TypeError, OSError):
        return f"the controller answered {error.code} {error.reason}"


def _order(row: Row) -> tuple[str, int, str]:
    """small-2 before small-10."""
    return (row["pool"], len(row["replica"]), row["replica"])


def _get(address: str) -> bytes:
    with _opener.open(address, timeout=_ANSWER_S) as answer:
        return bytes(answer.read())
