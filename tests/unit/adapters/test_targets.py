"""Whom Prometheus is told to scrape of other gateways."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.adapters.targets import FileTargets


def test_exporters_of_other_gateways(tmp_path: Path) -> None:
    targets = FileTargets(tmp_path / "targets")
    assert targets.gateways() == {}
    targets.write_gateways({"b": "10.0.0.2:9401", "a": "[2001:db8::1]:9401"})
    file = tmp_path / "targets/edge.json"

    assert json.loads(file.read_text()) == [
        {"targets": ["[2001:db8::1]:9401"], "labels": {"gateway": "a"}},
        {"targets": ["10.0.0.2:9401"], "labels": {"gateway": "b"}},
    ]
    assert FileTargets(tmp_path / "targets").gateways() == {"a": "[2001:db8::1]:9401", "b": "10.0.0.2:9401"}
    before = file.stat()
    targets.write_gateways({"a": "[2001:db8::1]:9401", "b": "10.0.0.2:9401"})
    assert file.stat().st_ino == before.st_ino, "an equal list is not written again"
    targets.write_gateways({})
    assert json.loads(file.read_text()) == []


def test_a_controller_that_was_to_stand_by_is_scraped_while_it_leads(tmp_path: Path) -> None:
    file, usual = tmp_path / "controller.json", "127.0.0.1:8000"
    FileTargets(tmp_path).write_leader(usual, usual)
    assert not file.exists(), "it is scraped anyway"

    FileTargets(tmp_path).write_leader("127.0.0.1:8010", usual)
    assert json.loads(file.read_text()) == [{"targets": ["127.0.0.1:8010"], "labels": {}}]

    FileTargets(tmp_path).write_leader(usual, usual)
    assert json.loads(file.read_text()) == []


def test_gpu_exporters_by_their_nodes(tmp_path: Path) -> None:
    FileTargets(tmp_path).write_gpus({"local": "127.0.0.1:9400", "gpu-2": "[fd00::2]:9400"})

    assert json.loads((tmp_path / "gpu.json").read_text()) == [
        {"targets": ["[fd00::2]:9400"], "labels": {"node": "gpu-2"}},
        {"targets": ["127.0.0.1:9400"], "labels": {"node": "local"}},
    ]


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"targets": []}]'])
def test_a_damaged_file_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "edge.json").write_text(text)

    assert FileTargets(tmp_path).gateways() == {}
