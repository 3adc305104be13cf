"""The boards' JSON: what the code says, what Grafana's own models understand, and what a person can read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from setuptools import find_namespace_packages

from dashboards.grafana.__main__ import boards as written
from dashboards.grafana.__main__ import stale, text_of, write
from dashboards.grafana.panels import ALERTMANAGER, Steps
from tests.unit.dashboards.boards import FOLDER, JSON, asked_values, boards, panels, queries, variables

ROOT = Path(__file__).parents[3]
BOARDS = boards()
COLUMNS = 24
# What Prometheus's plug-in reads of an annotation, and the SDK's model knows nothing of.
ONLY_THE_PLUGIN_KNOWS = ("titleFormat", "textFormat", "step")
GLOBAL = ("__rate_interval", "__range", "__interval")
EVERY = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
register_default_plugins()


def test_the_json_is_what_the_code_says() -> None:
    assert stale(FOLDER) == []
    done = subprocess.run(
        [sys.executable, "-m", "dashboards.grafana", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_that_differs_is_missing_or_too_many_is_named_and_mended(tmp_path: Path) -> None:
    write(tmp_path)
    assert stale(tmp_path) == []
    (tmp_path / "stoker-pool.json").unlink()
    (tmp_path / "stoker-old.json").write_text("{}")
    changed = tmp_path / "stoker-fleet.json"
    changed.write_text(changed.read_text().replace("Stoker / Fleet", "Fleet"))

    assert stale(tmp_path) == ["stoker-fleet.json", "stoker-old.json", "stoker-pool.json"]
    write(tmp_path)
    assert stale(tmp_path) == []


def test_writing_twice_gives_the_same_bytes() -> None:
    assert [text_of(board) for board in written()] == [text_of(board) for board in written()]


def test_there_are_five_boards_whose_addresses_stay() -> None:
    kinds = ("controller", "fleet", "gateway", "node", "pool")
    assert list(BOARDS) == [f"stoker-{kind}" for kind in kinds]
    assert [file.stem for file in sorted(FOLDER.iterdir())] == list(BOARDS)
    assert len({board["title"] for board in BOARDS.values()}) == len(kinds)


@EVERY
def test_grafanas_own_models_read_it_and_write_the_same(board: JSON) -> None:
    known = json.loads(json.dumps(board))
    for annotation in known["annotations"]["list"]:
        assert all(isinstance(annotation.pop(name), str) for name in ONLY_THE_PLUGIN_KNOWS)

    read = Dashboard.from_json(known)

    assert json.loads(json.dumps(read, cls=JSONEncoder)) == known
    assert board["schemaVersion"] >= 36


@EVERY
def test_a_panel_says_what_it_shows_in_one_sentence_with_a_unit(board: JSON) -> None:
    for panel in panels(board):
        assert re.fullmatch(r"[A-Z][^.]+(\.5 s)?\??", panel["title"]), panel["title"]
        assert re.fullmatch(r"[A-Z0-9].+\.", panel["description"]), panel["title"]
        assert len(re.findall(r"\.\s", panel["description"])) == 0, f"one sentence: {panel['title']}"
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


@EVERY
def test_every_query_goes_to_the_source_that_the_board_names(board: JSON) -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    asked = [*(panel for panel in panels(board) if panel["type"] != "alertGroups"), *board["annotations"]["list"]]

    assert [one for one in asked if one["datasource"] != source] == []
    assert [target for one in asked for target in one.get("targets", ()) if target["datasource"] != source] == []
    assert [one for one in variables(board).values() if one["type"] == "query" and one["datasource"] != source] == []


@EVERY
def test_ids_and_titles_are_unique(board: JSON) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    titles = [panel["title"] for panel in board["panels"]]

    assert sorted(ids) == list(range(1, len(ids) + 1))
    assert sorted(set(titles)) == sorted(titles)


@EVERY
def test_panels_fill_their_lines_and_do_not_overlap(board: JSON) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < COLUMNS, panel["title"]
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]
    lines = 1 + max(y for _, y in taken)
    assert len(taken) == COLUMNS * lines, "a hole"


@EVERY
def test_every_variable_is_used_and_every_one_used_is_there(board: JSON) -> None:
    texts = [json.dumps(board["panels"]), json.dumps(board["annotations"])]
    texts += [json.dumps(one.get("query")) + json.dumps(one.get("datasource")) for one in variables(board).values()]
    used = set(re.findall(r"\$\{?(\w+)\}?", " ".join(texts)))

    assert used - set(GLOBAL) == set(variables(board))
    assert {"datasource"} < set(variables(board))


@EVERY
def test_a_variable_of_several_values_begins_with_all(board: JSON) -> None:
    for name in asked_values(board):
        variable = variables(board)[name]
        assert (variable["multi"], variable["includeAll"]) == (True, True)
        assert variable["current"]["value"] == ["$__all"]


@EVERY
def test_several_values_are_matched_by_a_regular_expression(board: JSON) -> None:
    texts = [*(expr for _, expr in queries(board)), *asked_values(board).values()]
    names = "|".join(asked_values(board))

    assert [text for text in texts if re.search(rf'[^~]"\$({names})"|\$\{{?({names})\}}?[^"\w]', text)] == []


@EVERY
def test_rates_go_by_the_width_of_the_picture_and_nothing_is_a_mean_of_a_lifetime(board: JSON) -> None:
    for where, expr in queries(board):
        windows = re.findall(r"\[([^\]]+)\]", expr)
        assert set(windows) <= {"$__rate_interval", "$__range", "$__range:1m"}, where
        raw = re.findall(r"(\w+\()?\s*\(?([\w:]+_(?:total|bucket|sum|count))\b", expr)
        for before, name in raw:
            counted = before in ("rate(", "increase(") or re.search(rf"(0 \* sum|count by \([^)]*\) )\({name}", expr)
            assert counted, f"{where}: {name} is a count since the beginning"


@EVERY
def test_series_have_names_that_people_read(board: JSON) -> None:
    """`__auto` would show all labels; of a table the labels are the columns."""
    for panel in panels(board):
        if panel["type"] != "table":
            names = [target["legendFormat"] for target in panel.get("targets", ())]
            assert all(name and name != "__auto" for name in names), panel["title"]


@EVERY
def test_the_labels_in_names_are_labels_that_the_query_keeps(board: JSON) -> None:
    for panel in panels(board):
        for target in panel.get("targets", ()):
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = re.findall(r"by \(([^)]*)\)", target["expr"])
            if kept and panel["type"] != "heatmap":
                assert used <= {label.strip() for labels in kept for label in labels.split(",")}, panel["title"]


def test_a_panel_of_alerts_names_the_source_that_provisioning_has() -> None:
    file = FOLDER.parent / "provisioning/datasources/stoker.yml"
    sources = {source["name"]: source["type"] for source in yaml.safe_load(file.read_text())["datasources"]}
    shown = [panel for board in BOARDS.values() for panel in panels(board) if panel["type"] == "alertGroups"]

    assert [panel["options"]["alertmanager"] for panel in shown] == [ALERTMANAGER]
    assert sources[ALERTMANAGER] == "alertmanager"


def test_boards_and_provisioning_go_into_the_package() -> None:
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = find_namespace_packages(str(ROOT), include=settings["packages"]["find"]["include"])
    files = [file for file in FOLDER.parent.rglob("*") if file.suffix in (".json", ".yml")]

    assert len(files) == 7
    for file in files:
        assert ".".join(file.parent.relative_to(ROOT).parts) in packages
        assert f"*{file.suffix}" in settings["package-data"]["*"]


@pytest.mark.parametrize(
    ("steps", "colours"),
    [
        (Steps(10, 30), [(None, "green"), (10, "orange"), (30, "red")]),
        (Steps(0.99, 0.95), [(None, "red"), (0.95, "orange"), (0.99, "green")]),
        (Steps(1, 1), [(None, "green"), (1, "red")]),
    ],
    ids=["much is bad", "little is bad", "any is bad"],
)
def test_colours_of_a_number(steps: Steps, colours: list[tuple[float | None, str]]) -> None:
    assert [(step.value, step.color) for step in steps.build().build().steps] == colours
