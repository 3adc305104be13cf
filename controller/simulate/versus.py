"""How a changed policy did beside the live one: the same service or not, and at what price. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.simulate.figures import percent
from controller.simulate.score import Result

_SAME = 0.001  # of the requests: less than that within the SLO is no difference
_SAME_HOURS = 0.5  # %


class Service(StrEnum):
    """What users would notice."""

    SAME = "same"
    BETTER = "better"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class Versus:
    """The changed policy against the live one."""

    service: Service
    slo_live: float  # share of the requests within the SLO
    slo_changed: float
    hours_percent: float | None  # replica-hours more, in %; None: the live policy used none
    failed: int  # requests more that failed or were cut

    def sentence(self) -> str:
        """Service and price in words."""
        return f"{_served(self)}, {_spent(self.hours_percent)}."


def versus(live: Result, changed: Result) -> Versus:
    """Compare two runs of one trace."""
    more = changed.slo_share - live.slo_share
    service = Service.SAME if abs(more) < _SAME else Service.BETTER if more > 0 else Service.WORSE
    hours = None
    if live.replica_hours > 0:
        hours = 100 * (changed.replica_hours / live.replica_hours - 1)
        hours = 0.0 if abs(hours) < _SAME_HOURS else hours
    failed = changed.failed + changed.cut - live.failed - live.cut
    return Versus(service, live.slo_share, changed.slo_share, hours, failed)


def _served(found: Versus) -> str:
    if found.service is Service.SAME:
        return "The same service"
    what = "Better" if found.service is Service.BETTER else "Worse"
    return (
        f"{what} service ({percent(found.slo_changed)} of the requests within the SLO, not {percent(found.slo_live)})"
    )


def _spent(percent: float | None) -> str:
    if percent is None:
        return "with replica-hours where the live policy had none"
    if percent == 0:
        return "with as many replica-hours"
    shown = max(round(abs(percent)), 1)
    return f"with {shown} % {'more' if percent > 0 else 'fewer'} replica-hours"
