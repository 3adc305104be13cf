"""What `make soak` makes of what it saw."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.bench.failover.figures import Request
from tests.soak import figures, table
from tests.soak.bag import Bag
from tests.soak.figures import Bad, Check, Done, Look, Report, Strength
from tests.soak.stack import ready, whole

KILL, NGINX = Done("kill", 10, 10, "smollm2-1"), Done("kill-nginx", 30, 32)
REPORT = Report(
    about={"command": "make soak", "faults": "one every 10 s, seed 7"},
    seconds=600,
    requests=3000,
    mean_s=1,
    p95_s=2,
    p99_s=3,
    worst_s=4,
    strength=Strength(590, 59, 4, 10),
    reloads=30,
    replicas_started=20,
    postponed=2,
    faults=[KILL, NGINX, Done("oom", 40, 41, "smollm2-2", "no container of smollm2-2 runs")],
    bad=[
        Bad(30.5, 0.1, "ClientConnectorError", cut=False, near=["kill-nginx"], nginx=True),
        Bad(12, 0.4, "HTTP 502", cut=False, near=["kill"], nginx=False),
        Bad(12, 3, "ClientPayloadError", cut=True, near=["kill"], nginx=False),
    ],
    checks=[Check("no fuse is blown", True, "never"), Check("no name is started twice", False, "smollm2-4")],
    excused=["decision 7 has no outcome"],
)


def near(request: Request, *faults: Done) -> tuple[list[str], bool]:
    (found,) = figures.bad([request], faults, began=0)
    return found.near, found.nginx


def test_a_failure_is_laid_to_the_faults_of_the_ten_seconds_before_it() -> None:
    assert near(Request(18, None, 20, "HTTP 502"), KILL, NGINX) == (["kill"], False)
    assert near(Request(18, None, 20.1, "HTTP 502"), KILL, NGINX) == ([], False)
    assert near(Request(9, None, 9.9, "HTTP 502"), KILL) == ([], False)
    assert near(Request(9, None, 11, "HTTP 502"), replace(KILL, refused="gone")) == ([], False)


def test_a_wedged_replica_is_a_cause_until_it_is_gone() -> None:
    wedge = Done("wedge", 10, 10, "smollm2-1")

    assert near(Request(9, None, 24, "HTTP 502"), wedge) == ([], False)
    assert near(Request(9, None, 24, "HTTP 502"), replace(wedge, gone=23)) == (["wedge"], False)


def test_only_a_request_that_began_before_the_next_nginx_served_falls_into_its_death() -> None:
    assert near(Request(31, None, 31.1, "ClientConnectorError"), NGINX) == (["kill-nginx"], True)
    assert near(Request(20, 21, 30.2, "ClientPayloadError"), NGINX) == (["kill-nginx"], True)
    assert near(Request(33, None, 33.1, "HTTP 502"), NGINX) == (["kill-nginx"], False)


def test_a_request_is_cut_once_a_byte_came() -> None:
    failed, cut = figures.bad([Request(1, 2, 4, "cut off"), Request(1, None, 3, "HTTP 502")], [], began=1)

    assert (failed.cut, failed.at_s, failed.took_s) == (False, 2, 2)
    assert cut.cut


def test_the_latency_leaves_out_what_was_refused_at_once() -> None:
    seen = [Request(0, 0.5, second) for second in range(1, 101)] + [Request(0, None, 0.01, "HTTP 502")]

    assert figures.latency(seen) == figures.Latency(50.5, 95, 99, 100)
    with pytest.raises(ValueError, match="no request was answered"):
        figures.latency([Request(0, None, 0.01, "HTTP 502")])


def test_the_time_below_the_floor_and_the_time_of_which_nobody_knows() -> None:
    looks = [Look(0, 3), Look(1, 2), Look(2, 1), Look(3, 3), Look(4, None), Look(6, 2), Look(6.5, 3), Look(10, 3)]

    found = figures.strength(looks, 3)

    assert found == Strength(known_s=8, below_s=2.5, longest_s=2, unknown_s=2)
    assert found.share == pytest.approx(2.5 / 8)
    assert figures.strength([], 3).share == 0


def test_faults_are_counted_without_those_that_could_not_be_done() -> None:
    assert figures.by_kind(REPORT.faults) == {"kill": 1, "kill-nginx": 1}
    assert table.refusals(REPORT) == ["oom smollm2-2: no container of smollm2-2 runs"]


def test_a_report_goes_through_json() -> None:
    assert Report.of(json.loads(json.dumps(REPORT.as_json()))) == REPORT


def test_failures_outside_the_deaths_of_nginx_are_told_apart() -> None:
    told = dict(table.rows(REPORT))

    assert told["failed before the first byte"] == "1, and 1 while nginx itself was down"
    assert told["cut answers"] == "1, and 0 while nginx itself was down"
    assert [row[0] for row in table.bad_rows(REPORT)] == ["failed", "cut", "failed while nginx was down"]


def test_the_page_has_every_figure_and_what_is_broken() -> None:
    page = table.markdown(REPORT)

    assert "| below three ready | 10.0% of the time, 4.0 s at most |" in page
    assert "| failed | HTTP 502 | kill | 1 |" in page
    assert "| no name is started twice | **broken** | smollm2-4 |" in page
    assert page.endswith("- decision 7 has no outcome\n")
    assert len(list(table.terminal(REPORT))) == 3
    assert "requests that did not end well" not in table.markdown(replace(REPORT, bad=[]))


def test_every_kind_comes_once_before_any_comes_again() -> None:
    kinds = [f"kind-{number}" for number in range(9)]
    bag, same = Bag(kinds, seed=7), Bag(kinds, seed=7)
    drawn = [bag.next() for _ in range(18)]

    assert sorted(drawn[:9]) == sorted(drawn[9:]) == kinds
    assert drawn == [same.next() for _ in range(18)]
    assert drawn != [other.next() for other in [Bag(kinds, seed=8)] for _ in range(18)]
    assert bag.victim(["b", "a"]) in {"a", "b"}


def row(name: str, state: str, *, routed: bool = True) -> dict[str, object]:
    return {"replica": name, "state": state, "routed": routed}


def test_a_pool_is_whole_with_as_many_as_wanted_and_none_in_trouble() -> None:
    pools, two = [{"desired": 2}], [row("a", "ready"), row("b", "suspect")]

    assert whole(pools, two)
    assert whole(pools, [*two, row("c", "draining", routed=False)])
    assert not whole(pools, [*two, row("c", "starting", routed=False)])
    assert not whole(pools, [row("a", "ready"), row("b", "ready", routed=False)])
    assert not whole([], two)
    assert ready([*two, row("c", "ready", routed=False)]) == ["a"]
