"""`python -m gateway.hotcache`: runs until SIGTERM or SIGINT. Exits 2 where it is started in a way that cannot work."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

import uvicorn

from gateway.hotcache.answers import Answers, Limits, connect
from gateway.hotcache.secret import Refused, read_url
from gateway.hotcache.service import Service

_IDLE_S = 5  # nginx gives up idle connections before that
_GRACE_S = 2


def main(arguments: list[str]) -> int:
    """Serve until told to stop; gives the exit code."""
    given = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(_serve(given, read_url(given.redis_url_file)))
    except Refused as refused:
        sys.stderr.write(f"hot cache: {refused}\n")
        return 2
    return 0


async def _serve(given: argparse.Namespace, url: str) -> None:
    client = connect(url, cluster=given.cluster)
    answers = Answers(client, given.instance, Limits(given.timeout_ms / 1000, given.max_answer_bytes))
    config = uvicorn.Config(
        Service(answers),
        uds=str(given.socket),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    try:
        async with asyncio.TaskGroup() as tasks:  # whatever ends one of the two in an error ends the process
            tending = tasks.create_task(answers.tend())
            await uvicorn.Server(config).serve()
            tending.cancel()
    finally:
        await answers.close()


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gateway.hotcache", description="answers that several gateways share")
    parser.add_argument("--socket", type=Path, required=True, help="unix socket to listen on")
    parser.add_argument("--redis-url-file", type=Path, required=True, help="file of mode 0600 that holds redis://...")
    parser.add_argument("--instance", required=True, help="whose answers they are: first part of each key in Redis")
    parser.add_argument("--cluster", action="store_true", help="the URL is of one node of a Redis cluster")
    parser.add_argument("--timeout-ms", type=int, default=100, help="longest that an operation of Redis may take")
    parser.add_argument("--max-answer-bytes", type=int, default=1024 * 1024, help="larger answers are not stored")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
