"""The service between nginx and Redis, where `gateway.hot_cache` is given."""

from __future__ import annotations

import sys
from datetime import timedelta

from controller.adapters.nginx import hot
from controller.installation import Layout
from controller.settings import ConfigError, Settings
from controller.stack.supervisor import Program


def require(settings: Settings) -> None:
    """Refuse what the service could not work with.

    Raises:
        ConfigError: the file of the URL is not as it must be, or nobody says whose answers they are.
    """
    given = settings.gateway.hot_cache
    if given is None:
        return
    given.redis_url()
    if settings.controller.instance is None:
        raise ConfigError(
            "gateway.hot_cache needs controller.instance, 12 hexadecimal digits that are the same for every gateway "
            "that is to share its answers, and for no other; `openssl rand -hex 6` prints such"
        )


def programs(settings: Settings, layout: Layout) -> tuple[Program, ...]:
    """The process that the supervisor keeps up; none where there is no hot cache."""
    given = settings.gateway.hot_cache
    if given is None:
        return ()
    command = (
        *(sys.executable, "-m", "gateway.hotcache", "--socket", hot.SOCKET),
        *("--redis-url-file", given.redis_url_file, "--instance", settings.controller.instance or ""),
        *(("--cluster",) if given.cluster else ()),
        *("--timeout-ms", str(max(1, round(given.timeout / timedelta(milliseconds=1))))),
        *("--max-answer-bytes", str(given.max_answer)),
    )
    return (Program("hotcache", command, layout.gateway),)
