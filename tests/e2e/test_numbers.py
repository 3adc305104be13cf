"""Boards are worth what their numbers are: Prometheus's are held against those that clients counted."""

from __future__ import annotations

import bisect
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from exporters.edge.sums import BOUNDS
from tests.e2e import promql
from tests.e2e.counted import Counted, ask, ask_all, question
from tests.e2e.stack import Stack, environment, write_steady_config
from tests.waiting import wait_for

pytestmark = pytest.mark.e2e

WAIT_S = 60.0
MORE = """\
plans: [{name: gold}]
gateway: {queue_timeout: 1s}
"""
ROOM = 2  # requests at once; more wait for a second, and are refused
JITTER_S = 0.01  # nginx reads its clock once for all that it does in a row
REFUSED = {"no_key": 3, "bad_key": 2, "model_unknown": 2, "body": 1}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """One replica that computes two requests at once."""
    folder = Path(tempfile.mkdtemp(prefix="st-"))
    config = write_steady_config(folder, 1, MORE)
    gateway = f"{{access: keys, max_in_flight: {ROOM}}}"
    config.write_text(config.read_text().replace("    rollout:", f'    "gateway": {gateway}\n    rollout:'))
    made = Stack(config, folder / "state", environment(None))
    went = made.up("--runtime", "process")
    assert went.returncode == 0, went.stdout + went.stderr
    yield made
    made.stoker("down")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """A key that nginx knows."""
    went = stack.stoker("keys", "create", "counter", "--plan", "gold", "--json")
    assert went.returncode == 0, went.stderr
    made: str = json.loads(went.stdout)["key"]
    return made


@pytest.fixture(scope="module")
def counted(stack: Stack, key: str) -> Counted:
    """A load of which everything is known: streams and whole answers, kept ones, and refused ones of each kind.

    Nothing else asks this stack. The first requests may come before nginx knows the key, and count, too.
    """
    all_of_them = Counted()

    def known() -> bool:
        all_of_them.asked.append(ask(stack, question("Are you there?"), key))
        return all_of_them.asked[-1].status == 200

    wait_for(known, WAIT_S, "nginx knows the key")
    several: list[dict[str, Any]] = []
    for number in range(12):
        text = f"Tell me about the number {number}."
        several += [question(text, stream=True, max_tokens=4 + number), question(text, max_tokens=4 + 2 * number)]
    all_of_them.asked += ask_all(stack, several, key, at_once=ROOM).asked
    same = [question("What is a lighthouse?", seed=7)] * 3
    all_of_them.asked += ask_all(stack, same, key, at_once=1).asked
    return all_of_them


@pytest.fixture(scope="module")
def refused(stack: Stack, key: str, counted: Counted) -> Counted:
    """What comes after it: refused, and more than there is room for."""
    body = question("Hello")
    found = Counted([ask(stack, body, None) for _ in range(REFUSED["no_key"])])
    found.asked += [ask(stack, body, "sk-wrong") for _ in range(REFUSED["bad_key"])]
    found.asked += [ask(stack, {**body, "model": "nobody"}, key) for _ in range(REFUSED["model_unknown"])]
    found.asked += [ask(stack, b"{", key) for _ in range(REFUSED["body"])]
    long = [
        question(f"Write a long story about {number}.", max_tokens=200, stream=number % 2 == 0) for number in range(8)
    ]
    found.asked += ask_all(stack, long, key, at_once=len(long)).asked
    return found


def told(stack: Stack, query: str, label: str, wanted: dict[str, float]) -> dict[str, float]:
    """What Prometheus says of it, waiting until it says what is wanted or gives up."""
    found: dict[str, float] = {}

    def equal() -> bool:
        found.clear()
        found.update({name: value for name, value in promql.now(stack, query, label).items() if value})
        return found == wanted

    try:
        wait_for(equal, WAIT_S, query)
    except AssertionError:
        return found
    return found


def quantile(values: Sequence[float], share: float) -> float:
    """That of a few values, the next greater one."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def bucket(value: float) -> tuple[float, float]:
    """The bounds of the bucket that it falls into."""
    place = bisect.bisect_left(BOUNDS, value)
    return (BOUNDS[place - 1] if place else 0.0), BOUNDS[min(place, len(BOUNDS) - 1)]


def test_answers_kept_ones_and_streams_are_all_there(counted: Counted) -> None:
    assert sum(one.kept for one in counted.asked) == 2
    assert len(counted.answered()) == 1 + 24 + 3
    assert all(one.tokens_out > 0 for one in counted.answered())


@pytest.mark.parametrize(
    ("measure", "seconds"), [("request_duration", "duration_s"), ("time_to_first_byte", "first_byte_s")]
)
def test_latencies_are_those_that_clients_saw(stack: Stack, counted: Counted, measure: str, seconds: str) -> None:
    """A quantile within its bucket's width; and none of the gateway's times is longer than its client's."""
    name = f"stoker_edge_pool_{measure}_seconds"
    asked = [one for one in counted.answered() if not one.kept or measure == "request_duration"]
    waited = [getattr(one, seconds) for one in asked]
    assert told(stack, f"sum by (pool) ({name}_count)", "pool", {"smollm2": len(waited)}) == {"smollm2": len(waited)}

    by_bound = promql.now(stack, f"sum by (le) ({name}_bucket)", "le")
    for bound, count in by_bound.items():
        assert sum(value <= float(bound) - JITTER_S for value in waited) <= count, f"{name} up to {bound}"
    for share in (0.5, 0.9, 0.99):
        query = f"histogram_quantile({share}, sum by (pool, le) ({name}_bucket))"
        (said,) = promql.now(stack, query, "pool").values()
        seen = quantile(waited, share)
        widths = [high - low for low, high in (bucket(said), bucket(seen))]
        assert abs(said - seen) <= sum(widths), f"{measure} {share}: Prometheus {said:.3f} s, clients {seen:.3f} s"


def test_tokens_are_exact(stack: Stack, counted: Counted, refused: Counted) -> None:
    wanted = Counted([*counted.asked, *refused.asked]).tokens()

    assert told(stack, "sum by (direction) (stoker_edge_tokens_total)", "direction", wanted) == wanted


def test_requests_are_exact_by_status(stack: Stack, counted: Counted, refused: Counted) -> None:
    wanted = Counted([*counted.asked, *refused.asked]).statuses()

    assert set(wanted) == {"200", "400", "401", "404", "503"}
    assert told(stack, "sum by (code) (stoker_edge_requests_total)", "code", wanted) == wanted
    by_class = {f"{code[0]}xx": 0 for code in wanted}
    for code, count in wanted.items():
        by_class[f"{code[0]}xx"] += count
    assert told(stack, "sum by (code_class) (stoker_edge_key_requests_total)", "code_class", by_class) == by_class


def test_refusals_are_exact_by_cause(stack: Stack, counted: Counted, refused: Counted) -> None:
    early = sum(one.status == 401 for one in counted.asked)  # while nginx did not know the key
    wanted = {**REFUSED, "bad_key": REFUSED["bad_key"] + early, "full": refused.statuses()["503"]}

    assert told(stack, "sum by (cause) (stoker_edge_refusals_total)", "cause", wanted) == wanted


def test_kept_answers_are_exact_by_result(stack: Stack, counted: Counted, refused: Counted) -> None:
    assert told(stack, 'sum by (layer) (stoker_edge_cache_requests_total{result="hit"})', "layer", {"nginx": 2}) == {
        "nginx": 2
    }


def test_no_line_of_the_log_was_lost(stack: Stack, counted: Counted, refused: Counted) -> None:
    wanted = len(counted.asked) + len(refused.asked)

    assert told(stack, "sum(stoker_edge_log_lines_total)", "", {"": wanted}) == {"": wanted}
    for kind in ("lost", "malformed"):
        assert promql.now(stack, f"sum(stoker_edge_log_lines_{kind}_total)") == {"": 0}
