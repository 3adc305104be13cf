"""/api/v1/gateways: the nginx of other machines, which ask about once a second what they are to run."""

from __future__ import annotations

import gzip
import json
from importlib.metadata import version as installed_version
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Path, Response

from controller.api.access import VIEWER
from controller.api.deps import GATEWAY_TOKEN, SourcesDep
from controller.api.gateway_schemas import GatewayIn, GatewayOut
from controller.core.gateways import GatewayAnswer, GatewayReport, GatewayStatus, KeysAnswer, TooManyGateways
from controller.core.plan_json import plan_to_json

router = APIRouter(prefix="/api/v1/gateways")
_SMALL = 1400  # bytes, which one packet holds
_QUICKEST = 1  # of gzip's levels; digests are random digits, of which none makes less than half
Named = Annotated[str, Path(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]


@router.get("", dependencies=[VIEWER])
def gateways(sources: SourcesDep) -> list[GatewayOut]:
    """Those that were heard of within the last hour."""
    now = sources.now()
    return [_told(status, status.lag(now).total_seconds(), status.lags(now)) for status in sources.gateways.known(now)]


@router.post("/{name}", dependencies=[GATEWAY_TOKEN])
def ask(name: Named, said: GatewayIn, sources: SourcesDep, accept_encoding: Annotated[str, Header()] = "") -> Response:
    """What that gateway is to run, without what it has already. It is noted what it says of itself.

    `settings` and `plan` are what nginx.conf is rendered from; it is the gateway that renders it, as paths, workers and
    limits are of its machine. `keys` has `records` and `blocks`, or the difference to the version `base` that it has:
    `set`, `delete` and `blocks`. Needs the token for gateways (`gateway.token`) as a bearer. 401 without it, 412 where
    it runs another version of Stoker, 409 where this controller does not lead, 503 before the first tick.
    """
    report = GatewayReport(name=name, **said.model_dump())
    now, ours = sources.now(), installed_version("stoker")
    try:
        if said.version != ours:
            sentence = (
                f"this gateway has stoker {said.version or '(none)'}; install stoker=={ours}, as the controller has"
            )
            sources.gateways.refuse(GatewayReport(**{**said.model_dump(), "name": name, "error": sentence}), now)
            raise HTTPException(412, sentence)
        answer = sources.gateways.hear(report, now)
    except TooManyGateways as error:
        raise HTTPException(409, str(error)) from error
    if answer is None:
        raise HTTPException(503, "the controller has not looked yet; ask again in a moment")
    return _packed(json.dumps(_body(answer), separators=(",", ":")).encode(), accept_encoding)


def _packed(body: bytes, accepted: str) -> Response:
    headers = {"Cache-Control": "no-store"}
    if len(body) > _SMALL and "gzip" in accepted:
        body = gzip.compress(body, _QUICKEST)
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type="application/json", headers=headers)


def _body(answer: GatewayAnswer) -> dict[str, Any]:
    body: dict[str, Any] = {"version": answer.version}
    if answer.plan is not None:
        body |= {"plan": plan_to_json(answer.plan), "settings": answer.settings}
    if answer.keys is not None:
        body["keys"] = _keys(answer.keys)
    return body


def _keys(keys: KeysAnswer) -> dict[str, Any]:
    told = {"version": keys.version, "blocks": keys.blocks}
    if keys.base is None:
        return {**told, "records": keys.records}
    return {**told, "base": keys.base, "set": keys.records, "delete": keys.delete}


def _told(status: GatewayStatus, lag_s: float, lags: bool) -> GatewayOut:
    report = status.report
    return GatewayOut(
        name=report.name,
        version=report.version,
        applied=report.applied,
        plan_version=report.plan_version,
        keys_version=report.keys_version,
        heard_at=status.heard_at,
        lag_s=round(lag_s, 3),
        lags=lags,
        error=report.error,
        metrics=report.metrics,
    )
