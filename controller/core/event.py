"""What happened, as one value: the log line, the counter's labels and the row of the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Event:
    """Something changed or failed. `message` is one past-tense sentence that repeats neither subject nor reason."""

    at: datetime
    event: str  # stable snake_case word
    subject: str  # "pool/llama", "replica/llama-3", "gateway", "tick"
    reason: str
    message: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    tick: int = 0
    term: int = 0

    def line(self) -> str:
        """One logfmt line."""
        at = self.at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{self.at.microsecond // 1000:03d}Z"
        numbers = "".join(f" {name}={value:g}" for name, value in self.numbers.items())
        joined = f"ts={at} event={self.event} subject={self.subject} reason={self.reason}{numbers}"
        return f"{joined} tick={self.tick} term={self.term} msg={json.dumps(self.message, ensure_ascii=False)}"
