"""/api/v1/simulations: a trace under the live policy and under a changed one. Nothing of it changes what runs."""

from __future__ import annotations

import asyncio
from typing import Annotated, NoReturn

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse

from controller.api.access import VIEWER
from controller.api.deps import SourcesDep
from controller.api.simulation_schemas import (
    MOST_HOURS,
    MOST_UPLOAD_BYTES,
    OptionsOut,
    SimulationIn,
    SimulationOut,
    SimulationResultOut,
    TrafficOut,
    UploadOut,
)
from controller.api.simulations import SimulationRefused, TooManySimulations

router = APIRouter(prefix="/api/v1/simulations", dependencies=[VIEWER])

_receiving = asyncio.Semaphore(2)  # uploads that are held in memory at once
_UPLOAD_S = 60.0  # to read one: a sender that stalls must not keep its place from others
_MIB = 1 << 20
_Id = Annotated[str, Path(pattern="^[a-z0-9]{1,64}$")]
_Pool = Annotated[str, Query(max_length=64)]
_Name = Annotated[str, Query(max_length=100, description="The file's name, for messages; `.csv` and `.jsonl` count.")]
_Hours = Annotated[float, Query(ge=0.25, le=MOST_HOURS, allow_inf_nan=False)]
_TOO_SLOW = f"the trace was not here within {_UPLOAD_S:g} s; send a smaller one, or use `stoker simulate` where it is"
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("")
def recent(sources: SourcesDep) -> list[SimulationOut]:
    """Those of the last hour, the newest first, without their results."""
    return list(sources.simulations.recent())


@router.post("", status_code=202)
def start(wanted: SimulationIn, sources: SourcesDep) -> SimulationOut:
    """Play a trace under the pool's live policy, under the same with changes, and under others on wish.

    It is played by a process of its own with low priority, one after the other, for three minutes at most. 404 for a
    pool or an upload that is not there, 422 for what cannot be played, 429 where too many wait already.
    """
    try:
        return sources.simulations.start(wanted)
    except (KeyError, SimulationRefused, TooManySimulations) as error:
        _refuse(error)


@router.get("/options")
def options(pool: _Pool, sources: SourcesDep) -> OptionsOut:
    """What can be changed of a pool, and how it stands now. 404 for a pool that is not there."""
    try:
        return sources.simulations.options(pool)
    except KeyError as error:
        _refuse(error)


@router.get("/traffic")
def traffic(pool: _Pool, sources: SourcesDep, hours: _Hours = 6.0) -> TrafficOut:
    """What a pool had in the last hours: what a trace of source `history` plays. 404 for a pool that is not there, 422
    where nobody tells."""
    try:
        return sources.simulations.traffic(pool, hours)
    except (KeyError, SimulationRefused) as error:
        _refuse(error)


@router.post("/traces", status_code=201, openapi_extra=_BODY, max_body_size=32 * 1024**2)  # read once it may be
async def upload(request: Request, sources: SourcesDep, name: _Name = "trace") -> UploadOut:
    """Give a trace as the body: CSV with TIMESTAMP,ContextTokens,GeneratedTokens, or JSON lines with timestamp,
    input_length, output_length. It is checked, kept for an hour and played by its id.

    408 where it is not there within a minute, 413 above 20 MiB, 422 for what cannot be played, with the line; 429 while
    others upload.
    """
    if _receiving.locked():
        raise HTTPException(429, "two uploads are under way already; try again in a moment")
    async with _receiving:
        content = await _content(request)
        try:
            return await run_in_threadpool(sources.simulations.upload, name, content)
        except (SimulationRefused, TooManySimulations) as error:
            _refuse(error)


@router.get("/{identity}")
def find(identity: _Id, sources: SourcesDep) -> SimulationResultOut:
    """How it stands with one, and what came out. 404 for one that is not there, or no longer."""
    try:
        return sources.simulations.find(identity)
    except KeyError as error:
        _refuse(error)


@router.get("/{identity}/yaml", response_class=PlainTextResponse)
def as_yaml(identity: _Id, sources: SourcesDep) -> str:
    """The changed keys, for the pool's section of stoker.yaml. 404 for a simulation that is not there."""
    try:
        return sources.simulations.find(identity).yaml
    except KeyError as error:
        _refuse(error)


@router.delete("/{identity}")
def cancel(identity: _Id, sources: SourcesDep) -> SimulationOut:
    """End one that waits or runs. 404 for one that is not there."""
    try:
        return sources.simulations.cancel(identity)
    except KeyError as error:
        _refuse(error)


async def _content(request: Request) -> bytes:
    """The body, as long as it is not too large and comes in time."""
    content = bytearray()
    told = request.headers.get("content-length", "")
    if told.isdecimal() and len(told) < 20 and int(told) > MOST_UPLOAD_BYTES:
        _too_large()
    try:
        async with asyncio.timeout(_UPLOAD_S):
            async for part in request.stream():
                content += part
                if len(content) > MOST_UPLOAD_BYTES:
                    _too_large()
    except TimeoutError as error:
        raise HTTPException(408, _TOO_SLOW) from error
    return bytes(content)


def _too_large() -> NoReturn:
    raise HTTPException(413, f"a trace may have {MOST_UPLOAD_BYTES // _MIB} MiB; cut it, or use `stoker simulate`")


def _refuse(error: Exception) -> NoReturn:
    if isinstance(error, KeyError):
        raise HTTPException(404, str(error.args[0])) from error
    raise HTTPException(429 if isinstance(error, TooManySimulations) else 422, str(error)) from error
