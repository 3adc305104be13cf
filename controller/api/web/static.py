"""Static files under /static/HASH/PATH: the hash is of all of them, so that a browser may keep them for good."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources.abc import Traversable

from fastapi import APIRouter, HTTPException, Response

from controller.api.access import PUBLIC
from controller.api.web.texts import folder

router = APIRouter(include_in_schema=False)
_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "txt": "text/plain"}
_FOREVER, _ASK = "public, max-age=31536000, immutable", "no-cache"
CHARTS = "vendor/uplot.js"


@cache
def files() -> Mapping[str, bytes]:
    """Every file by its path: a few hundred KB, read once."""
    return dict(_walk(folder() / "static"))


@cache
def digest() -> str:
    """Of all of them: twelve digits."""
    known = hashlib.sha256()
    for path, body in sorted(files().items()):
        known.update(f"{path} {len(body)}\n".encode() + body)
    return known.hexdigest()[:12]


def static(path: str) -> str:
    """The URL of a file. Raises `KeyError` where it is missing, as in a template that names another."""
    if path not in files() and not path.startswith("vendor/"):
        raise KeyError(path)
    return f"/static/{digest()}/{path}"


def has_charts() -> bool:
    """Whether what npm brings was installed."""
    return CHARTS in files()


def forget() -> None:
    """Read anew: for those who work on the files."""
    files.cache_clear()
    digest.cache_clear()


@router.get("/static/{version}/{path:path}", dependencies=[PUBLIC])
def file(version: str, path: str) -> Response:
    """One file."""
    body = files().get(path)
    if body is None:
        raise HTTPException(404, "there is no such file")
    kept = _FOREVER if version == digest() else _ASK  # a page of another version gets what there is now
    return _answer(path, body, kept)


@router.get("/favicon.ico", dependencies=[PUBLIC])
def icon() -> Response:
    """For those who do not read which one the page names."""
    return _answer("favicon.svg", files()["favicon.svg"], "public, max-age=86400")


def _answer(path: str, body: bytes, kept: str) -> Response:
    kind = _TYPES.get(path.rpartition(".")[2]) or mimetypes.guess_type(path)[0] or "application/octet-stream"
    return Response(body, media_type=kind, headers={"Cache-Control": kept, "X-Content-Type-Options": "nosniff"})


def _walk(place: Traversable, under: str = "") -> Iterator[tuple[str, bytes]]:
    for item in place.iterdir():
        if item.is_dir():
            yield from _walk(item, f"{under}{item.name}/")
        elif not item.name.startswith("."):
            yield f"{under}{item.name}", item.read_bytes()
