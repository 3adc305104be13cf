"""What a Grafana would ask, asked here: every query of every board, of the Prometheus of a stack that runs.

What only is there after something happened is made to happen: refusals, kept answers, a changed size, a drain, a
target that is gone, an XID. GPUs are those of the NVML stub; an engine on them is a page of this test.
"""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from controller.installation import Layout, replace_text
from tests.e2e import promql
from tests.e2e.counted import ask, question
from tests.e2e.stack import Stack, environment, free_ports, write_steady_config
from tests.e2e.vllm_page import served
from tests.nvml.exporter import RunningExporter
from tests.nvml.library import World
from tests.unit.dashboards.boards import JSON, asked_values, boards, panels, variables
from tests.waiting import wait_for

pytestmark = pytest.mark.e2e

WAIT_S, SHOWN_S = 90.0, 150.0
POOL, NODE = "smollm2", "gpu-1"
BOARDS = boards()
FIXED = {"$__rate_interval": "1m", "$__range": "5m"}


@pytest.fixture(scope="module")
def gpus() -> Iterator[World]:
    """Two of them."""
    with tempfile.TemporaryDirectory(prefix="st-") as folder:
        yield World.of(Path(folder), 2)


@pytest.fixture(scope="module")
def stack(gpus: World) -> Iterator[Stack]:
    """One replica, keys, and more for Prometheus to scrape."""
    folder = Path(tempfile.mkdtemp(prefix="st-"))
    config = write_steady_config(folder, 1, "plans: [{name: gold}]")
    config.write_text(config.read_text().replace("    rollout:", '    "gateway": {access: keys}\n    rollout:'))
    made = Stack(config, folder / "state", environment(None))
    went = made.up("--runtime", "process")
    assert went.returncode == 0, went.stdout + went.stderr
    with RunningExporter(folder, gpus) as exporter, served() as engine:
        scrape_too(made, {"gpu": exporter.port, "engine": engine})
        yield made
    made.stoker("down")
    shutil.rmtree(folder)


def scrape_too(stack: Stack, ports: dict[str, int]) -> None:
    """Add these to the stack's prometheus.yml, and one where nobody is, all of one replica on GPUs."""
    file = Layout(stack.state_dir).prometheus / "prometheus.yml"
    document = yaml.safe_load(file.read_text())
    (gone,) = free_ports(1)
    for name, port in {**ports, "gone": gone}.items():
        labels = {"node": NODE, "pool": POOL, "replica": f"{POOL}-{name}" if name == "gone" else f"{POOL}-on-gpus"}
        targets = [{"targets": [f"127.0.0.1:{port}"], "labels": labels}]
        document["scrape_configs"].append({"job_name": f"{name}-of-the-test", "static_configs": targets})
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    stack.process("prometheus --config.file").send_signal(signal.SIGHUP)
    up = f'up{{job="gpu-of-the-test", node="{NODE}"}}'
    wait_for(lambda: promql.now(stack, up).get("") == 1, WAIT_S, "the GPUs in Prometheus")


@pytest.fixture(scope="module")
def busy(stack: Stack, gpus: World) -> Iterator[Stack]:
    """The stack while somebody asks it all kinds of things, and after all kinds of events."""
    key = json.loads(stack.stoker("keys", "create", "reader", "--plan", "gold", "--json").stdout)["key"]
    wait_for(lambda: ask(stack, question("Hello"), key).status == 200, WAIT_S, "nginx knows the key")
    ended = threading.Event()

    def load() -> None:
        for number in itertools.count():
            if ended.is_set():
                return
            ask(stack, question(f"Tell me about {number}.", stream=number % 2 == 0), key)
            for _ in range(2):
                ask(stack, question(f"Is {number} a prime?", seed=1), key)
            ask(stack, question("Hello"), "sk-wrong")

    client = threading.Thread(target=load)
    client.start()
    try:
        make_events(stack)
        gpus.xid(0, 31)
        yield stack
    finally:
        ended.set()
        client.join()


def make_events(stack: Stack) -> None:
    """The pool grows by an order of a person, and one of its replicas is drained."""
    text = stack.config.read_text()
    replace_text(stack.config, text.replace("floor: 1, ceiling: 1", "floor: 2, ceiling: 2"))  # the load reads it, too
    went = stack.stoker("apply", "--config", str(stack.config))
    assert went.returncode == 0, went.stderr
    ready = wait_for(lambda: found if len(found := stack.ready()) == 2 else None, WAIT_S, "two replicas")
    drained = stack.stoker("drain", ready[0])
    assert drained.returncode == 0, drained.stderr
    wait_for(lambda: ready[0] not in [one["replica"] for one in stack.replicas()], WAIT_S, "its end")


def resolve(stack: Stack, board: JSON) -> dict[str, str]:
    """What Grafana puts in for each variable of the board, with all of them chosen."""
    known = dict(FIXED)
    for name, variable in variables(board).items():
        if variable["type"] == "textbox":
            known[f"${name}"] = variable["query"]
        elif variable["type"] == "query":
            asked = fill(asked_values(board)[name], known)
            values = wait_for(partial(label_values, stack, asked), WAIT_S, asked)
            known[f"${name}"] = variable.get("allValue") or f"({'|'.join(values)})"
    return known


def label_values(stack: Stack, query: str) -> list[str]:
    """As Grafana's `label_values(SERIES, LABEL)`."""
    assert query.startswith("label_values(")
    series, label = query.removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
    found: list[str] = promql.get(stack, f"label/{label}/values", {"match[]": series})
    return [value for value in found if value]


def fill(text: str, known: dict[str, str]) -> str:
    """With the variables' values."""
    for name in sorted(known, key=len, reverse=True):
        text = text.replace(name, known[name])
    assert "$" not in text, text
    return text


def answers(stack: Stack, board: JSON, known: dict[str, str]) -> dict[str, bool]:
    """Whether there is anything to show, by panel and query. Raises `promql.Refused` where one is wrong."""
    shown = {}
    for panel in panels(board):
        for target in panel.get("targets", ()):
            expr = fill(target["expr"], known)
            some = promql.now(stack, expr) if target.get("instant") else promql.lately(stack, expr)
            shown[f"{panel['title']} {target['refId']}: {expr}"] = bool(some)
    for annotation in board["annotations"]["list"]:
        expr = fill(annotation["expr"], known)
        marks = promql.lately(stack, expr, seconds=1200, step="10s")
        shown[f"{annotation['name']}: {expr}"] = any(value != 0 for values in marks for value in values)
    return shown


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
def test_every_query_has_an_answer(busy: Stack, board: JSON) -> None:
    known = resolve(busy, board)
    empty: list[str] = []

    def all_shown() -> bool:
        empty[:] = [where for where, some in answers(busy, board, known).items() if not some]
        return not empty

    try:
        wait_for(all_shown, SHOWN_S, "answers")
    except AssertionError:
        pytest.fail("nothing to show:\n" + "\n".join(empty))


def test_the_variables_name_what_there_is(busy: Stack) -> None:
    known = {uid: resolve(busy, board) for uid, board in BOARDS.items()}

    assert (known["stoker-pool"]["$model"], known["stoker-pool"]["$pool"]) == (f"({POOL})", f"({POOL})")
    assert known["stoker-node"]["$node"] == known["stoker-gateway"]["$plan"] == ".*"
    asked = asked_values(BOARDS["stoker-node"])
    assert set(label_values(busy, asked["node"])) == {NODE, "local"}
    assert label_values(busy, fill(asked["gpu"], known["stoker-node"])) == ["0", "1"]
    assert "gold" in label_values(busy, asked_values(BOARDS["stoker-gateway"])["plan"])
