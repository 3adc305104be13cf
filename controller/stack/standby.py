"""Which controller leads. Several may share a database, and whoever leads has all the replicas."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from urllib.error import HTTPError, URLError

from controller.core.errors import LostLease, PermanentError, TransientError
from controller.faults import ConfigError
from controller.installation import Layout
from controller.settings import Settings, load
from controller.stack import api_client
from controller.stack.pinned import opener
from controller.stack.trouble import Trouble
from controller.stack.waiting import wait_until

_ANSWER_S = 2.0
_STANDS_BY = "stands by"  # how the answer of /readyz begins then
_HANDOVER_S = 2.5  # a controller that stands by tries about once a second, and is let in first


class Says(StrEnum):
    """What the controller says of itself."""

    NOTHING = "nothing"
    STARTS = "starts"  # no tick has ended yet
    TICKS = "ticks"
    STANDS_BY = "stands by"


def ask(settings: Settings) -> Says:
    """What it says. Blocks for a few seconds at most."""
    try:
        with opener(settings).open(f"{api_client.url(settings)}/readyz", timeout=_ANSWER_S):
            return Says.TICKS
    except HTTPError as error:
        with error:
            words = error.read(400).decode(errors="replace")
        return Says.STANDS_BY if words.startswith(_STANDS_BY) else Says.STARTS
    except (URLError, OSError, ValueError):
        return Says.NOTHING


def holder(layout: Layout, port: int) -> str:
    """The name of the controller that listens on that port; nobody else has it, and the next one there has it again."""
    return f"{socket.gethostname()}:{port} ({layout.root})"


@contextmanager
def sole(layout: Layout, before: Says) -> Iterator[str | None]:
    """In the body no controller of another installation leads or begins to; yields None then.

    Else it yields who does, in words: replicas are that one's, and whoever stops this installation leaves them alone.
    `before` is what this installation's controller said before it was stopped. Blocks for up to about 10 s.

    Raises:
        Trouble: the database that would know does not answer.
    """
    try:
        settings = load(layout.config)
    except ConfigError:  # `up` never came so far
        yield None
        return
    if settings.controller.database == "sqlite":
        yield None  # whoever else leads is of this very installation
    elif before is Says.STANDS_BY:
        yield "another controller leads on the same database"
    else:
        wait_until(lambda: False, _HANDOVER_S)
        with _holding(settings, layout) as leader:
            yield leader


@contextmanager
def _holding(settings: Settings, layout: Layout) -> Iterator[str | None]:
    """Hold the lease under the name of the controller that is stopped: what a killed one left is ours at once."""
    from controller.adapters.database import DatabaseLease, SqlStore

    ttl_s, name = settings.controller.lease_ttl.total_seconds(), holder(layout, settings.ports.controller)
    try:
        with closing(SqlStore(settings.controller.database_url())) as store:
            lease = DatabaseLease(store, name, ttl_s)
            try:
                lease.acquire()
            except LostLease as error:
                yield str(error).partition(" and holds")[0]
                return
            try:
                yield None
            finally:
                lease.release()
    except (ConfigError, TransientError, PermanentError) as error:
        raise Trouble(f"nobody knows whether another controller leads, so the replicas stay: {error}") from error
