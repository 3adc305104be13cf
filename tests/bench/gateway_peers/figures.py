"""What the rounds of a run come to. Pure: reads no clock and starts nothing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

DIRECT = "engines directly"  # nothing in front of them: what client and engines could do at most
STOKER = "stoker"  # whom the ratios refer to
KEPT_OPEN = "stoker, keep_alive"


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one contender in one round; `errors` among the values are requests that were not answered."""

    section: str
    round: int
    contender: str
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that was to be measured and could not be. `why` is a clause."""

    section: str
    contender: str
    why: str


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run, as its JSON has it."""

    about: dict[str, str]  # the machine and the load
    contenders: dict[str, str]  # name -> how it was set up, in the order of the tables
    samples: list[Sample] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """Goes through `json.dumps`."""
        return asdict(self)

    @staticmethod
    def of(parsed: dict[str, object]) -> Report:
        """What `as_json` gave. Raises `KeyError` or `TypeError` where it is something else."""
        known = dict(parsed)
        samples, gaps = known.pop("samples"), known.pop("gaps")
        if not isinstance(samples, list) or not isinstance(gaps, list):
            raise TypeError("samples and gaps are no lists")
        made = {"samples": [Sample(**sample) for sample in samples], "gaps": [Gap(**gap) for gap in gaps]}
        return Report(**made, **known)  # type: ignore[arg-type]

    def measured(self, section: str) -> list[str]:
        """The contenders of a section."""
        found = {sample.contender for sample in self.samples if sample.section == section}
        return [name for name in self.contenders if name in found]


def median(samples: Sequence[Sample], section: str, contender: str, key: str) -> float | None:
    """Over the rounds; None where it was never measured."""
    found = list(_by_round(samples, section, contender, key).values())
    return statistics.median(found) if found else None


def total(samples: Sequence[Sample], section: str, contender: str, key: str) -> float:
    """Over the rounds; 0 where it was never measured."""
    return sum(_by_round(samples, section, contender, key).values())


def ratio(samples: Sequence[Sample], section: str, pair: tuple[str, str], key: str) -> float | None:
    """How many times the second's value the first's is: the median of the rounds, each compared within itself.

    None where no round has both, or the second's is 0.
    """
    return _paired(samples, section, pair, key, lambda one, other: one / other if other else None)


def difference(samples: Sequence[Sample], section: str, pair: tuple[str, str], key: str) -> float | None:
    """How much more than the second's value the first's is: the median of the rounds, each compared within itself."""
    return _paired(samples, section, pair, key, lambda one, other: one - other)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("no value was measured, so there is no percentile")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _paired(
    samples: Sequence[Sample],
    section: str,
    pair: tuple[str, str],
    key: str,
    compare: Callable[[float, float], float | None],
) -> float | None:
    one, other = (_by_round(samples, section, contender, key) for contender in pair)
    both = [compare(one[number], other[number]) for number in one if number in other]
    found = [value for value in both if value is not None]
    return statistics.median(found) if found else None


def _by_round(samples: Sequence[Sample], section: str, contender: str, key: str) -> dict[int, float]:
    mine = [sample for sample in samples if (sample.section, sample.contender) == (section, contender)]
    return {sample.round: sample.values[key] for sample in mine if key in sample.values}
