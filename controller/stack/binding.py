"""Where the controller listens, and that it opens to other machines only what somebody can log in to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from controller.adapters.clock import SystemClock
from controller.adapters.database.anybody import anybody
from controller.adapters.database.errors import DatabaseUnusable
from controller.api.proxies import Doors, names_for
from controller.core.errors import TransientError
from controller.installation import Layout
from controller.settings import Settings
from controller.stack import serving
from controller.stack.trouble import Trouble

_LOOPBACK = {True: "::1", False: "127.0.0.1"}  # by whether the other one is an IPv6 address


def prepare(settings: Settings, layout: Layout) -> None:
    """Refuse what the controller could not, or should not, listen with, and keep its certificate for its clients.

    Raises:
        ConfigError: a file with a certificate or with a secret is not as it must be.
        Trouble: it would listen beyond this machine, and nobody could log in; or nobody knows whether somebody could.
    """
    if settings.controller.tls is not None:
        serving.take(settings.controller.tls, layout)
    if settings.controller.oidc is not None:
        settings.controller.oidc.secret()
    require_somebody(settings, layout)


def require_somebody(settings: Settings, layout: Layout) -> None:
    """Beyond this machine there must be a user, or an invitation that can still be accepted.

    Blocks for a few seconds at most.

    Raises:
        ConfigError: the file with the database's URL is not as it must be.
        Trouble: there is none, or the database does not tell.
    """
    if settings.controller.on_loopback:
        return
    try:
        found = _anybody(settings, layout)
    except TransientError as error:
        raise Trouble(f"controller.host is {settings.controller.host}, beyond this machine, and {error}") from error
    if not found:
        raise Trouble(_nobody(settings))


def _anybody(settings: Settings, layout: Layout) -> bool:
    if settings.controller.database == "sqlite":
        return anybody(layout.database, SystemClock().now())
    return anybody(settings.controller.database_url(), SystemClock().now())


def _nobody(settings: Settings) -> str:
    return (
        f"controller.host is {settings.controller.host}, beyond this machine, and there is no user yet; start with the "
        "host 127.0.0.1 and open the link that `stoker up` prints, or run `stoker users invite NAME --role admin` first"
    )


def host_to_bind(settings: Settings, layout: Layout, complain: Callable[[str], None]) -> str:
    """Where a controller that is being started listens: on loopback as long as nobody could log in.

    It is not refused altogether, as replicas must be healed also where somebody took the last user away. Where the
    database does not answer nobody can log in, either, and what the configuration says holds; a file that can never
    answer is put aside by the controller, and the new one has nobody.

    Raises:
        ConfigError: the file with the database's URL is not as it must be.
    """
    own, why = settings.controller, _nobody(settings)
    try:
        if own.on_loopback or _anybody(settings, layout):
            return own.host
    except DatabaseUnusable as error:
        why = f"controller.host is {own.host}, beyond this machine, and {error}"
    except TransientError:
        return own.host
    host = _LOOPBACK[":" in own.host]
    complain(f"{why}; until it is started anew it listens on {host}")
    return host


@dataclass(frozen=True, slots=True)
class Bound:
    """Where and how the controller is served."""

    host: str
    doors: Doors
    pair: serving.ServedPair | None = None

    def uvicorn(self) -> dict[str, Any]:
        """What uvicorn is told of it. It believes no header of a proxy by itself: by default it would believe those of
        everybody on this machine."""
        told: dict[str, Any] = {"host": self.host, "proxy_headers": False, "server_header": False}
        if self.pair is not None:
            context = self.pair.context()
            told["ssl_context_factory"] = lambda *_: context
        return told


def bound(settings: Settings, layout: Layout, complain: Callable[[str], None]) -> Bound:
    """As the settings say. Raises `ConfigError`."""
    own = settings.controller
    public = urlsplit(own.public_url).hostname if own.public_url else None
    doors = Doors(own.trusted_proxies, names_for(own.host, public), local_only=own.tls is None and not own.on_loopback)
    pair = None if own.tls is None else serving.ServedPair(own.tls, layout, complain)
    return Bound(host_to_bind(settings, layout, complain), doors, pair)
