"""Errors: as pages for those who asked for a page, as JSON for everybody else. And the headers of every answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException as AnyHttpException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.api.access import Caller, caller
from controller.api.refusals import is_noted, note_answer
from controller.api.web import shell
from controller.core.errors import LostLease, TransientError
from controller.core.printable import printable

_Handler: TypeAlias = Callable[[Request, Exception], Awaitable[Response]]
_NOBODY = Caller("", None, "", "")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_KNOWN = (403, 404, 409, 429, 500, 503)


class SafeHeaders:
    """Adds the headers that keep a browser from doing what no page of ours wants."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Where an answer has one of them already it stays."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sending if scope["type"] == "http" else send)


def install(app: FastAPI) -> None:
    """Handlers for everything that a route may raise."""
    handlers: dict[int | type[Exception], _Handler] = {
        AnyHttpException: _refused,
        RequestValidationError: _invalid,
        LostLease: _conflict,
        TransientError: _unavailable,
        Exception: _broken,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
    app.add_middleware(SafeHeaders)


def wants_page(request: Request) -> bool:
    """Whether a person looks at the answer."""
    path = request.url.path
    return not path.startswith(("/api/", "/static/", "/live")) and "text/html" in request.headers.get("accept", "")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHttpException)
    said = printable(str(error.detail))
    if is_noted(request, error):
        await run_in_threadpool(note_answer, request, error)
    if not wants_page(request):
        return await http_exception_handler(request, AnyHttpException(error.status_code, said, error.headers))
    if error.status_code == 401:
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?{urlencode({'next': here})}", 303)
    plain = said == HTTPStatus(error.status_code).phrase  # nobody's words, and no news beside the title
    return await run_in_threadpool(_page, request, error.status_code, "" if plain else said)


async def _invalid(request: Request, error: Exception) -> Response:
    """What is wrong and where, and nothing of what was sent: that may be a password, or what JSON cannot say."""
    assert isinstance(error, RequestValidationError)
    if not wants_page(request):
        return JSONResponse({"detail": [_fault(one) for one in error.errors()]}, 422)
    return await run_in_threadpool(_page, request, 404, "")


async def _conflict(request: Request, error: Exception) -> Response:
    """Another controller leads: ask that one."""
    return await run_in_threadpool(_either, request, 409, str(error))


async def _unavailable(request: Request, error: Exception) -> Response:
    """What is needed for an answer is away: ask again."""
    return await run_in_threadpool(_either, request, 503, str(error))


async def _broken(request: Request, error: Exception) -> Response:
    """A fault of ours: the log has it, the answer has none of it."""
    answer = await run_in_threadpool(_either, request, 500, "something went wrong here; the controller's log has more")
    answer.headers.update(HEADERS)  # it does not come by the one who adds them
    return answer


def _fault(one: Mapping[str, Any]) -> dict[str, Any]:
    place = [printable(part) if isinstance(part, str) else part for part in one["loc"]]
    return {"type": one["type"], "loc": place, "msg": printable(one["msg"])}


def _either(request: Request, status: int, sentence: str) -> Response:
    detail = printable(sentence)
    return _page(request, status, detail) if wants_page(request) else JSONResponse({"detail": detail}, status)


def _page(request: Request, status: int, detail: str) -> Response:
    """Of the person who asks, as far as that can be found out."""
    who, sources = getattr(request.state, "caller", _NOBODY), request.app.state.sources
    with suppress(TransientError, LostLease):
        who = caller(request, sources)
    known = status if status in _KNOWN else 500 if status >= 500 else 404
    return shell.render(request, sources, who, "error.html", status=status, known=known, detail=detail)
