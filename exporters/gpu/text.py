"""Prometheus's text format. Pure.

Our own, since DCGM's counters have no `_total` at their end, and the usual library would give them one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Family:
    """A metric. Each sample has its labels as text, which many metrics share."""

    name: str
    kind: Literal["counter", "gauge"]
    told: str
    samples: list[tuple[str, float]] = field(default_factory=list)

    def add(self, labelled: str, value: float) -> None:
        """One more sample; its labels as `labels` writes them."""
        self.samples.append((labelled, value))


def labels(values: Mapping[str, str]) -> str:
    """Labels in braces. One that is empty is the same as none, and is left out."""
    told = ",".join([f'{name}="{value.translate(_ESCAPES)}"' for name, value in values.items() if value])
    return f"{{{told}}}" if told else ""


def render(families: Iterable[Family]) -> bytes:
    """The page. A family without samples is left out."""
    lines: list[str] = []
    for family in families:
        if family.samples:
            lines.append(f"# HELP {family.name} {family.told}\n# TYPE {family.name} {family.kind}\n")
            lines += [f"{family.name}{labelled} {value!r}\n" for labelled, value in family.samples]
    return "".join(lines).encode()
