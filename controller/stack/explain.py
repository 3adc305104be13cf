"""`stoker explain --snapshot FILE`: an evaluation of the ledger once more, with other numbers or another policy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.text import Text

from controller import evidence
from controller.api.evaluations import evaluation_of
from controller.core.evaluation import Evaluation
from controller.core.model import Signal
from controller.core.policy import ScalingPolicy
from controller.core.scaling import decide_scale
from controller.core.sensitivity import what_if, with_flip
from controller.settings import load
from controller.stack import explanation
from controller.stack.api_client import Row
from controller.stack.trouble import Trouble


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be different: signals as SIGNAL=VALUE, and the policy that a configuration has for the pool."""

    snapshot: Path
    changes: Sequence[str] = ()
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The evaluation as it was, and as it would have been."""

    was: Row
    would_be: Row
    asked: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"was": self.was, "would_be": self.would_be, "asked": list(self.asked)}

    def print(self) -> None:
        """In words."""
        now = datetime.now(UTC)
        if not self.asked:
            explanation.show([explanation.explanation(self.was, now)])
            return
        what = Text(f"What if {', '.join(self.asked)}:", "dim")
        was, would_be = explanation.explanation(self.was, now), explanation.explanation(self.would_be, now)
        explanation.show([Text("It was:", "dim"), was, what, would_be])


def answer(question: Question) -> Answer:
    """Evaluate again.

    Raises:
        Trouble: the file is no evaluation, a signal or value is none, or the configuration lacks the pool.
        ConfigError: the configuration is refused.
    """
    was = _read(question.snapshot)
    would_be, asked = was, list(question.changes)
    if question.config is not None:
        would_be = _again(replace(was, policy=_policy(question.config, was)))
        asked.append(f"the policy of {question.config}")
    for change in question.changes:
        signal, value = _parse(change)
        counting = [vote.signal for vote in would_be.votes]
        if signal not in counting:
            raise Trouble(f"{signal} counts no replicas of {was.pool}; set one of {', '.join(counting)}")
        would_be = what_if(would_be, signal, value)
    return Answer(_row(was), _row(would_be), tuple(asked))


def _again(evaluation: Evaluation) -> Evaluation:
    return decide_scale(evaluation.view, evaluation.policy, evaluation.at, evaluation.mode)[0]


def _row(evaluation: Evaluation) -> Row:
    found: Row = evaluation_of(with_flip(evaluation), 0, with_evidence=True).model_dump(mode="json")
    return found


def _read(path: Path) -> Evaluation:
    """What `stoker why --json` printed, one object of the API's list (or the list's first), or the evidence alone."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Trouble(f"{path}: cannot be read ({error.strerror}); `stoker why POOL --json` writes one") from error
    except ValueError as error:
        raise Trouble(f"{path}: is no JSON; `stoker why POOL --json` writes what is wanted here") from error
    if isinstance(found, list) and found:
        found = found[0]
    for key in ("evaluation", "evidence"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    try:
        return evidence.load(json.dumps(found))
    except evidence.BadEvidence as error:
        raise Trouble(f"{path}: {error}; `stoker why POOL --json` writes what is wanted here") from error


def _policy(config: Path, evaluation: Evaluation) -> ScalingPolicy:
    policies = {policy.pool: policy.scaling for policy in load(config).policies()}
    if evaluation.pool not in policies:
        raise Trouble(f"{config} has no pool {evaluation.pool!r}; it has {', '.join(policies)}")
    return policies[evaluation.pool]


def _parse(change: str) -> tuple[Signal, float]:
    signal, _, value = change.partition("=")
    try:
        return Signal(signal.strip()), _number(value)
    except ValueError as error:
        known = ", ".join(name.value for name in Signal)
        raise Trouble(f"{change!r} sets no signal; write SIGNAL=NUMBER, SIGNAL being one of {known}") from error


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value
