"""Texts of the gateway -> facts. Pure: no socket, no clock.

A line is what `log_format stoker` of the gateway writes, behind a syslog header:

    <190>Nov 23 01:52:30 stoker: {"pool":"smollm2","replica":"smollm2-1","status":"200","duration":0.512,
     "header_times":"-, 0.312","response_times":"0.001, 0.510","tried":"127.0.0.1:4001, 127.0.0.1:4002","bytes":1234,
     "key":"key_0123456789ab","plan":"gold","tokens_in":"12","tokens_out":"34","cache":"MISS","layer":"nginx",
     "refused":""}

or what `log_format stoker_failed` writes, of the replicas that were tried in vain before that:

    <190>Nov 23 01:52:30 stoker: {"pool":"smollm2","failed":"smollm2-2,smollm2-3"}

The two lists of times have one element for each time that the request was begun; `tried` has the replicas of the last
time. `replica` is the one that answered, empty where nginx had to answer itself. A gateway that knows nothing of keys
leaves `key` and all that follows it out, which says the same as empty texts do.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,127})?")  # empty: no pool was chosen, no replica was tried
PLAN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?)?")  # empty: the key has none, or there was no key
MAX_PLANS = 50
OTHER = "other"  # the label of all that have no series of their own

_KEY = re.compile(r"(?:key_[0-9a-f]{12})?")
_CODES = frozenset(str(code) for code in range(100, 600))
_FAILED = "failed"
_INFINITE = float("inf")
_DECODE = json.JSONDecoder().raw_decode  # `json.loads` looks for other encodings and white space first
# What the gateway writes -> the label.
_OF_KEYS = ("no_key", "bad_key", "expired_key", "model_unknown", "model_not_allowed")
_OF_LIMITS = ("rate", "concurrency", "tokens", "full", "no_replica")
_OF_REQUESTS = ("body", "path", "method")
_CAUSES = {cause: cause for cause in ("", *_OF_KEYS, *_OF_LIMITS, *_OF_REQUESTS)}
_LAYERS = {"": "", "nginx": "nginx", "redis": "redis"}
# STALE, UPDATING and REVALIDATED are answers from the cache, too, whatever was asked of a replica beside them.
_RESULTS = {
    **dict.fromkeys(("HIT", "STALE", "UPDATING", "REVALIDATED"), "hit"),
    **dict.fromkeys(("MISS", "EXPIRED"), "miss"),
    "BYPASS": "bypass",
}


class MalformedLine(ValueError):
    """A datagram that is no line of ours."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who asked, and what nginx made of it by itself."""

    key: str = ""
    plan: str = ""
    refused: str = ""  # the cause; empty: it was not
    layer: str = ""  # of the cache
    result: str = ""  # hit, miss or bypass; empty: there is no cache


class Line(NamedTuple):
    """One finished request. A tuple, since one is made for each line: a frozen dataclass takes four times as long."""

    pool: str
    replica: str
    code: str
    duration_s: float
    first_byte_s: float | None  # None: no byte of a replica's answer came
    tries: int
    access: Access = Access()
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """The replicas that one request was sent to in vain. Not a request: its own line follows, or came before."""

    pool: str
    replicas: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InFlight:
    """Requests that the gateway has accepted and not yet finished."""

    pools: dict[str, int]
    plans: dict[str, int] | None  # of keys, those that have one in flight; None: it does not count by plan
    waiting: dict[str, int] | None = None  # those of `pools` that wait for room or a replica; None: it does not tell


def parse(datagram: bytes) -> Line | Failed:
    """Read one line.

    Raises:
        MalformedLine: with no detail worth logging; the caller counts it.
    """
    try:
        text = datagram.decode()
        data, end = _DECODE(text, text.index("{"))
        if end != len(text):
            raise MalformedLine("more than one object")
        return _failed(data) if _FAILED in data else _request(data)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise MalformedLine from error


def _request(data: dict[str, Any]) -> Line:
    get = data.get
    cause, result = _CAUSES.get(get("refused", ""), OTHER), _RESULTS.get(get("cache", ""), "")
    access = _access(get("key", ""), get("plan", ""), cause, _LAYERS.get(get("layer", ""), OTHER), result)
    pool, replica, code, duration = data["pool"], data["replica"], data["status"], float(data["duration"])
    if not (isinstance(pool, str) and isinstance(replica, str) and code in _CODES and 0 <= duration < _INFINITE):
        raise MalformedLine("an impossible value")
    if access.result == "hit":  # what a replica once answered is neither its work nor its tokens now
        return Line(pool, "", code, duration, None, 1, access)
    responses = data["response_times"].replace(" : ", ", ").split(", ")
    first_byte = _first_byte(data["header_times"], responses) if replica else None
    tries = len(responses) + data["tried"].count(",")
    tokens_in, tokens_out = _tokens(get("tokens_in")), _tokens(get("tokens_out"))
    return Line(pool, replica, code, duration, first_byte, tries, access, tokens_in, tokens_out)


@lru_cache(maxsize=8192)  # a few combinations come again and again: each is looked at once
def _access(key: str, plan: str, cause: str, layer: str, result: str) -> Access:
    if not (_KEY.fullmatch(key) and PLAN.fullmatch(plan)):
        raise MalformedLine("an impossible key or plan")
    return Access(key, plan, cause, layer, result)


def _tokens(text: object) -> int:
    """0 for what is no number below 10^9, instead of a malformed line.

    The number is the engine's word, all else on the line is nginx's: an engine that writes nonsense must not hide from
    the controller that there was a request.
    """
    if isinstance(text, str) and len(text) < 10 and text.isascii() and text.isdigit():
        return int(text)
    return 0


def _failed(data: dict[str, Any]) -> Failed:
    line = Failed(data["pool"], tuple(data[_FAILED].split(",")))
    if not (isinstance(line.pool, str) and line.pool and all(line.replicas)):
        raise MalformedLine("an attempt on nobody")
    return line


def _first_byte(headers: str, responses: list[str]) -> float | None:
    """What the user waited: every earlier try to its end, and the last one to its header."""
    last = headers[headers.rfind(" ") + 1 :]
    if last in ("-", ""):
        return None
    waited = float(last)
    for time in responses[:-1]:
        if time != "-":
            waited += float(time)
    if not 0 <= waited < _INFINITE:
        raise MalformedLine("an impossible time")
    return waited


def in_flight(answer: bytes) -> InFlight:
    """The gateway's answer to `GET /in_flight`. One that knows nothing of keys has no `plans` in it.

    Raises:
        ValueError: it is something else.
    """
    try:
        data = json.loads(answer)
        plans = _counts(data["plans"], PLAN) if "plans" in data else None
        waiting = _counts(data["waiting"], NAME) if "waiting" in data else None
        return InFlight(_counts(data["pools"], NAME), plans, waiting)
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError("no object of pools, or no counts in it") from error


def _counts(found: dict[str, Any], name: re.Pattern[str]) -> dict[str, int]:
    return {label: int(count) for label, count in found.items() if name.fullmatch(label)}
