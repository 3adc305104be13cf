"""The end of a drill: written once, whoever tells of it first."""

from __future__ import annotations

from datetime import datetime, timedelta

from controller.api.deps import Sources
from controller.api.happened import happened
from controller.core.drilled import Drilled, ended_event, lost, over
from controller.core.errors import LostLease, TransientError

_UNHEARD = timedelta(seconds=180)  # longer than a drill tries to tell of its end


def end(before: Drilled, after: Drilled, sources: Sources, result: str = "") -> Drilled:
    """Write how it ended, with its result; the first end counts. Raises like `DrillStore.change_drill`."""
    first: list[bool] = []

    def change(known: Drilled | None) -> Drilled:
        first[:] = [known is None or known.running]
        return over(known, after) if known is not None else after

    kept = sources.drills.change_drill(before.id, change, result if before.running else "")
    if first[0]:
        happened(sources, ended_event(kept, sources.now()))
    return kept


def gone(name: str, told: str, sources: Sources) -> None:
    """Its process has ended. Where it said nothing of its own end, that is the end. Raises like `DrillStore`."""
    found = sources.drills.drill(name)
    if found is not None and found[0].running:
        end(found[0], lost(found[0], sources.now(), told), sources)


def heard_lately(drill: Drilled, now: datetime) -> bool:
    """Whether it may well go on, though its process cannot be seen here."""
    return now - drill.heard_at < _UNHEARD


def looked_after(drill: Drilled, sources: Sources) -> Drilled:
    """The same; one whose process is gone without a word has ended, as soon as that can be written."""
    now = sources.now()
    if not drill.running or heard_lately(drill, now) or sources.drill_desk.running() == drill.id:
        return drill
    try:
        return end(drill, lost(drill, now), sources)
    except (TransientError, LostLease):  # to read stays possible
        return drill


def ran(sources: Sources, limit: int) -> list[Drilled]:
    """The newest so many, each looked after. Raises `TransientError` where the store cannot be read."""
    return [looked_after(drill, sources) for drill in sources.drills.drills(limit=limit)]
