"""Where the public traces are, if this checkout has them beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

_TRACES = Path(__file__).parents[4] / "shared" / "traces"
AZURE = "AzureLLMInferenceTrace_code.csv"
MOONCAKE = "mooncake_synthetic_trace.jsonl"


def public_trace(name: str) -> Path:
    """Its file; the test is skipped where there is none."""
    path = _TRACES / name
    if not path.is_file():
        pytest.skip(f"the public trace {name} is not beside the checkout")
    return path
