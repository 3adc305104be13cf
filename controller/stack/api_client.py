"""What the controller's API says, as the command line reads it."""

from __future__ import annotations

import json
import ssl
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import OpenerDirector, Request

from controller.installation import Layout
from controller.settings import Settings, load
from controller.stack.api_token import token_of
from controller.stack.pinned import opener
from controller.stack.trouble import Trouble

_ANSWER_S, _LONG_S = 2.0, 60.0
SLOW_S = 15.0  # for what asks Prometheus (7 s) or nginx (5 s) first, and the database (5 s) of it
_NOT_LET_IN = (401, 403)

Row = dict[str, Any]


class Refused(Trouble):
    """The controller refuses, in its own sentence; `status` is that of HTTP."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class Seen:
    """Pools and replicas as of the controller's last tick, in the API's own words."""

    pools: tuple[Row, ...] = ()
    replicas: tuple[Row, ...] = ()

    def ready(self) -> bool:
        """Whether nginx sends requests to at least its floor of replicas, for every pool."""
        routed = Counter(row["pool"] for row in self.replicas if row["routed"])
        return bool(self.pools) and all(routed[pool["pool"]] >= pool["floor"] for pool in self.pools)


@dataclass(frozen=True, slots=True)
class Client:
    """The API of the controller that runs with a state directory, as whoever has the token may use it."""

    settings: Settings
    token: str = field(repr=False)

    @staticmethod
    def of(state_dir: Path) -> Client:
        """Raises `Trouble` where nothing runs with it, or this user may not read its token."""
        layout = Layout(state_dir)
        if not layout.config.exists():
            raise Trouble(f"nothing runs with the state directory {layout.root}; `stoker up` starts it")
        return Client(load(layout.config), token_of(layout))

    def ask(self, path: str, wanted: Row | None = None, *, method: str | None = None) -> Any:
        """As `ask` below."""
        return ask(self.settings, path, wanted, self.token, method=method)

    def text(self, path: str) -> str:
        """As `text` below."""
        return text(self.settings, path, self.token)


def dashboard(settings: Settings) -> str:
    """What people write to see the dashboard."""
    return settings.controller.public_url or url(settings)


def url(settings: Settings) -> str:
    """Where our own processes find the controller."""
    return f"{settings.controller.scheme}://{settings.controller.reach}:{settings.ports.controller}"


def look(settings: Settings, token: str) -> Seen | None:
    """Ask once; None where it does not answer or has not finished its first tick. Blocks for a few seconds at most.

    Raises:
        Trouble: the token is good for nothing.
    """
    base = url(settings)
    try:
        asking = opener(settings)
        _get(asking, f"{base}/readyz", "")
        pools, replicas = (json.loads(_get(asking, f"{base}/api/v1/{name}", token)) for name in ("pools", "replicas"))
    except HTTPError as error:
        with error:
            if error.code in _NOT_LET_IN:
                raise Refused(_detail(error), error.code) from error
        return None
    except (URLError, OSError, ValueError):
        return None
    return Seen(tuple(pools), tuple(sorted(replicas, key=_order)))


def pool_decisions(settings: Settings, pool: str, asked: dict[str, str], token: str) -> list[Row]:
    """`GET /api/v1/pools/{pool}/decisions`. Blocks for a few seconds at most.

    Raises:
        Trouble: the controller does not answer, or says that there is no such pool.
    """
    found: list[Row] = ask(settings, f"/api/v1/pools/{quote(pool, safe='')}/decisions?{urlencode(asked)}", token=token)
    return found


def ask(
    settings: Settings,
    path: str,
    wanted: Row | None = None,
    token: str = "",
    *,
    method: str | None = None,
    patience_s: float = _ANSWER_S,
) -> Any:
    """What the API answers to a GET, a POST of what is wanted, or another `method`. Blocks for `patience_s` at most.

    Raises:
        Trouble: the controller does not answer, or refuses (`Refused`); then with its own sentence.
    """
    body = None if wanted is None else json.dumps(wanted).encode()
    request = Request(
        f"{url(settings)}{path}", body, {"Content-Type": "application/json"} if body else {}, method=method
    )
    return json.loads(_read(settings, _with(request, token), patience_s) or b"null")


def text(settings: Settings, path: str, token: str = "") -> str:
    """What the API answers to a GET that may be long. Blocks for a minute at most where nothing comes. As `ask`."""
    return _read(settings, _with(Request(f"{url(settings)}{path}"), token), _LONG_S).decode()


def _read(settings: Settings, request: Request, patience_s: float) -> bytes:
    try:
        with opener(settings).open(request, timeout=patience_s) as answer:
            return bytes(answer.read())
    except HTTPError as error:
        with error:
            raise Refused(_detail(error), error.code) from error
    except (URLError, OSError, ValueError) as error:
        raise Trouble(_silence(settings, error)) from error


def _with(request: Request, token: str) -> Request:
    """Everything but the health of the controller needs one."""
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return request


def _silence(settings: Settings, error: Exception) -> str:
    """Why there is no answer, as far as that can be told."""
    tls = settings.controller.tls
    if tls is not None and isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
        return (
            f"what answers at {url(settings)} has another certificate than {tls.certificate}; while that and its key "
            "are no pair the controller goes on with the one before: put a good pair there"
        )
    return f"the controller does not answer at {url(settings)}; is it running? `stoker up` starts it"


def _detail(error: HTTPError) -> str:
    """The API's own sentence, where it gave one; of what it cannot read, what is wrong about which field."""
    try:
        detail = json.loads(error.read())["detail"]
        return "; ".join(map(_fault, detail)) if isinstance(detail, list) else str(detail)
    except (ValueError, LookupError, TypeError, AttributeError, OSError):
        return f"the controller answered {error.code} {error.reason}"


def _fault(one: Row) -> str:
    """As pydantic tells it: a place, which begins with the part of the request, and words with a capital letter."""
    place = ".".join(str(part) for part in one["loc"][1:])
    words = str(one["msg"]).removeprefix("Value error, ")
    if words[1:2].islower():
        words = words[:1].lower() + words[1:]
    return f"{place}: {words}" if place else words


def _order(row: Row) -> tuple[str, int, str]:
    """small-2 before small-10."""
    return (row["pool"], len(row["replica"]), row["replica"])


def _get(asking: OpenerDirector, address: str, token: str) -> bytes:
    with asking.open(_with(Request(address), token), timeout=_ANSWER_S) as answer:
        return bytes(answer.read())
