"""/api/v1/keys: API keys of clients. Everything here needs the role operator.

404 for a key that is not there, 409 for what cannot be done (now), 422 for what can never be.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, cast

from fastapi import APIRouter, HTTPException, Query, Response

from controller.api.access import OPERATOR, CallerDep
from controller.api.deps import Offer, Sources, SourcesDep
from controller.api.doing import doing
from controller.api.happened import happened
from controller.api.key_schemas import KeyIn, KeyOut, KeysQuery, NewKeyOut, RevokeIn, RotatedOut, RotateIn
from controller.core.access import (
    ENTROPY_BYTES,
    MOST_MODELS,
    ApiKey,
    Grant,
    KeyId,
    KeySearch,
    good_name,
    issue,
    revoke,
    rotate,
    secret_of,
)
from controller.core.event import Event
from controller.core.quota import TokenLimits
from controller.core.reason import ReasonCode
from controller.ports import AccessState

router = APIRouter(prefix="/api/v1/keys", dependencies=[OPERATOR])
_LONGEST = timedelta(days=100 * 366)
_ORDERED = ReasonCode.ORDERED.value
_NEVER_STORED = {"Cache-Control": "no-store"}


@router.get("")
def keys(sources: SourcesDep, wanted: Annotated[KeysQuery, Query()]) -> list[KeyOut]:
    """Those that are revoked or expired, too, unless `state` says otherwise."""
    return keys_of(sources, wanted)


def keys_of(sources: Sources, wanted: KeysQuery) -> list[KeyOut]:
    """Those that fit, the newest first. Raises `LostLease` of a controller that stands by."""
    now, state = sources.now(), sources.access()
    ids = [key for key, block in state.quota.blocks.items() if block.until > now]
    before = None if wanted.before is None else KeyId(wanted.before)
    fits = KeySearch(wanted.text, wanted.plan, None if wanted.state is None else now, before)
    only = ids if wanted.state == "blocked" else None
    found = sources.keys.find_keys(limit=wanted.limit, of=wanted.key, ids=only, fits=fits)
    return [KeyOut(**_told(key, sources.offer, state, now)) for key in found]


@router.post("", status_code=201)
def create(wanted: KeyIn, sources: SourcesDep, who: CallerDep, response: Response) -> NewKeyOut:
    """Make one. nginx knows it within seconds."""
    now, entropy = sources.now(), secrets.token_bytes(ENTROPY_BYTES)
    grant = _grant(wanted, sources.offer, now)
    _require_room(sources)
    key = issue(grant, entropy, now)
    with doing(sources, who, "key create", f"key/{key.id}", _words("For", key, wanted.why)):
        sources.keys.add_key(key)
    _happened(sources, "key_created", key.id, f"Was made with {_plan(key)}.")
    response.headers.update(_NEVER_STORED)
    return NewKeyOut(key=secret_of(entropy), **_told(key, sources.offer, sources.access(), now))


@router.post("/{key}/revoke")
def end(key: str, sources: SourcesDep, who: CallerDep, wanted: RevokeIn | None = None) -> KeyOut:
    """From now on it is good for nothing, for ever. Once more changes nothing."""
    now, why = sources.now(), wanted.why if wanted else ""
    known = _known(key, sources)
    if known.revoked_at is None:
        before: list[ApiKey] = []

        def change(known: ApiKey) -> tuple[ApiKey]:
            before.append(known)
            return (revoke(known, now),)

        with doing(sources, who, "key revoke", f"key/{key}", _words("Was for", known, why)):
            (known,) = sources.keys.change_key(KeyId(key), change) or _missing(key)
        if before[0].revoked_at is None:
            _happened(sources, "key_revoked", known.id, f"Was revoked; it had {_plan(known)}.")
    return KeyOut(**_told(known, sources.offer, sources.access(), now))


@router.post("/{key}/rotate", status_code=201)
def renew(
    key: str, sources: SourcesDep, who: CallerDep, response: Response, wanted: RotateIn | None = None
) -> RotatedOut:
    """Make a new key with the same name, plan, models and end. The old one is good until the grace is over."""
    given, now, entropy = wanted or RotateIn(), sources.now(), secrets.token_bytes(ENTROPY_BYTES)
    found = _known(key, sources)
    _require_rotatable(found, now)

    def change(known: ApiKey) -> tuple[ApiKey, ApiKey]:
        _require_rotatable(known, now)
        return rotate(known, entropy, now, timedelta(seconds=given.grace_s))

    with doing(sources, who, "key rotate", f"key/{key}", _words("Is for", found, given.why)):
        old, new = sources.keys.change_key(KeyId(key), change) or _missing(key)
    assert old.expires_at is not None  # rotate set it
    _happened(sources, "key_rotated", old.id, f"{new.id} takes its place with {_plan(new)}.")
    response.headers.update(_NEVER_STORED)
    told = _told(new, sources.offer, sources.access(), now)
    return RotatedOut(key=secret_of(entropy), replaces=old.id, replaced_expires_at=old.expires_at, **told)


def _grant(wanted: KeyIn, offer: Offer, now: datetime) -> Grant:
    if not good_name(wanted.name):
        raise HTTPException(422, "the name must be 1 to 64 printable characters, without a space at its ends")
    if wanted.plan is not None and wanted.plan not in offer.plans:
        raise HTTPException(422, f"there is no plan {wanted.plan!r}; there is {_listed(offer.plans)}")
    for model in wanted.models:
        if model not in offer.models:
            raise HTTPException(422, f"there is no model {model!r}; there is {_listed(offer.models)}")
    models = tuple(sorted({offer.models[model] for model in wanted.models}))
    if len(models) > MOST_MODELS:
        raise HTTPException(422, f"a key is for {MOST_MODELS} models at most; name fewer, or none for all of them")
    return Grant(wanted.name, wanted.plan, models, _end(wanted, now))


def _end(wanted: KeyIn, now: datetime) -> datetime | None:
    """In whole seconds, as nginx counts them."""
    if wanted.expires_at is not None and wanted.expires_in_s is not None:
        raise HTTPException(422, "expires_at and expires_in_s are both given; give one of them")
    end = wanted.expires_at
    if wanted.expires_in_s is not None:
        end = now + timedelta(seconds=wanted.expires_in_s)
    if end is None:
        return None
    end = end.astimezone(UTC).replace(microsecond=0)
    if end <= now:
        raise HTTPException(422, "the key would have expired already; give a time that is still to come")
    if end - now > _LONGEST:
        raise HTTPException(422, "that is more than a hundred years from now; leave it out for a key without an end")
    return end


def _require_room(sources: Sources) -> None:
    """nginx has its keys in memory of a fixed size."""
    most = sources.offer.most_keys
    if sources.access().usable >= most:
        raise HTTPException(409, f"there are {most} usable keys already; raise gateway.max_keys, or revoke some")


def _require_rotatable(key: ApiKey, now: datetime) -> None:
    if key.usable(now) and key.replaced_by is None:
        return
    was = "is revoked" if key.revoked_at else "has expired"
    if key.replaced_by is not None:
        was = f"was rotated to {key.replaced_by}"
    raise HTTPException(409, f"{key.id} {was}; rotate another one, or make a new one")


def _known(key: str, sources: Sources) -> ApiKey:
    for found in sources.keys.find_keys(limit=1000, of=key):
        if found.id == key:
            return found
    return cast(ApiKey, _missing(key))


def _missing(key: str) -> Any:
    raise HTTPException(404, f"there is no key {key}; GET /api/v1/keys lists what there is")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _words(begin: str, key: ApiKey, why: str) -> str:
    """For the audit log."""
    return f"{begin} {key.name!r}, {_plan(key)}{f': {why}' if why else ''}."


def _plan(key: ApiKey) -> str:
    return f"plan {key.plan}" if key.plan else "no plan"


def _happened(sources: Sources, event: str, key: KeyId, message: str) -> None:
    """A tick, which tells nginx, comes at once; a line, a count and a row say so. Viewers read them, so they name the
    key by its id: whose it is, and why, is in the audit log."""
    sources.wake()
    seen = sources.latest()
    tick = seen.snapshot.tick if seen else 0
    happened(sources, Event(sources.now(), event, f"key/{key}", _ORDERED, message, tick=tick))


def _told(key: ApiKey, offer: Offer, state: AccessState, now: datetime) -> dict[str, Any]:
    """The fields of a `KeyOut`."""
    limits = offer.plans.get(key.plan or "", TokenLimits())
    block, used = state.quota.blocks.get(key.id), state.quota.usage.get(key.id)
    usable = key.usable(now)
    blocked = block if block is not None and usable and block.until > now else None
    dead = "revoked" if key.revoked_at is not None else "expired"
    return {
        "id": key.id,
        "name": key.name,
        "plan": key.plan,
        "models": list(key.models),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "replaced_by": key.replaced_by,
        "state": ("blocked" if blocked else "usable") if usable else dead,
        "blocked_until": blocked.until if blocked else None,
        "blocked_by": blocked.why.value if blocked else None,
        "tokens_today": round(used.today(now) if used else 0) if state.counted else None,
        "tokens_per_minute": limits.per_minute,
        "tokens_per_day": limits.per_day,
    }
