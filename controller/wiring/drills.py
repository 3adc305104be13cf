"""The desk of the drills, put together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from controller.api import views
from controller.api.deps import Seen, Sources
from controller.api.drill_ends import gone
from controller.core.errors import LostLease, TransientError
from controller.stack.api_client import Seen as Rows
from controller.stack.drill_desk import DrillDesk, DrillPlace
from controller.wiring.parts import Given


def drill_desk(given: Given, latest: Callable[[], Seen | None]) -> DrillDesk:
    """With what it must know of the pools."""

    def rows() -> Rows | None:
        seen = latest()
        if seen is None:
            return None
        pools = [pool.model_dump(mode="json") for pool in views.pools_of(seen, seen.policies)]
        replicas = [replica.model_dump(mode="json") for replica in views.replicas_of(seen)]
        return Rows(tuple(pools), tuple(replicas))

    return DrillDesk(DrillPlace(given.place.layout, given.settings, given.installation, rows))


def follow_drills(sources: Sources) -> None:
    """Write the end of a drill whose process says nothing of it."""

    def ended(name: str, told: str) -> None:
        with contextlib.suppress(LostLease, TransientError):  # whoever asks for it later finds that it is gone
            gone(name, told, sources)

    sources.drill_desk.follow(ended)
