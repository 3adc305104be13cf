"""API keys: what one is, how one is made and changed, and what nginx is told of those that may be used.

Pure: random bytes are given, never drawn. Every pattern that something must have before nginx sees it stands here.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NewType

KeyId = NewType("KeyId", str)

KEY_ID = re.compile(r"key_[0-9a-f]{12}")
SECRET = re.compile(r"sk-stoker-[A-Za-z0-9_-]{43}")
DIGEST = re.compile(r"[0-9a-f]{64}")
PLAN = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
LONGEST_NAME = 64
MOST_MODELS = 50  # of one key: all of them stand in its record
_SECRET_BYTES, _ID_BYTES = 32, 6
ENTROPY_BYTES = _SECRET_BYTES + _ID_BYTES
_VERSION_DIGITS = 16


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret: `digest` is the SHA-256 of that. No plan: no limits; no models: every one."""

    id: KeyId
    name: str
    digest: str
    plan: str | None
    models: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    replaced_by: KeyId | None = None

    def usable(self, now: datetime) -> bool:
        """Whether requests with it are let in."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key is to be good for."""

    name: str
    plan: str | None = None
    models: tuple[str, ...] = ()
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeySearch:
    """Which keys somebody looks for: those that all of this fits.

    `text` is looked for in the name and the id, and small and capital letters are the same. `usable_at`: only those
    that are usable then. `before`: only those that come after that one, the newest being first, for the next page.
    """

    text: str = ""
    plan: str | None = None
    usable_at: datetime | None = None
    before: KeyId | None = None


EVERY_KEY = KeySearch()


def good_name(text: str) -> bool:
    """1 to 64 printable characters, of which the outer ones are no spaces."""
    return 0 < len(text) <= LONGEST_NAME and text.isprintable() and text == text.strip()


def secret_of(entropy: bytes) -> str:
    """The text that a client sends, from `ENTROPY_BYTES` random bytes."""
    return f"sk-stoker-{urlsafe_b64encode(entropy[:_SECRET_BYTES]).decode().rstrip('=')}"


def digest_of(secret: str) -> str:
    """What is kept instead of the secret. It is 32 random bytes: a slow hash would make it no harder to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


def issue(grant: Grant, entropy: bytes, at: datetime) -> ApiKey:
    """The key whose secret is `secret_of` the same bytes."""
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"a key is made of {ENTROPY_BYTES} random bytes, not of {len(entropy)}")
    name = KeyId(f"key_{entropy[_SECRET_BYTES:].hex()}")
    digest = digest_of(secret_of(entropy))
    return ApiKey(name, grant.name, digest, grant.plan, grant.models, at, grant.expires_at)


def revoke(key: ApiKey, at: datetime) -> ApiKey:
    """From now on it is good for nothing. One that was revoked stays as it is."""
    return key if key.revoked_at is not None else replace(key, revoked_at=at)


def rotate(key: ApiKey, entropy: bytes, at: datetime, grace: timedelta) -> tuple[ApiKey, ApiKey]:
    """The key, good for the grace at most, and its successor: equal in all but the secret and the id."""
    successor = issue(Grant(key.name, key.plan, key.models, key.expires_at), entropy, at)
    end = at + grace
    if key.expires_at is not None:
        end = min(end, key.expires_at)
    return replace(key, expires_at=end, replaced_by=successor.id), successor


@dataclass(frozen=True, slots=True)
class Admitted:
    """What nginx is to know: a record for each digest. It holds until a key ends, at `until`.

    `strange` are keys that no record can be made of: they are left out.
    """

    records: Mapping[str, str]
    until: datetime | None = None
    strange: tuple[KeyId, ...] = ()


def admit(keys: Iterable[ApiKey], now: datetime) -> Admitted:
    """The records of all keys that are usable now."""
    records: dict[str, str] = {}
    strange: list[KeyId] = []
    until: datetime | None = None
    for key in keys:
        if not key.usable(now):
            continue
        if not _speakable(key):
            strange.append(key.id)
            continue
        records[key.digest] = record(key)
        if key.expires_at is not None and (until is None or key.expires_at < until):
            until = key.expires_at
    return Admitted(records, until, tuple(strange))


def record(key: ApiKey) -> str:
    """`ID PLAN EXPIRES MODELS`: `-` for no plan, 0 for no end, `*` for every model."""
    expires = 0 if key.expires_at is None else max(1, int(key.expires_at.timestamp()))  # rather early than late
    return f"{key.id} {key.plan or '-'} {expires} {','.join(key.models) or '*'}"


def _speakable(key: ApiKey) -> bool:
    return (
        KEY_ID.fullmatch(key.id) is not None
        and DIGEST.fullmatch(key.digest) is not None
        and (key.plan is None or PLAN.fullmatch(key.plan) is not None)
        and all(MODEL.fullmatch(model) is not None for model in key.models)
    )


def version_of(texts: Mapping[str, str]) -> str:
    """Sixteen digits: equal mappings have equal ones, whatever their order."""
    found = hashlib.sha256()
    found.update("".join(f"{name} {texts[name]}\n" for name in sorted(texts)).encode())
    return found.hexdigest()[:_VERSION_DIGITS]
