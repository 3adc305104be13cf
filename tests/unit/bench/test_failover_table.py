"""What `make bench-failover` makes of what it saw."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from tests.bench.failover import figures, table
from tests.bench.failover.figures import Line, Report, Request, Trial
from tests.bench.failover.nginx import configuration
from tests.bench.failover.side import Place
from tests.bench.failover.strength import Watch

TRIAL = Trial("stoker", "kill", requests=100, failed=0, cut=1, full_s=4.0, p95_s=1.5, worst_s=2.0)
LINE = Line("swarm", "kill", 3, 100, 4, 1, 8.0, 0, 1.5, 2.0, 0)
BASE = replace(LINE, side="stoker", failed=2, full_s=4.0)
NEVER = math.inf
A, B, C = (Place(name, f"{name}:8000", f"{name}:9000") for name in "abc")


def test_a_trial_has_what_was_under_way_at_the_fault_and_what_began_in_its_window() -> None:
    before, across = Request(0, 1, 9.9), Request(9, 9.5, 10.5)
    within, late = Request(69.9, 70, 80), Request(70, 71, 72)

    assert figures.concerned([before, across, within, late], fault_at=10, until=70) == [across, within]


def test_a_request_failed_without_a_byte_and_was_cut_after_one() -> None:
    seen = [
        Request(0, 0.5, 1),
        Request(0, None, 20, figures.TIMED_OUT),
        Request(0, None, 0.1, "HTTP 502"),
        Request(0, None, 0.1, "HTTP 502"),
        Request(0, 0.5, 3, "ClientPayloadError"),
    ]

    trial = figures.fold("nginx", "kill", seen, 4.5, 1)

    assert (trial.requests, trial.failed, trial.cut, trial.full_s, trial.others_lost) == (5, 3, 1, 4.5, 1)
    assert (trial.worst_s, trial.p95_s) == (20, 20)
    assert trial.errors == {"HTTP 502": 2, figures.TIMED_OUT: 1, "ClientPayloadError": 1}


def test_a_refusal_is_not_taken_for_a_fast_answer() -> None:
    refused = [Request(0, None, 0.1, "HTTP 502")] * 40

    assert figures.fold("swarm", "kill", [*refused, Request(0, 1, 3.0)], None, 0).p95_s == 3.0
    assert figures.fold("swarm", "kill", refused, None, 0).p95_s == 0.1


def test_the_95th_percentile_leaves_out_the_slowest_twentieth() -> None:
    seen = [Request(0, 1, float(took)) for took in range(1, 101)]

    assert figures.fold("nginx", "kill", seen, None, 0).p95_s == 95


def test_without_requests_nothing_was_measured() -> None:
    with pytest.raises(ValueError, match="no request of the load fell into the window after kill on nginx"):
        figures.fold("nginx", "kill", [], 4.5, 0)


def test_lines_have_medians_by_fault_and_side() -> None:
    peer = replace(TRIAL, side="swarm", failed=3)
    frozen = replace(TRIAL, fault="freeze", full_s=None, worst_s=19.0)
    healed = replace(frozen, full_s=30.0, worst_s=5.0)

    kill, kill_peer, freeze = figures.lines([TRIAL, frozen, frozen, healed, peer, replace(peer, failed=7)])

    assert (kill.side, kill.fault, kill.trials, kill.failed) == ("stoker", "kill", 1, 0)
    assert (kill_peer.side, kill_peer.failed) == ("swarm", 5)
    assert (freeze.fault, freeze.full_s, freeze.never, freeze.worst_s) == ("freeze", NEVER, 2, 19.0)


@pytest.mark.parametrize(
    ("failed", "stokers", "said"),
    [(4, 2, "2.0"), (0, 2, "0.0"), (4, 0, "4 : 0"), (0, 0, "both 0")],
)
def test_failed_ratios_never_divide_by_zero(failed: float, stokers: float, said: str) -> None:
    assert figures.failed_ratio(replace(LINE, failed=failed), replace(BASE, failed=stokers)) == said


@pytest.mark.parametrize(
    ("full_s", "stokers", "said"),
    [(8.0, 4.0, "2.00"), (2.0, 4.0, "0.50"), (NEVER, 4.0, "> 15.0"), (6.0, NEVER, "< 0.10"), (NEVER, NEVER, "neither")],
)
def test_time_ratios_know_of_never(full_s: float, stokers: float, said: str) -> None:
    assert figures.time_ratio(replace(LINE, full_s=full_s), replace(BASE, full_s=stokers), 60) == said


def test_where_stoker_loses_is_said_first() -> None:
    slow = replace(BASE, full_s=NEVER)

    assert figures.remarks([slow, LINE], 60) == [
        "kill: Stoker was slower at full strength than swarm (never within 60 s and 8.0 s).",
        "kill: Stoker failed fewer requests than swarm (2 and 4).",
    ]
    assert figures.remarks([replace(BASE, failed=9), replace(LINE, others_lost=2)], 60) == [
        "kill: Stoker failed more requests than swarm (9 and 4).",
        "kill: Stoker was faster at full strength than swarm (4.0 s and 8.0 s).",
        "kill: swarm ended 2 replicas besides in 3 trials, which nobody had broken: its figures tell of that as well.",
    ]


def test_equal_is_neither_better_nor_worse() -> None:
    both = [replace(BASE, failed=4, full_s=8.0), LINE]
    assert figures.remarks(both, 60) == [
        "kill: Stoker failed as many requests as swarm (4 and 4).",
        "kill: Stoker was as fast at full strength as swarm (8.0 s and 8.0 s).",
    ]
    none = [replace(line, full_s=NEVER) for line in both]
    assert figures.remarks(none, 60)[1] == "kill: neither Stoker nor swarm was at full strength within 60 s."


def test_a_report_survives_its_json_and_renders() -> None:
    peer = replace(TRIAL, side="swarm", failed=3, full_s=6.0)
    trials = [TRIAL, peer, replace(peer, full_s=None), replace(peer, full_s=5.0)]
    report = Report({"machine": "2 cores"}, {"swarm": "three tasks"}, 60.0, trials)

    again = Report.of(json.loads(json.dumps(report.as_json())))

    assert again == report
    text = table.markdown(again)
    assert "| kill | swarm | 3 | 100 | 3 | 1 | 6.0 s (never in 1 of 3) | 1.5 s | 2.0 s | 3 : 0 | 1.50 |" in text
    assert "- **swarm**: three tasks" in text
    assert table.terminal(report).row_count == 2


def test_a_replica_serves_from_its_first_token_until_it_is_silent() -> None:
    watch = Watch()
    timeline = [
        #  a     b     c     serving
        (10, 10, None, 0),
        (11, 10, None, 1),
        (11, 12, 1, 2),
        (None, 12, 1, 1),
        (0, 12, 1, 1),  # came back: what it had made before says nothing
        (3, 12, 2, 3),
    ]
    for a, b, c, serving in timeline:
        watch.see({A: a, B: b, C: c})
        assert watch.serving() == serving


def test_a_replica_whose_container_is_gone_does_not_serve() -> None:
    watch = Watch()
    watch.see({A: 1, B: 1})
    watch.see({A: 2, B: 2})
    watch.see({B: 2})

    assert watch.serving() == 1


def test_the_peers_nginx_never_sends_a_post_twice_unless_told_to() -> None:
    usual = configuration("80", ["10.0.0.1:8000"], "/tmp")
    told = configuration("80", ["10.0.0.1:8000"], "/tmp", retry="error timeout non_idempotent")

    assert "server 10.0.0.1:8000 max_fails=1 fail_timeout=10s;" in usual
    assert "proxy_next_upstream error timeout;" in usual
    assert "proxy_next_upstream error timeout non_idempotent;" in told
