"""Engine models as files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.simulate.engine import EngineModel
from controller.simulate.errors import ModelError
from controller.simulate.model_file import load_model, save_model


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path, model = tmp_path / "engine.json", EngineModel(slots=3, decode_tokens_per_s=12.5)
    save_model(path, model, {"by": "hand"})

    assert load_model(path) == model
    assert json.loads(path.read_text())["measured"] == {"by": "hand"}


def test_a_missing_field_has_its_default(tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    path.write_text('{"slots": 2}')

    assert load_model(path) == EngineModel(slots=2)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is no engine model; it must be a JSON object with some of slots, prefill_tokens_per_s"),
        ("[1]", "is no engine model"),
        ("[" * 100_000, "is no engine model"),
        ("\xff", "is no engine model"),
        (" " * (2 << 20), "is no engine model"),
        ('{"slot": 2}', "an engine model has no 'slot'; give some of slots"),
        ('{"slots": "2"}', "slots is '2'; it must be a whole number"),
        ('{"decode_tokens_per_s": NaN}', "decode_tokens_per_s is nan; it must be a number"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "engine.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ModelError) as refused:
        load_model(path)

    assert str(refused.value).startswith(str(path))
    assert sentence in str(refused.value)


def test_a_file_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: No such file or directory"):
        load_model(tmp_path / "nowhere.json")
    with pytest.raises(ModelError, match="cannot be written: Is a directory"):
        save_model(tmp_path, EngineModel())
