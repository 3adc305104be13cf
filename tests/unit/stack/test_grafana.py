"""What `stoker grafana` writes: this installation's addresses, the boards, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.installation import Layout
from controller.stack.grafana import KEPT, advice, write
from controller.stack.trouble import Trouble

CONFIG = """\
pools: [{name: small, model: small, checkpoint: small.gguf}]
ports: {prometheus: 9190, alertmanager: 9193}
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state directory of an installation."""
    layout = Layout(tmp_path / "state")
    layout.root.mkdir()
    layout.config.write_text(CONFIG)
    return layout.root


def read(file: Path) -> Any:
    return yaml.safe_load(file.read_text())


def sources(folder: Path) -> dict[str, Any]:
    found = read(folder / "provisioning/datasources/stoker.yml")
    assert found["apiVersion"] == 1
    return {source["uid"]: source for source in found["datasources"]}


def test_the_data_sources_have_the_addresses_of_the_installation(state: Path, tmp_path: Path) -> None:
    found = sources(write(tmp_path / "out", None, state))

    assert found["stoker-prometheus"]["url"] == "http://127.0.0.1:9190"
    assert found["stoker-prometheus"]["jsonData"]["timeInterval"] == "1000ms"
    assert found["stoker-prometheus"]["jsonData"]["alertmanagerUid"] == "stoker-alertmanager"
    assert found["stoker-alertmanager"]["url"] == "http://127.0.0.1:9193"


def test_of_another_machine_they_have_the_address_that_was_given(state: Path, tmp_path: Path) -> None:
    for host in ("stoker.example.org", "10.0.0.7", "[fd00::7]"):
        found = sources(write(tmp_path / "out", host, state))

        assert found["stoker-prometheus"]["url"] == f"http://{host}:9190"


def test_without_an_alertmanager_there_is_one_source(state: Path, tmp_path: Path) -> None:
    file = Layout(state).config
    file.write_text(CONFIG + "alerting: {enabled: false}\n")
    found = sources(write(tmp_path / "out", None, state))

    assert list(found) == ["stoker-prometheus"]
    assert "alertmanagerUid" not in found["stoker-prometheus"]["jsonData"]


def test_the_boards_are_where_provisioning_says(state: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "out", None, state)
    (provider,) = read(folder / "provisioning/dashboards/stoker.yml")["providers"]
    shown = Path(provider["options"]["path"])

    assert shown.is_absolute()
    there = {file.name: file.read_bytes() for file in shown.iterdir()}
    assert len(there) == 5
    assert there == {file.name: file.read_bytes() for file in (KEPT / "json").iterdir()}


def test_again_it_writes_the_same_and_takes_away_only_boards_that_are_no_more(state: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "out", None, state)
    first = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    mine, old = folder / "boards/mine.json", folder / "boards/stoker-old.json"
    for file in (mine, old):
        file.write_text("{}")
    write(tmp_path / "out", None, state)

    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == {**first, mine: b"{}"}


def test_what_is_kept_in_the_repository_has_the_usual_addresses() -> None:
    found = {
        source["uid"]: source["url"] for source in read(KEPT / "provisioning/datasources/stoker.yml")["datasources"]
    }

    assert found == {"stoker-prometheus": "http://127.0.0.1:9090", "stoker-alertmanager": "http://127.0.0.1:9093"}


def test_it_says_what_to_do(state: Path, tmp_path: Path) -> None:
    assert f"GF_PATHS_PROVISIONING={tmp_path}/out/provisioning" in advice(write(tmp_path / "out", None, state))


@pytest.mark.parametrize("host", ["a b", "x/y", "user@host", "-x", "", "{{x}}", "fd00::7"])
def test_no_host_is_refused_and_nothing_is_written(state: Path, tmp_path: Path, host: str) -> None:
    with pytest.raises(Trouble, match="is no host"):
        write(tmp_path / "out", host, state)

    assert not (tmp_path / "out").exists()


def test_where_nothing_was_started_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="stoker up"):
        write(tmp_path / "out", None, tmp_path / "state")


def test_a_folder_that_cannot_be_written_is_named(state: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(Trouble, match="cannot write to"):
        write(tmp_path / "file/out", None, state)
