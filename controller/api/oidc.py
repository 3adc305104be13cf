"""Logins by OpenID Connect: what is kept in the browser meanwhile, and who may come in with what the provider says."""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from controller.core.errors import LoginRefused
from controller.core.people import User, named
from controller.settings.access import OidcSettings

_SOURCE = "oidc"  # how `User.source` begins
_RANDOM_BYTES = 32
_LONGEST_PATH = 1000


class Provider(Protocol):
    """Who says who somebody is. Each method blocks for 20 s at most and raises `TransientError` where it is silent."""

    def begin(self, back: str, state: str, nonce: str, verifier: str) -> str:
        """Where to send the browser, so that it comes back to `back`."""
        ...

    def finish(self, back: str, code: str, nonce: str, verifier: str, wanted: Collection[str]) -> Mapping[str, Any]:
        """What it says of who logged in. Raises `LoginRefused`."""
        ...


@dataclass(frozen=True, slots=True)
class SingleSignOn:
    """A provider, and what its words are worth here."""

    provider: Provider
    settings: OidcSettings

    @property
    def label(self) -> str:
        """What people know it as."""
        return self.settings.called

    def claims(self) -> tuple[str, ...]:
        """Those that are needed."""
        return tuple(path.partition(".")[0] for path in (self.settings.name_claim, self.settings.role_claim))

    def person(self, claims: Mapping[str, Any], now: datetime) -> User:
        """Who that is, with the role of the groups. Raises `LoginRefused`; where they give none, `GroupsRefuse`."""
        own = self.settings
        told = _find(claims, own.name_claim)
        try:
            name = named(told if isinstance(told, str) else "")
        except ValueError as error:
            raise LoginRefused(
                f"{own.called} says {str(told)[:64]!r} as {own.name_claim}, which is no name here: {error}"
            ) from error
        role = own.role_for(_groups(_find(claims, own.role_claim)))
        source = f"{_SOURCE} {_identity(own.issuer, str(claims['sub']))}"
        if role is None:
            raise GroupsRefuse(
                f"{name} is in no group that may do anything here; an admin lists groups under controller.oidc.roles, "
                f"by what {own.called} says as {own.role_claim}",
                source,
            )
        return User(name, role, now, source=source)


class GroupsRefuse(LoginRefused):
    """The provider knows who that is (`source`, as `User` has it), and the groups there let that one in no more."""

    def __init__(self, sentence: str, source: str) -> None:
        super().__init__(sentence)
        self.source = source


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login that was begun in a browser, which keeps this until it comes back: nobody else's can be ended there."""

    state: str
    nonce: str
    verifier: str
    next: str

    @staticmethod
    def new(wanted: str) -> Attempt:
        """`wanted`: the page to go to afterwards; only one of ours."""
        state, nonce, verifier = (secrets.token_urlsafe(_RANDOM_BYTES) for _ in range(3))
        return Attempt(state, nonce, verifier, wanted if _is_ours(wanted) else "/")

    @staticmethod
    def read(cookie: str) -> Attempt | None:
        """None where it is none."""
        try:
            state, nonce, verifier, path = cookie.split(".")
            wanted = urlsafe_b64decode(path.encode()).decode()
        except ValueError:
            return None
        return Attempt(state, nonce, verifier, wanted if _is_ours(wanted) else "/") if state and nonce else None

    def cookie(self) -> str:
        """What `read` reads."""
        return ".".join((self.state, self.nonce, self.verifier, urlsafe_b64encode(self.next.encode()).decode()))

    def is_of(self, state: str) -> bool:
        """Whether that came back which was sent."""
        return secrets.compare_digest(self.state.encode(), state.encode("utf-8", "replace"))


def _is_ours(path: str) -> bool:
    """A path here, and not what a browser takes for another host."""
    return path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable() and len(path) <= _LONGEST_PATH


def _identity(issuer: str, subject: str) -> str:
    """Names change hands at a provider; this does not."""
    return hashlib.sha256(f"{issuer}\n{subject}".encode()).hexdigest()[:32]


def _find(claims: Mapping[str, Any], path: str) -> Any:
    """`realm_access.roles` is a claim of that name, or the one within the other."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _groups(told: Any) -> frozenset[str]:
    if isinstance(told, str):
        return frozenset((told,))
    return frozenset(one for one in told if isinstance(one, str)) if isinstance(told, list) else frozenset()
