"""What the API itself did: a line, a count and a row say so."""

from __future__ import annotations

from controller.api.deps import Sources
from controller.core.errors import LostLease, TransientError
from controller.core.event import Event


def happened(sources: Sources, event: Event) -> None:
    """Tell of it. It is done by now, so a row that cannot be written is told of, too, and that is all."""
    sources.tell([event])
    try:
        sources.store.append([event])
    except (LostLease, TransientError) as error:
        sources.tell([Event(event.at, "event_write_failed", event.subject, type(error).__name__, str(error))])
