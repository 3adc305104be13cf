"""`stoker simulate` as it is typed: what it prints, what it writes, and how it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from controller import cli
from controller.stack import simulate as command

CONFIG = """pools:
  - name: small
    model: small
    checkpoint: small.gguf
    replicas: {floor: 1, ceiling: 3}
    scaling: {target_in_flight: 2}
"""
SECOND = CONFIG.replace("pools:\n", "").replace("small", "other")
SHADOW = "    mode: shadow\n    shadow: {target_in_flight: 1}\n"
SYNTHETIC = "synthetic:flat?hours=0.02&rps=3&seed=1"
HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


class Typed:
    """Runs the command as the shell does, without a process of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self._monkeypatch.setattr("sys.argv", ["stoker", "simulate", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = self._capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    def json(self, *arguments: str) -> dict[str, Any]:
        code, out, err = self(*arguments, "--json")
        assert (code, err) == (0, "")
        found: dict[str, Any] = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))
        return found

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text, encoding="utf-8")
        return name


@pytest.fixture
def stoker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    monkeypatch.chdir(tmp_path)
    typed = Typed(tmp_path, monkeypatch, capsys)
    typed.write("stoker.yaml", CONFIG)
    return typed


def test_one_object_with_everything(stoker: Typed) -> None:
    found = stoker.json("--trace", SYNTHETIC, "--compare", "static,hpa", "--cold-start", "5s")

    assert set(found) == {
        "trace", "pool", "setup", "notes", "results", "decisions", "decisions_count", "verdict", "changed"
    }  # fmt: skip
    assert found["trace"]["requests"] == found["results"][0]["requests"] > 100
    assert (found["pool"], found["setup"]["policy"]["ceiling"], found["setup"]["cold_start_s"]) == ("small", 3, 5.0)
    assert [run["scaler"] for run in found["results"]] == ["stoker", "static:3", "hpa"]
    assert {"at_s", "demand_rps", "in_flight", "ready", "desired", "first_token_p95_s", "waiting"} == set(
        found["results"][0]["series"][0]
    )
    assert found["decisions_count"] == len(found["decisions"]) > 0
    assert set(found["decisions"][0]["reasons"][0]) == {"code", "text", "numbers"}
    assert found["verdict"].startswith("Stoker met the SLO for ")
    assert found["changed"] is None


def test_each_option_counts(stoker: Typed) -> None:
    engine = stoker.write("engine.json", '{"slots": 3}')

    setup = stoker.json(
        *("--trace", SYNTHETIC, "--floor", "2", "--ceiling", "5", "--cold-start", "1.5m", "--cold-start-jitter", "0.2"),
        *("--slo-first-token", "500ms", "--slo-duration", "1m", "--price", "0", "--engine", engine),
        *("--mtbf", "2h", "--seed", "7", "--config", "stoker.yaml", "--pool", "small"),
    )["setup"]

    assert (setup["policy"]["floor"], setup["policy"]["ceiling"], setup["engine"]["slots"]) == (2, 5, 3)
    assert (setup["cold_start_s"], setup["cold_start_jitter"], setup["mtbf_s"]) == (90.0, 0.2, 7200.0)
    assert (setup["slo_first_token_s"], setup["slo_duration_s"], setup["price_per_hour"]) == (0.5, 60.0, 0.0)
    assert setup["seed"] == 7


def test_in_words(stoker: Typed) -> None:
    code, out, err = stoker("--trace", SYNTHETIC, "--compare", "static:2", "--why", "--cold-start", "0s")

    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].startswith("synthetic:flat?hours=0.02&rps=3&seed=1&prompt=1000&output=200: ")
    assert "pool small: 1 to 3 replicas, target 2 in flight for each; cold start 0 s" in lines
    assert [line.split()[0] for line in lines if line.startswith(("stoker ", "static:2 "))] == ["stoker", "static:2"]
    assert any(line.startswith("Stoker met the SLO for ") for line in lines)
    assert any(re.fullmatch(r"Stoker changed the count (once|\d+ times):", line) for line in lines)
    assert any(re.match(r" *0:0\d:\d\d +1 -> \d  .*  [A-Z][A-Za-z]+ *$", line) for line in lines)


def test_a_report_is_written_whole(stoker: Typed) -> None:
    code, out, _ = stoker("--trace", SYNTHETIC, "--compare", "static", "--report", "out.html")

    assert (code, out.splitlines()[-1]) == (0, "The report: out.html")
    assert "</html>" in (stoker.folder / "out.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in stoker.folder.iterdir()) == ["out.html", "stoker.yaml"]


def test_a_link_to_the_report_stays_one(stoker: Typed) -> None:
    (stoker.folder / "link.html").symlink_to("real.html")

    assert stoker("--trace", SYNTHETIC, "--report", "link.html")[0] == 0

    assert (stoker.folder / "link.html").is_symlink()
    assert "</html>" in (stoker.folder / "real.html").read_text(encoding="utf-8")


def test_a_run_that_is_broken_off_leaves_the_old_report(stoker: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object) -> None:
        raise KeyboardInterrupt

    stoker.write("out.html", "old")
    monkeypatch.setattr(command, "play", broken)

    code, _, _ = stoker("--trace", SYNTHETIC, "--report", "out.html")

    assert code != 0
    assert (stoker.folder / "out.html").read_text(encoding="utf-8") == "old"
    assert sorted(path.name for path in stoker.folder.iterdir()) == ["out.html", "stoker.yaml"]


def test_a_pool_in_mode_shadow_shows_its_second_policy_too(stoker: Typed) -> None:
    stoker.write("stoker.yaml", CONFIG + SHADOW)

    found = stoker.json("--trace", SYNTHETIC, "--compare", "kpa")

    assert [run["scaler"] for run in found["results"]] == ["stoker", "shadow", "kpa"]


def test_a_changed_policy_is_played_beside_the_configured_one(stoker: Typed) -> None:
    found = stoker.json("--trace", SYNTHETIC, "--set", "replicas.floor=3", "--set", "scaling.latency.threshold=2s")

    assert [run["scaler"] for run in found["results"]] == ["stoker", "changed"]
    assert found["changed"]["versus"]["hours_percent"] > 0
    assert found["changed"]["decisions_count"] == 0
    assert "replicas:\n  floor: 3\nscaling:\n  latency:\n    threshold: 2s\n" in found["changed"]["yaml"]

    code, out, _ = stoker("--trace", SYNTHETIC, "--set", "replicas.floor=3")
    assert code == 0
    assert found["changed"]["versus"]["sentence"] in out
    assert "  floor: 3" in out


def test_the_traffic_of_a_pool_that_runs_is_played(stoker: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(settings: object, path: str, *, token: str, patience_s: float) -> dict[str, Any]:
        asked.append(f"{path} {token}")
        assert patience_s > 7, "as long as Prometheus may take"
        return {"step_s": 60.0, "rates": [2.0, None], "prompt": 300, "output": None}

    monkeypatch.setattr("controller.stack.api_client.ask", ask)
    (stoker.folder / "state").mkdir()
    stoker.write("state/stoker.yaml", CONFIG)
    stoker.write("state/api.token", "secret")

    found = stoker.json("--trace", "history:15m", "--state-dir", "state")
    assert asked == ["/api/v1/simulations/traffic?pool=small&hours=0.25 secret"]
    assert found["trace"]["name"] == "the last 0.25 h of small"
    assert (found["trace"]["duration_s"], found["trace"]["mean_prompt_tokens"]) == (120, 300)


def test_what_the_simulation_cannot_follow_is_said(stoker: Typed) -> None:
    stoker.write("stoker.yaml", CONFIG + "    mode: paused\ncontroller: {tick_interval: 5s, scrape_interval: 500ms}\n")

    assert stoker.json("--trace", SYNTHETIC)["notes"] == [
        "The configuration's tick_interval is 5 s; the simulation has 2 s.",
        "The configuration's scrape_interval is 0.5 s; the simulation has 1 s.",
        "The pool small is paused; it is played as if it were active.",
    ]


def test_a_window_that_is_too_short_for_the_simulation_is_played_longer(stoker: Typed) -> None:
    config = CONFIG.replace("2}\n", "2, scale_up_window: 0.5s}\n") + "controller: {scrape_interval: 500ms}\n"
    stoker.write("stoker.yaml", config)

    assert stoker.json("--trace", SYNTHETIC)["notes"][-1] == (
        "scaling.scale_up_window is 0.5 s; the simulation plays it as 1 s, the time between two of its scrapes."
    )


def test_malformed_lines_are_named_and_counted(stoker: Typed) -> None:
    lines = ["2023-11-16 18:17:03,10,5", *(f"2023-11-16 18:17:04,{count},5" for count in "abcdefg")]
    trace = stoker.write("trace.csv", HEADER + "\n".join(lines))

    code, out, err = stoker("--trace", trace, "--json")

    assert code == 0
    assert err.splitlines()[:2] == [
        "trace.csv: 7 lines make no sense and were left out:",
        "  line 3: ContextTokens 'a' is no count of tokens",
    ]
    assert err.splitlines()[-1] == "  and 2 more"
    facts = json.loads(out)["trace"]
    assert (facts["malformed_count"], facts["malformed"][0]["line"], facts["requests"]) == (7, 3, 1)


REFUSED = [
    pytest.param(["--trace", "no.csv"], "no.csv cannot be read: No such file", id="no such trace"),
    pytest.param(["--trace", "."], ". cannot be read: Is a directory", id="a folder as trace"),
    pytest.param(["--trace", "x" * 300], "cannot be read: File name too long", id="an endless name"),
    pytest.param(["--trace", "empty.csv"], "empty.csv has no request in it", id="empty"),
    pytest.param(["--trace", "junk.csv"], "junk.csv has no usable line: line 2: 1 columns where", id="malformed"),
    pytest.param(["--trace", "back.csv"], "back.csv, line 3: the time goes back by 1 s; sort", id="unsorted"),
    pytest.param(["--trace", "long.csv"], "long.csv goes over 3,506,328 hours; give one of at most", id="endless"),
    pytest.param(["--trace", "synthetic:wave"], "there is no synthetic trace 'wave'; choose among", id="synthetic"),
    pytest.param(["--trace", "history:1h"], "nothing was started with the state directory", id="nothing runs"),
    pytest.param(["--trace", "history:1m"], "--trace history: 0.0166667 h is not between 0.25 and 48", id="too short"),
    pytest.param(["--trace", "history:"], "--trace: '' is no duration", id="no hours"),
    pytest.param(["--compare", "hpa,foo"], "there is no autoscaler 'foo'; choose among", id="unknown autoscaler"),
    pytest.param(["--compare", "static:0"], "'static:0' names no number of replicas; write static:N", id="static:0"),
    pytest.param(["--pool", "foo"], "stoker.yaml has no pool 'foo'; it has small", id="unknown pool"),
    pytest.param(
        ["--config", "two.yaml"], "two.yaml has several pools; choose one with --pool: small, other", id="two"
    ),
    pytest.param(["--price", "-1"], "--price is -1; it must be a number, at least 0", id="price"),
    pytest.param(["--price", "nan"], "--price is nan; it must be a number, at least 0", id="price nan"),
    pytest.param(["--cold-start", "300s"], "--cold-start takes up to 300 s; it must be below the pool's", id="cold"),
    pytest.param(["--cold-start", "60"], "--cold-start: '60' is no duration; write a number with", id="no unit"),
    pytest.param(["--cold-start", "9" * 20 + "h"], "is longer than a year; write a shorter duration", id="aeons"),
    pytest.param(["--cold-start-jitter", "1"], "--cold-start-jitter is 1; it must be at least 0", id="jitter"),
    pytest.param(["--slo-first-token", "0s"], "--slo-first-token: a duration must be above 0", id="no time"),
    pytest.param(["--mtbf", "10ms"], "--mtbf is below 1s; give at least that", id="mtbf"),
    pytest.param(["--set", "scaling.tolerance"], "is no KEY=VALUE of a pool's replicas or scaling", id="no value"),
    pytest.param(["--set", "health.failures=1"], "is no KEY=VALUE of a pool's replicas or scaling", id="elsewhere"),
    pytest.param(["--set", "scaling.tolerence=1"], "scaling.tolerence: Extra inputs are not permitted", id="no key"),
    pytest.param(["--set", "scaling.tolerance=2"], "scaling.tolerance: Input should be less than 1", id="no share"),
    pytest.param(["--set", "scaling.surge={"], "'{' is no value of YAML", id="no YAML"),
    pytest.param(["--set", "replicas.floor=9"], "replicas: floor 9 is above ceiling 3; make the floor", id="bounds"),
    pytest.param(["--set", "scaling.rate_up=1", "--set", "scaling.rate_up.per=1s"], "is given twice", id="twice"),
    pytest.param(["--floor", "9"], "floor 9 is above ceiling 3; make the floor at most", id="floor"),
    pytest.param(["--engine", "junk.csv"], "junk.csv is no engine model; it must be a JSON", id="no engine"),
    pytest.param(["--report", "no/out.html"], "no/out.html cannot be written: No such file", id="nowhere to write"),
    pytest.param(["--report", "."], ". cannot be written: it is no ordinary file", id="a folder to write"),
    pytest.param(["--report", "back.csv", "--trace", "back.csv"], "back.csv is read by this very command", id="same"),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(stoker: Typed, arguments: list[str], said: str) -> None:
    stoker.write("empty.csv", "")
    stoker.write("junk.csv", HEADER + "nothing\n")
    stoker.write("back.csv", HEADER + "2023-11-16 18:17:03,1,1\n2023-11-16 18:17:02,1,1\n")
    stoker.write("long.csv", HEADER + "1623-11-16 18:17:03,1,1\n2023-11-16 18:17:03,1,1\n")
    stoker.write("two.yaml", CONFIG + SECOND)
    before = {path.name: path.read_text() for path in stoker.folder.iterdir()}

    trace = [] if "--trace" in arguments else ["--trace", SYNTHETIC]
    code, out, err = stoker(*trace, *arguments)

    assert (code, out) == (2, "")
    assert err.startswith("stoker: ")
    assert said in err
    assert len(err.splitlines()) == 1
    assert {path.name: path.read_text() for path in stoker.folder.iterdir()} == before


@pytest.mark.parametrize(
    ("config", "said"),
    [
        pytest.param(None, "stoker.yaml: cannot be read (No such file or directory)", id="missing"),
        pytest.param(CONFIG.replace("ceiling", "roof"), "unknown key `pools.0.replicas.roof`", id="unknown key"),
    ],
)
def test_a_refused_configuration_is_78(stoker: Typed, config: str | None, said: str) -> None:
    if config is None:
        (stoker.folder / "stoker.yaml").unlink()
    else:
        stoker.write("stoker.yaml", config)

    code, out, err = stoker("--trace", SYNTHETIC)

    assert (code, out) == (78, "")
    assert said in err


def test_without_a_trace(stoker: Typed) -> None:
    code, out, err = stoker()

    assert (code, out) == (2, "")
    assert "--trace" in err
