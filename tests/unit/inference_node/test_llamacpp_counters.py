"""llama.cpp's own answers become three numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from inference_node.engines.contract import Counters, EngineSilent, Get
from inference_node.engines.llamacpp import parse_metrics, read_counters, tokens_under_way

METRICS = """# HELP llamacpp:tokens_predicted_total Number of generation tokens processed
# TYPE llamacpp:tokens_predicted_total counter
llamacpp:tokens_predicted_total 42
llamacpp:prompt_tokens_seconds 155.397
llamacpp:requests_processing {processing}
llamacpp:requests_deferred 58
llamacpp:n_decode_total 17
"""
SLOTS = [
    {"id": 0, "n_ctx": 1024, "is_processing": False},
    {"id": 1, "id_task": 2, "is_processing": True, "next_token": [{"has_next_token": True, "n_decoded": 64}]},
    {"id": 2, "id_task": 7, "is_processing": True, "next_token": [{"n_decoded": 6}]},
]


def answering(answers: Mapping[str, str]) -> Get:
    def get(path: str) -> str:
        if path not in answers:
            raise EngineSilent(f"{path} was not to be asked for")
        return answers[path]

    return get


def test_tokens_of_running_requests_count_before_they_end() -> None:
    get = answering({"/metrics": METRICS.format(processing=2), "/slots": json.dumps(SLOTS)})

    assert read_counters(get) == Counters(in_flight=2, waiting=58, tokens_total=42 + 64 + 6, steps=17)


def test_an_idle_engine_is_asked_once() -> None:
    assert read_counters(answering({"/metrics": METRICS.format(processing=0)})) == Counters(0, 58, 42, 17)


def test_an_older_engine_does_not_tell_its_steps() -> None:
    told = METRICS.format(processing=0).replace("llamacpp:n_decode_total", "llamacpp:something_else")

    assert read_counters(answering({"/metrics": told})) == Counters(0, 58, 42, None)


def test_comments_and_foreign_samples_are_left_out() -> None:
    text = "# HELP x\nllamacpp:a 1\nother 2\nllamacpp:broken x\n\nllamacpp:b 1.5"

    assert parse_metrics(text) == {"llamacpp:a": 1.0, "llamacpp:b": 1.5}


@pytest.mark.parametrize(
    ("slot", "want"),
    [
        pytest.param({"is_processing": False, "next_token": [{"n_decoded": 9}]}, 0, id="ended, not yet reused"),
        pytest.param({"is_processing": True}, 0, id="reads its prompt"),
        pytest.param({"is_processing": True, "next_token": []}, 0, id="no sequence yet"),
        pytest.param({"is_processing": True, "next_token": [{"n_decoded": 9}]}, 9, id="generates"),
    ],
)
def test_tokens_of_one_slot(slot: dict[str, object], want: int) -> None:
    assert tokens_under_way([slot]) == want


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({"/metrics": "<html>"}, id="no metrics at all"),
        pytest.param({"/metrics": "llamacpp:requests_processing 1\n"}, id="half of them"),
        pytest.param({"/metrics": METRICS.format(processing=1), "/slots": "no JSON"}, id="slots are no JSON"),
        pytest.param({"/metrics": METRICS.format(processing=1), "/slots": "{}"}, id="slots are no list"),
    ],
)
def test_an_answer_that_cannot_be_read_is_unknown(answers: dict[str, str]) -> None:
    with pytest.raises(EngineSilent):
        read_counters(answering(answers))
