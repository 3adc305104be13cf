"""Who may use the controller: people, their sessions, their tokens, and what was written down of what they did.

Pure: random bytes are given, never drawn. Every pattern that a name must have stands here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from controller.core.errors import LoginRefused

NAME = re.compile(r"[A-Za-z0-9_.@+-]{1,64}")
NAME_RULE = "a name is 1 to 64 of A-Z, a-z, 0-9 and _ . @ + -"
STATE_DIRECTORY = "state-directory"  # who shows the token of the state directory
SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 128
IDLE = timedelta(hours=12)  # without a request for so long a session is over
LONGEST = timedelta(days=7)  # and so long after its login in any case
INVITED_FOR = timedelta(hours=24)
SECRET_BYTES = 32
TOKEN_BYTES = SECRET_BYTES + 6
_PREFIX = 8  # characters of a token that are shown, of which three say what it is


class Role(StrEnum):
    """What somebody may do: look; give orders, too; say who else may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def allows(self, needed: Role) -> bool:
        """Whether this role may do what needs that one."""
        order = tuple(Role)
        return order.index(self) >= order.index(needed)

    def at_most(self, other: Role) -> Role:
        """The lower one of both."""
        return self if other.allows(self) else other


@dataclass(frozen=True, slots=True)
class User:
    """A person. No password: another place says who it is (`source` oidc)."""

    name: str
    role: Role
    created_at: datetime
    password: str = ""  # argon2's own text
    source: str = "password"
    logged_in_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """One login of a person. `digest` is the SHA-256 of what the cookie holds."""

    digest: str
    user: str
    created_at: datetime
    seen_at: datetime
    address: str = ""
    agent: str = ""

    @property
    def id(self) -> str:
        """What it is called where people see it; nothing can be done with it but ending it."""
        return self.digest[:16]

    @property
    def until(self) -> datetime:
        """When it is over, if nothing is asked any more."""
        return min(self.seen_at + IDLE, self.created_at + LONGEST)


@dataclass(frozen=True, slots=True)
class ApiToken:
    """What a program shows. `prefix` is how its text begins, for people to know it by."""

    id: str
    name: str
    owner: str
    role: Role
    prefix: str
    digest: str
    created_at: datetime
    expires_at: datetime | None = None
    used_at: datetime | None = None

    def usable(self, now: datetime) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True)
class Invitation:
    """Whoever has its code chooses the password of that person, once. `digest` is the SHA-256 of the code."""

    digest: str
    name: str
    role: Role
    expires_at: datetime
    by: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, from where and why. `refused`: it was not done, and whoever asked may be anybody."""

    at: datetime
    name: str
    role: str
    how: str
    address: str
    action: str
    subject: str
    why: str = ""
    outcome: str = "done"
    refused: bool = False
    id: int = 0


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are wanted. `text` is looked for in the subject, the reason and the outcome."""

    name: str | None = None
    action: str | None = None
    text: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None  # only ids below
    refused: bool | None = None


class LastAdmin(ValueError):
    """Without that one nobody could say who may use the controller."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is the last admin; make somebody else one first")


def require_admin(name: str, before: Role, after: Role | None, others: int) -> None:
    """`others`: admins but that one; `after`: None: it is removed. Raises `LastAdmin` where nobody would be left."""
    if before is Role.ADMIN and after is not Role.ADMIN and not others:
        raise LastAdmin(name)


class NotAdmin(ValueError):
    """Whoever asks lost that role between asking and being answered."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is no admin any more, so nothing was changed")


def still_admin(name: str, known: User | None) -> bool:
    """Whether that one may say who may what; `known` is how that one is kept at this moment."""
    return name == STATE_DIRECTORY or (known is not None and known.role is Role.ADMIN)


def joined(invitation: Invitation, known: User | None, password: str, at: datetime) -> User | None:
    """Whoever accepts it: with the role that it says, or as that one is known already. None for who is known by now,
    and by another place: that one needs no password, and must not get one from whoever has the link."""
    if known is None:
        return User(invitation.name, invitation.role, at, password)
    return replace(known, password=password) if known.source == "password" else None


def merged(found: User, known: User | None) -> User:
    """The user of whom another place says who that is, as it is to be kept: with the role of now. Raises `LoginRefused`
    where the name is somebody else's."""
    if known is None:
        return found
    if known.source == found.source and not known.password:
        return replace(known, role=found.role)
    here = known.source in ("password", found.source)
    whose = "has a password here" if here else "has another identity at the provider"
    raise LoginRefused(f"there is already a user {known.name}, who {whose}; an admin must remove that one first")


def named(text: str) -> str:
    """The name as it is kept: in lower case, so that nobody passes for somebody else. Raises `ValueError`."""
    if NAME.fullmatch(text) is None:
        raise ValueError(NAME_RULE)
    if text.lower() == STATE_DIRECTORY:
        raise ValueError(f"{STATE_DIRECTORY} is the name of who has the state directory; choose another one")
    return text.lower()


def looked_for(text: str) -> str:
    """The name that is meant, of whoever that may be; empty, which nobody is called, for what is no name."""
    return text.lower() if NAME.fullmatch(text) is not None else ""


def invited_role(known: User | None, wanted: Role | None) -> Role:
    """As what somebody is invited. Raises `ValueError` where that cannot be."""
    if known is None:
        return wanted or Role.VIEWER
    if known.source != "password":
        raise ValueError(f"{known.name} logs in by {known.source}, and needs no invitation")
    if wanted not in (None, known.role):
        raise ValueError(f"{known.name} is {known.role} already; change the role, or leave it out")
    return known.role


def digest_of(secret: str) -> str:
    """What is kept instead of a secret. It is 32 random bytes: a slow hash would make it no harder to guess."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def secret_of(entropy: bytes) -> str:
    """The text of a cookie or of an invitation, from `SECRET_BYTES` random bytes."""
    return urlsafe_b64encode(entropy[:SECRET_BYTES]).decode().rstrip("=")


def csrf_of(secret: str) -> str:
    """What a page must show beside the cookie with that secret: whoever knows it has seen the page."""
    return hmac.new(secret.encode("utf-8", "replace"), b"csrf", hashlib.sha256).hexdigest()


def browser_text(mark: str, user: User) -> str:
    """What a browser keeps in which that person has logged in: a mark of random text, and that it is of ours.

    Signed with what is kept of the password, so it is good for nothing once that is another one.
    """
    return f"{mark}.{_signed(mark, user)}"


def browser_known(text: str, user: User) -> str:
    """The mark in it; empty where that person has not logged in there with the password of now."""
    mark, _, shown = text.partition(".")
    known = bool(user.password) and hmac.compare_digest(_signed(mark, user).encode(), shown.encode("utf-8", "replace"))
    return mark if known else ""


def _signed(mark: str, user: User) -> str:
    said = f"browser {user.name} {mark}".encode("utf-8", "replace")
    return hmac.new(user.password.encode("utf-8", "replace"), said, hashlib.sha256).hexdigest()


def token_text(entropy: bytes) -> str:
    """What a program sends, from `TOKEN_BYTES` random bytes."""
    return f"st_{secret_of(entropy)}"


def token_id(entropy: bytes) -> str:
    """What the token of these bytes is called."""
    return f"tok_{entropy[SECRET_BYTES:TOKEN_BYTES].hex()}"


def token_prefix(text: str) -> str:
    """As much of a token as may be shown."""
    return text[:_PREFIX]


def fault_of_password(password: str, name: str) -> str:
    """Why it cannot be the password of that person; empty where it can."""
    if len(password) < SHORTEST_PASSWORD:
        return f"a password has at least {SHORTEST_PASSWORD} characters"
    if len(password) > LONGEST_PASSWORD:
        return f"a password has at most {LONGEST_PASSWORD} characters"
    if password.lower() == name.lower():
        return "the password must not be the name"
    if len(set(password)) < 4:
        return "a password has at least 4 different characters"
    return ""
