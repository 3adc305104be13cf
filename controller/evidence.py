"""Evaluations as JSON and back: what the ledger keeps and what `stoker explain` reads.

Everything that went into an evaluation is in it, so that it can be repeated anywhere.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from controller.core.evaluation import Evaluation

_EVALUATION = TypeAdapter(Evaluation)


class BadEvidence(ValueError):
    """What was read is no evaluation. One sentence: where, and what is wrong."""


def dump(evaluation: Evaluation) -> str:
    """One line of JSON, a few kilobytes."""
    return _EVALUATION.dump_json(evaluation).decode()


def as_object(evaluation: Evaluation) -> dict[str, Any]:
    """The same as an object that `json` can write."""
    found: dict[str, Any] = _EVALUATION.dump_python(evaluation, mode="json")
    return found


def load(text: str | bytes) -> Evaluation:
    """What `dump` wrote.

    Raises:
        BadEvidence: it is something else, or of another version.
    """
    try:
        return _EVALUATION.validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"]) or "the whole"
        raise BadEvidence(f"no evaluation: {place}: {fault['msg']}") from error
