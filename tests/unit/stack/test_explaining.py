"""`stoker why` and `stoker explain`: what they read, and the words they find."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from controller import evidence
from controller.api.evaluations import evaluation_of
from controller.core.evaluation import Evaluation
from controller.core.model import PoolMemory, PoolReadings, ReplicaId, Signal
from controller.core.policy import ScalingPolicy
from controller.core.scaling import decide_scale
from controller.core.sensitivity import with_flip
from controller.core.votes import PoolView
from controller.settings import ConfigError
from controller.stack.api_client import Row
from controller.stack.explain import Question, answer
from controller.stack.explanation import ago, show
from controller.stack.trouble import Trouble
from controller.stack.why import Why
from tests.fakes.clock import START
from tests.unit.core.build import POOL, reading

READY = tuple(ReplicaId(f"llama-{number}") for number in (1, 2, 3))


def evaluation(load: float = 20, *, latency: float = 0.1, desired: int = 3) -> Evaluation:
    """Three replicas, half busy, of a controller that has run for long."""
    memory = PoolMemory(POOL, desired, history_since=START - timedelta(hours=1))
    pool = {Signal.IN_FLIGHT: reading(load), Signal.LATENCY: reading(latency)}
    busy = {Signal.UTILIZATION: {name: reading(0.5) for name in READY}}
    view = PoolView(memory, READY, readings=PoolReadings(pool, busy))
    return with_flip(decide_scale(view, ScalingPolicy(), START)[0])


def row(found: Evaluation, number: int | None = None) -> Row:
    told: Row = evaluation_of(found, 9, with_evidence=True).model_dump(mode="json")
    return told | {"id": number}


def write(path: Path, found: object) -> Path:
    path.write_text(json.dumps(found), encoding="utf-8")
    return path


def test_why_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    up = row(evaluation(20), 1)
    Why(row(evaluation(2, desired=5), None), (up,)).print()
    said = capsys.readouterr().out

    assert "The last change:" in said
    assert "llama: 5 replicas, 3 before, at 2026-01-05 12:00:00 UTC" in said
    assert "in flight and waiting  20 in all" in said
    assert "3 -> 5  20 in flight and waiting, target 4 for each of 3: 5 would do" in said
    assert "With in flight and waiting at 21 instead of 20 it would have been 6." in said
    assert "Since then:" in said
    assert "2026-01-05 12:00:00 UTC  3 -> 5  20 in flight and waiting" in said


def test_the_score_of_a_second_policy(capsys: pytest.CaptureFixture[str]) -> None:
    scores = {"replica_hours": 1.5, "short_s": 12.0, "changes": 3}
    score = scores | {f"live_{key}": 2 * value for key, value in scores.items()} | {"since": "2026-01-05T11:00:00Z"}
    why = Why(row(evaluation()) | {"mode": "shadow", "shadow": 4}, (), score)
    why.print()
    said = capsys.readouterr().out

    assert "[shadow]" in said
    assert "the second policy would have 4" in said
    assert "Since 2026-01-05 11:00:00 UTC" in said
    assert "live    3.00, 24 s, 6" in said
    assert "second  1.50, 12 s, 3" in said
    assert why.as_json()["shadow"] == score


def test_unknown_is_said_and_is_no_zero(capsys: pytest.CaptureFixture[str]) -> None:
    memory = PoolMemory(POOL, 3, history_since=START - timedelta(hours=1))
    found = decide_scale(PoolView(memory, READY), ScalingPolicy(), START)[0]
    Why(row(found), ()).print()
    said = capsys.readouterr().out

    assert said.count("unknown") == 3
    assert "nothing is known of the load" in said


@pytest.mark.parametrize("wrap", ["why", "list", "row", "evidence"])
def test_explain_reads_whatever_the_others_wrote(tmp_path: Path, wrap: str) -> None:
    told = row(evaluation())
    kinds = {"why": {"evaluation": told, "changes": []}, "list": [told], "row": told, "evidence": told["evidence"]}
    found = answer(Question(write(tmp_path / "moment.json", kinds[wrap])))

    assert found.was["desired"] == found.would_be["desired"] == 5
    assert found.was["flip"] == told["flip"]


def test_what_if(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "moment.json", row(evaluation()))
    found = answer(Question(file, ("in_flight=9", "utilization=0.9")))

    assert (found.was["desired"], found.would_be["desired"]) == (5, 4)
    assert [step["code"] for step in found.would_be["steps"]] == ["AboveTarget"]
    found.print()
    said = capsys.readouterr().out
    assert "What if in_flight=9, utilization=0.9:" in said
    assert found.as_json()["asked"] == ["in_flight=9", "utilization=0.9"]


def test_another_policy(tmp_path: Path) -> None:
    file = write(tmp_path / "moment.json", row(evaluation()))
    config = tmp_path / "stoker.yaml"
    config.write_text(
        "pools:\n  - {name: llama, model: llama, checkpoint: m.gguf, scaling: {target_in_flight: 10}}\n",
        encoding="utf-8",
    )
    assert answer(Question(file, config=config)).would_be["desired"] == 3

    config.write_text("pools:\n  - {name: other, model: llama, checkpoint: m.gguf}\n", encoding="utf-8")
    with pytest.raises(Trouble, match="has no pool 'llama'; it has other"):
        answer(Question(file, config=config))
    config.write_text("pools: []\n", encoding="utf-8")
    with pytest.raises(ConfigError):
        answer(Question(file, config=config))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("in_flight", "sets no signal; write SIGNAL=NUMBER"),
        ("in_flight=many", "sets no signal"),
        ("in_flight=-1", "sets no signal"),
        ("in_flight=inf", "sets no signal"),
        ("requests=3", "SIGNAL being one of in_flight, utilization"),
        ("memory=0.5", "counts no replicas of llama; set one of in_flight, utilization, latency"),
        ("kv_cache=0.5", "counts no replicas of llama"),
    ],
)
def test_a_change_that_is_none(tmp_path: Path, change: str, said: str) -> None:
    file = write(tmp_path / "moment.json", row(evaluation()))
    with pytest.raises(Trouble, match=said):
        answer(Question(file, (change,)))


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="cannot be read"):
        answer(Question(tmp_path / "nowhere.json"))
    (tmp_path / "text.json").write_text("once upon a time", encoding="utf-8")
    with pytest.raises(Trouble, match="is no JSON"):
        answer(Question(tmp_path / "text.json"))
    with pytest.raises(Trouble, match="no evaluation"):
        answer(Question(write(tmp_path / "other.json", {"pool": "llama"})))


def test_evidence_survives_the_way_through_json() -> None:
    found = evaluation()

    assert evidence.load(evidence.dump(found)) == found
    assert evidence.load(json.dumps(evidence.as_object(found))) == found


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s ago"), (5, "5 s ago"), (119, "119 s ago"), (600, "10 min ago"), (2e4, "6 h ago")]
)
def test_how_long_ago(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_nothing_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    show([])
    assert capsys.readouterr().out == ""
