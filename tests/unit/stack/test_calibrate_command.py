"""`stoker calibrate`: what it measures, prints and writes, and how it refuses. The measuring has tests of its own."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller import cli
from controller.simulate.calibrate import Calibration, Effort
from controller.simulate.engine import EngineModel
from controller.simulate.estimates import Spread
from controller.simulate.model_file import load_model
from controller.simulate.streaming import HttpClient
from controller.stack import api_client
from controller.stack import calibrate as command
from controller.stack.api_client import Seen
from tests.fakes.engine import Exchange, FakeEngine, engines

CONFIG = "pools:\n  - {name: small, model: small, checkpoint: small.gguf, engine: {slots: 3, context_tokens: 256}}\n"
FOUND = Calibration(
    EngineModel(slots=8, prefill_tokens_per_s=1234.5, decode_tokens_per_s=40, decode_share_during_prefill=0.4),
    Spread(1234.5, 1200.0, 1300.0, 3),
    Spread(0.025, 0.02, 0.04, 3),
    8,
    Spread(0.05, 0.05, 0.1, 3),
    Spread(0.4, 0.3, 0.5, 2),
    True,
)


class Typed:
    """Runs the command as the shell does, with a measuring that only notes down what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.found = FOUND
        self.models: list[str] = []
        self.efforts: list[Effort] = []
        monkeypatch.setattr(command, "measure", self._measure)

    def _measure(self, client: HttpClient, effort: Effort, say: Any, chance: random.Random) -> Calibration:
        say("short prompts, 1 of 3")
        self.models.append(client._server.model)
        self.efforts.append(effort)
        return self.found

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self._monkeypatch.setattr("sys.argv", ["stoker", "calibrate", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = self._capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err


@pytest.fixture
def stoker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    monkeypatch.chdir(tmp_path)
    return Typed(monkeypatch, capsys)


@pytest.fixture
def server() -> Iterator[FakeEngine]:
    def behave(exchange: Exchange) -> None:
        exchange.answer(b'{"data": [{"id": "listed"}]}')

    with engines(behave) as [engine]:
        yield engine


def runs(monkeypatch: pytest.MonkeyPatch, folder: Path, *replicas: dict[str, Any], config: str = CONFIG) -> None:
    """A stack whose controller sees these replicas."""
    (folder / ".stoker").mkdir()
    (folder / ".stoker/stoker.yaml").write_text(config)
    (folder / ".stoker/api.token").write_text("a token\n")
    monkeypatch.setattr(api_client, "look", lambda settings, token: Seen((), replicas))


def replica(name: str, address: str | None, **change: Any) -> dict[str, Any]:
    return {"replica": name, "pool": "small", "state": "ready", "address": address, "in_flight": 0, **change}


def test_it_prints_each_figure_with_its_spread(stoker: Typed, server: FakeEngine) -> None:
    code, out, err = stoker("--url", f"http://{server.address}/v1")

    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert (code, stoker.models) == (0, ["listed"])
    assert lines == [
        f"listed at http://{server.address}/v1",
        "measured median from to times",
        "prefill, tokens/s 1,234 1,200 1,300 3",
        "decode of one answer alone, tokens/s 40 25 50 3",
        "decode of 8 answers at once, tokens/s each 20 10 20 3",
        "decode while a prompt is read, % of alone 40 30 50 2",
        "slots: 8, but perhaps more: all streams ran at once; give a higher --streams to find out",
        "KV cache: 200,000 tokens are assumed; it cannot be measured from outside",
        "Written to engine.json. To use it: stoker simulate --engine engine.json --trace ...",
    ]
    assert "measuring listed at" in err


def test_what_it_writes_can_be_simulated_with(stoker: Typed, server: FakeEngine, tmp_path: Path) -> None:
    code, out, _ = stoker(
        *("--url", str(server.address), "--model", "mine", "--output", "mine.json", "--streams", "4", "--json")
    )

    assert (code, stoker.models) == (0, ["mine"])
    assert (stoker.efforts[0].streams, stoker.efforts[0].slots, stoker.efforts[0].limit_s) == (4, None, 300.0)
    assert load_model(tmp_path / "mine.json") == FOUND.model
    found = json.loads(out)
    assert (found["engine"]["slots"], found["measured"]["decode_step_s"]["median"]) == (8, 0.025)
    assert (found["output"], found["model"]) == ("mine.json", "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]


def test_without_an_address_the_idlest_ready_replica_is_measured(
    stoker: Typed, server: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, starting = replica("small-1", "127.0.0.1:1", in_flight=2), replica("small-2", "127.0.0.1:1", state="starting")
    other = replica("other-1", "127.0.0.1:1", pool="other")
    runs(monkeypatch, tmp_path, busy, starting, other, replica("small-3", str(server.address)))

    code, out, _ = stoker()

    assert (code, out.splitlines()[0]) == (0, f"listed at http://{server.address}/v1")
    effort = stoker.efforts[0]
    assert (effort.slots, effort.long_words, effort.short_words) == (3, 128, 16)


def test_other_load_is_told(stoker: Typed, server: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, tmp_path, replica("small-1", str(server.address), in_flight=2))

    assert "small-1 has 2 in flight: with other load the figures come out too low" in stoker()[2]


def test_what_could_not_be_measured_is_said(stoker: Typed, server: FakeEngine) -> None:
    model = EngineModel(slots=3)
    stoker.found = Calibration(model, *[Spread(1.0, 1.0, 1.0, 1)] * 2, 2, Spread(1.0, 1.0, 1.0, 1), None, False)

    out = stoker("--url", str(server.address))[1]

    assert "slots: 3\n" in out
    assert "decode while a prompt is read could not be measured; 25 % of alone is assumed" in out


def test_trouble_is_a_sentence_and_leaves_no_file(stoker: Typed, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    cases = {
        (): f"nothing runs with the state directory {tmp_path}/.stoker; `stoker up` starts it, or give --url",
        ("--url", f"http://127.0.0.1:{port}/v1"): f"http://127.0.0.1:{port} gives no whole answer: ",
        ("--url", "ftp://here"): "'ftp://here' is no address of a server; give one such as",
        ("--url", "http://x", "--limit", "3"): "--limit: '3' is no duration; write a number with its unit",
        ("--url", "http://x", "--streams", "1"): "streams is 1; give 2 to 256",
        ("--url", "http://x", "--output", "no/engine.json"): "no/engine.json cannot be written: No such file",
    }
    for arguments, said in cases.items():
        code, out, err = stoker(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith(f"stoker: {said}")
        assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no replica of small is ready; `stoker status` says why"),
        (["--pool", "foo"], "the stack has no pool 'foo'; it has small"),
    ],
)
def test_a_stack_that_has_nothing_to_measure(
    stoker: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    runs(monkeypatch, tmp_path, replica("small-1", None))

    code, _, err = stoker(*arguments)

    assert (code, err) == (2, f"stoker: {said}\n")


def test_a_stack_with_several_pools(stoker: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, tmp_path, config=CONFIG + CONFIG.removeprefix("pools:\n").replace("small", "other"))

    assert stoker()[2] == "stoker: the stack has several pools; choose one with --pool: small, other\n"


def test_a_controller_that_does_not_answer(stoker: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, tmp_path)
    monkeypatch.setattr(api_client, "look", lambda settings, token: None)

    assert stoker()[2] == (
        "stoker: the controller does not answer at http://127.0.0.1:8000; is it running? Or give --url\n"
    )
