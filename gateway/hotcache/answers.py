"""Answers in Redis: looked for and stored within a time limit, or not at all.

A value is the content type, a line break and the body. Redis forgets it by itself; how much longer it is good for comes
with it, so that nginx keeps it no longer than the gateway that stored it would.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from gateway.hotcache.secret import Refused

FAILURES = 3  # in a row: more than a connection that Redis had given up
REST_S = 2.0
AT_ONCE = 64  # operations; further ones wait for these, within their own time
CONNECT_S = 2.0  # while nobody waits: name, connection, and what a cluster tells of itself

_FAULTS = (RedisError, RedisClusterException, OSError, EOFError)  # `TimeoutError` is an OSError
_LOG = logging.getLogger("hotcache")

Client = Redis | RedisCluster


class Unavailable(Exception):
    """Redis has not answered, or is given a rest because it did not. The text is a fault's name."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one operation may take."""

    timeout_s: float
    max_answer_bytes: int
    rest_s: float = REST_S


@dataclass(frozen=True, slots=True)
class Answer:
    """What a replica once said."""

    kind: str  # the content type
    body: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer, and for how much longer it is good, in whole seconds, at least 1."""

    answer: Answer
    remaining_s: int


def connect(url: str, *, cluster: bool) -> Client:
    """A client that has not connected yet. It tries once more at once: Redis may have given up an idle connection.

    Raises:
        Refused: the URL is malformed; which part of it is not told, as that might be the password.
    """
    try:
        if cluster:
            return RedisCluster.from_url(url, socket_connect_timeout=CONNECT_S, retry=Retry(NoBackoff(), 1))
        return Redis.from_url(url, socket_connect_timeout=CONNECT_S, retry=Retry(NoBackoff(), 1))
    except ValueError:
        raise Refused("the URL of Redis is malformed; write redis://USER:PASSWORD@HOST:PORT/0") from None


class Answers:
    """Those of one installation. `tend` must run beside it; until that has reached Redis nothing is available."""

    def __init__(self, client: Client, instance: str, limits: Limits) -> None:
        self.max_answer_bytes = limits.max_answer_bytes
        self._client, self._limits = client, limits
        self._prefix = f"stoker:{instance}:answer:"
        self._room = asyncio.Semaphore(AT_ONCE)
        self._failures = 0  # in a row
        self._resting = asyncio.Event()
        self._resting.set()

    @property
    def available(self) -> bool:
        """Whether Redis is asked at all."""
        return not self._resting.is_set()

    async def get(self, key: str) -> Kept | None:
        """What is kept under that key; None where nothing is. Raises `Unavailable`."""
        async with self._bounded():
            value, remaining_ms = await self._read(self._prefix + key)
        if value is None or remaining_ms <= 0:
            return None
        kind, _, body = value.partition(b"\n")
        if not body or len(body) > self.max_answer_bytes:  # a gateway with another limit has stored it
            return None
        return Kept(Answer(kind.decode("latin-1"), body), -(-remaining_ms // 1000))

    async def put(self, key: str, answer: Answer, ttl_s: int) -> None:
        """Keep it for so long. Raises `Unavailable`."""
        value = answer.kind.encode("latin-1") + b"\n" + answer.body
        async with self._bounded():
            await self._client.set(self._prefix + key, value, ex=ttl_s)

    async def tend(self) -> None:
        """Runs until it is cancelled. Connects, and after failures in a row gives Redis a rest and connects again."""
        while True:
            fault = await self._fault()
            if fault:
                _LOG.warning("Redis does not answer (%s): each gateway has its own answers only, until it does.", fault)
            while fault:
                await asyncio.sleep(self._limits.rest_s)
                fault = await self._fault()
            self._failures = 0
            self._resting.clear()
            _LOG.info("Redis answers: gateways share their answers.")
            await self._resting.wait()
            _LOG.warning("Redis has not answered %d times in a row: it is given a rest.", FAILURES)
            await asyncio.sleep(self._limits.rest_s)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _read(self, key: str) -> tuple[bytes | None, int]:
        """The value, and how many milliseconds it has left, in one round trip."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.get(key)
        pipeline.pttl(key)
        value, remaining_ms = await pipeline.execute()
        return value, remaining_ms

    @contextlib.asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """One operation: within its time, and counted where it fails."""
        if not self.available:
            raise Unavailable("resting")
        try:
            async with asyncio.timeout(self._limits.timeout_s), self._room:
                yield
        except ResponseError as fault:  # it answers, and refuses: its memory is full, say
            raise Unavailable(type(fault).__name__) from fault
        except _FAULTS as fault:
            self._failures += 1
            if self._failures >= FAILURES:
                self._resting.set()
            raise Unavailable(type(fault).__name__) from fault
        self._failures = 0

    async def _fault(self) -> str:
        """Why Redis cannot be used; empty where it can. Takes its time to connect: nobody waits for it."""
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._client.get(self._prefix)
            async with asyncio.timeout(self._limits.timeout_s):
                await self._client.get(self._prefix)
        except _FAULTS as fault:
            return type(fault).__name__
        return ""
