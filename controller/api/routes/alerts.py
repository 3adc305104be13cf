"""/api/v1/alerts: what Alertmanager tells, and what followed on it. Alerts change nothing: they only wake the tick."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request

from controller.api.access import VIEWER
from controller.api.alert_schemas import MOST_BYTES, AlertOut, BadMessage, HeardOut, WebhookIn, read
from controller.api.alert_views import SEARCHED, Ledger, alerts_of
from controller.api.deps import ALERTS_TOKEN, SourcesDep

router = APIRouter(prefix="/api/v1/alerts", max_body_size=2 * MOST_BYTES)  # `_body` is asked after the token
_TOO_LARGE = f"the message is larger than {MOST_BYTES // 1024**2} MiB; give Alertmanager's webhook a max_alerts"
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": WebhookIn.model_json_schema()}}}}


async def _body(request: Request) -> bytes:
    """As it comes: FastAPI's own reading has no bound, and takes several times as long."""
    parts: list[bytes] = []
    size = 0
    if _announced(request) > MOST_BYTES:
        raise HTTPException(413, _TOO_LARGE)
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            raise HTTPException(413, _TOO_LARGE)
        parts.append(part)
    return b"".join(parts)


def _announced(request: Request) -> int:
    told = request.headers.get("content-length", "")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 20 else 0


@router.get("", dependencies=[VIEWER])
def alerts(sources: SourcesDep) -> list[AlertOut]:
    """Those that fire, the newest first, then those that ended within the last hour. At most 1000 are known."""
    ledger = Ledger(sources.store.decisions(limit=SEARCHED), sources.store.events(limit=SEARCHED))
    return alerts_of(sources.known_alerts(), ledger)


@router.post("", dependencies=[ALERTS_TOKEN], openapi_extra=_BODY)
def hear(body: Annotated[bytes, Depends(_body)], sources: SourcesDep) -> HeardOut:
    """For Alertmanager: its webhook of version 4. What is news wakes the tick; what is known already changes nothing.

    Needs the token for alerts (`alerts.token` of the state directory) as a bearer. 401 without it, 413 for more than
    10 MiB, 422 for what is no such message, 503 where another controller leads: Alertmanager tries again.
    """
    now = sources.now()
    try:
        said, left_out = read(body, now)
    except BadMessage as error:
        raise HTTPException(422, str(error)) from error
    heard = sources.alerts.hear(said, left_out, now)
    if heard.news:
        sources.wake()
    return HeardOut(news=heard.news, repeated=heard.repeated, left_out=heard.left_out)
