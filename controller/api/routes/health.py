"""For supervisors, load balancers and Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from controller.api.access import METRICS, PUBLIC
from controller.api.deps import LEADS, SourcesDep

router = APIRouter(include_in_schema=False)


@router.get("/healthz", dependencies=[PUBLIC])
def healthz(sources: SourcesDep) -> PlainTextResponse:
    """200 while ticks run, or while another controller leads; 503 once they stopped."""
    ok = sources.healthy() or sources.lead() != LEADS
    return PlainTextResponse("ok\n" if ok else "no tick has ended for too long\n", 200 if ok else 503)


@router.get("/readyz", dependencies=[PUBLIC])
def readyz(sources: SourcesDep) -> PlainTextResponse:
    """200 once the first tick ended well; 503 with who leads where another controller does."""
    ok, lead = sources.latest() is not None, sources.lead()
    told = "no tick has ended yet" if lead == LEADS else lead
    return PlainTextResponse("ok\n" if ok else f"{told}\n", 200 if ok else 503)


@router.get("/metrics", dependencies=[METRICS])
def metrics(sources: SourcesDep) -> Response:
    """The controller's own metrics. Prometheus shows a token that is good for nothing else (`metrics.token`)."""
    return Response(sources.metrics(), media_type=CONTENT_TYPE_LATEST)
