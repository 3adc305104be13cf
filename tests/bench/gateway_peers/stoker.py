"""Stoker's gateway, as its controller renders it, with the scripts and the limits that users have."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psutil

from controller.adapters.nginx.access import NginxAccess
from controller.adapters.nginx.rules import PoolRules, Rules
from controller.core import access
from controller.core.model import Address
from tests.bench.gateway_peers.contender import Contender, Running, answers
from tests.bench.gateway_peers.figures import KEPT_OPEN, STOKER
from tests.fakes.clock import FakeClock
from tests.fakes.running_nginx import POOL, RunningNginx, parts_in, plan
from tests.waiting import wait_for

MOST_SENT = 1_000  # keys of those that are loaded, spread over all of them

_WHAT = (
    "nginx as Stoker renders it for one open pool, consistent hashing by user, every request on a connection of its "
    "own to an engine, no cache and no limit of requests in flight; the edge exporter, which reads the log datagrams, "
    "does not run, and what it takes is in no figure"
)
_MADE_AT = datetime(2026, 1, 1, tzinfo=UTC)


def contender() -> Contender:
    """Open, and without a cache: what all peers do too."""
    return Contender(STOKER, _WHAT, partial(_run, PoolRules(), {}, ""))


def kept_open() -> Contender:
    """Open likewise, for engines that bear idle connections."""
    what = "the same with `keep_alive`: up to 64 idle connections kept to each engine, as the peers have them"
    return Contender(KEPT_OPEN, what, partial(_run, PoolRules(keep_alive=True), {}, ""))


def with_keys(count: int) -> tuple[Contender, list[str]]:
    """One that wants a key and knows so many, and some of those."""
    secrets, records = keys(count)
    what = f"the same with {count:,} keys, of which the clients use {min(count, MOST_SENT):,} in turn"
    contender = Contender(f"{STOKER}, {count:,} keys", what, partial(_run, PoolRules(open=False), records, secrets[0]))
    return contender, secrets[:: -(-count // MOST_SENT)]


def with_cache() -> Contender:
    """One that keeps answers for 30 s."""
    what = "the same with its cache of answers on disk, each good for 30 s"
    return Contender(f"{STOKER}, cache", what, partial(_run, PoolRules(cache="deterministic", cache_s=30), {}, ""))


def keys(count: int) -> tuple[list[str], Mapping[str, str]]:
    """Secrets, and what nginx is told of them. The same every time: nothing is behind these keys."""
    chance = random.Random(1)
    drawn = [chance.randbytes(access.ENTROPY_BYTES) for _ in range(count)]
    made = (access.issue(access.Grant("bench"), entropy, _MADE_AT) for entropy in drawn)
    return [access.secret_of(entropy) for entropy in drawn], access.admit(made, _MADE_AT).records


@contextmanager
def _run(
    rules: PoolRules, records: Mapping[str, str], key: str, engines: Sequence[Address], folder: Path
) -> Iterator[Running]:
    """From when it serves the engines, with the keys, and the workers of the configuration before are gone."""
    clock = FakeClock()
    parts = replace(parts_in(folder, clock), rules=Rules({POOL.pool: rules}))
    with closing(_log_reader(parts.ports.edge_log)):
        nginx = RunningNginx(parts, clock)
        try:
            nginx.apply(plan(*engines))
            NginxAccess(parts.folder, parts.config().user).apply(records, {})
            _settle(nginx)
            wait_for(lambda: answers(parts.ports.gateway, key), 10, "an answer through the gateway")
            yield Running(parts.ports.gateway, nginx.pid, partial(_reload_s, nginx, engines))
        finally:
            nginx.stop()


def _reload_s(nginx: RunningNginx, engines: Sequence[Address]) -> float:
    """Leave one engine out, which is timed, and take it in again."""
    began = time.perf_counter()
    nginx.apply(plan(*engines[1:]))
    took = time.perf_counter() - began
    nginx.apply(plan(*engines))
    _settle(nginx)
    return took


def _settle(nginx: RunningNginx) -> None:
    titles = "worker process is shutting down"
    children = psutil.Process(nginx.pid).children
    wait_for(lambda: not any(titles in " ".join(one.cmdline()) for one in children()), 10, "the old workers are gone")


def _log_reader(port: int) -> socket.socket:
    """Takes nothing, but is there: a datagram to a port that nobody has comes back as an error."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", port))
    return made
