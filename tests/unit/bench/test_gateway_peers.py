"""What `make bench-gateway` makes of what it saw, and what it asks with."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from controller.core.model import Address
from tests.bench.gateway_peers import figures, page, plain, run, stream_engine, table, workload
from tests.bench.gateway_peers.asker import Seen
from tests.bench.gateway_peers.client import Stream, post
from tests.bench.gateway_peers.figures import DIRECT, STOKER, Gap, Report, Sample

ENGINES = [Address("127.0.0.1", 9001), Address("127.0.0.1", 9002)]


def samples(section: str, contender: str, key: str, *values: float) -> list[Sample]:
    """One per round."""
    return [Sample(section, number, contender, {key: value}) for number, value in enumerate(values, 1)]


def test_a_median_is_of_the_rounds() -> None:
    seen = samples("requests", STOKER, "per_s", 100, 900, 300)

    assert figures.median(seen, "requests", STOKER, "per_s") == 300
    assert figures.median(seen, "streams", STOKER, "per_s") is None
    assert figures.total(seen, "requests", STOKER, "per_s") == 1300
    assert figures.total(seen, "requests", STOKER, "errors") == 0


def test_a_ratio_is_taken_within_each_round() -> None:
    # In the second round the machine was slow, for both: the ratio of the medians would be 2.
    seen = samples("requests", "nginx", "per_s", 300, 30, 600) + samples("requests", STOKER, "per_s", 100, 10, 150)

    assert figures.ratio(seen, "requests", ("nginx", STOKER), "per_s") == 3
    assert figures.difference(seen, "requests", ("nginx", STOKER), "per_s") == 200


def test_a_round_that_one_of_them_missed_is_not_compared() -> None:
    seen = samples("requests", "nginx", "per_s", 300, 500) + samples("requests", STOKER, "per_s", 100)

    assert figures.ratio(seen, "requests", ("nginx", STOKER), "per_s") == 3
    assert figures.ratio(seen, "requests", ("nginx", DIRECT), "per_s") is None


def test_nothing_divides_by_zero() -> None:
    seen = samples("requests", "nginx", "cpu_s", 1.0) + samples("requests", STOKER, "cpu_s", 0.0)

    assert figures.ratio(seen, "requests", ("nginx", STOKER), "cpu_s") is None


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [([5.0], 0.99, 5), ([2.0, 1.0, 3.0], 0.5, 2), ([float(n) for n in range(1, 101)], 0.99, 99), ([1.0, 2.0], 0, 1)],
)
def test_percentiles(values: list[float], share: float, found: float) -> None:
    assert figures.percentile(values, share) == found


def test_without_values_there_is_no_percentile() -> None:
    with pytest.raises(ValueError, match="no value was measured"):
        figures.percentile([], 0.5)


REPORT = Report(
    {"machine": "2 cores"},
    {DIRECT: "nothing", STOKER: "ours", "nginx": "plain"},
    [
        Sample("requests", 1, "nginx", {"per_s": 2000, "p50_ms": 4, "p99_ms": 9, "cpu_s_per_1000": 0.1}),
        Sample("requests", 1, DIRECT, {"per_s": 9000, "p50_ms": 1, "p99_ms": 2, "cpu_s_per_1000": 0.02}),
        Sample(
            "requests",
            1,
            STOKER,
            {"per_s": 500, "p50_ms": 16, "p99_ms": 40, "cpu_s_per_1000": 0.4, "requests": 1000, "errors": 3},
        ),
        Sample("latency", 1, STOKER, {"p50_ms": 0.5}),
        Sample("latency", 1, DIRECT, {"p50_ms": 0.125}),
        Sample("streams", 1, STOKER, {"cpu_s_per_1000": 0.02}),
        Sample("streams", 1, "nginx", {"cpu_s_per_1000": 0.04}),
    ],
    [Gap("requests", "vllm-router", "there is no package"), Gap("latency", "vllm-router", "there is no package")],
)


def test_a_report_survives_its_json() -> None:
    assert Report.of(json.loads(json.dumps(REPORT.as_json()))) == REPORT


@pytest.mark.parametrize("damaged", [{}, {"samples": 1, "gaps": []}, {"samples": [{"round": 1}], "gaps": []}])
def test_another_json_is_no_report(damaged: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError)):
        Report.of(damaged)


def test_rows_stand_in_the_order_of_the_contenders_and_gaps_at_the_end() -> None:
    requests, latency = table.SECTIONS[:2]

    assert table.rows(REPORT, requests) == [
        [DIRECT, "9,000", "", "1.0 ms", "2.0 ms", "", ""],
        [STOKER, "500", "1.00", "16.0 ms", "40.0 ms", "0.400", "1.00"],
        ["nginx", "2,000", "4.00", "4.0 ms", "9.0 ms", "0.100", "0.25"],
        ["vllm-router", "not measured", "", "", "", "", ""],
    ]
    assert table.rows(REPORT, latency)[1] == [STOKER, "0.500 ms", "0.375 ms"]


def test_where_stoker_loses_is_said_first_and_what_is_missing_last() -> None:
    assert table.remarks(REPORT) == [
        "Beside nginx Stoker answers 0.25 times as many requests a second.",
        "Beside nginx Stoker takes 4.00 times the CPU time for a request.",
        "Beside nginx Stoker takes 0.50 times the CPU time for a streamed token.",
        "Whole answers, 64 connections: 3 of 1,000 requests failed through stoker.",
        "vllm-router was not measured (requests, latency): there is no package.",
    ]


def test_sections_without_samples_are_left_out() -> None:
    text = table.markdown(REPORT)

    assert "| nginx | 2,000 | 4.00 | 4.0 ms | 9.0 ms | 0.100 | 0.25 |" in text
    assert "- **nginx**: plain" in text
    assert "Keys of clients" not in text
    assert len(table.tables(REPORT)) == 3


def test_what_a_cache_could_do_at_most_is_told_beside_it() -> None:
    cached = Report({}, {STOKER: "ours"}, [Sample("cache", 1, STOKER, {"repeated": 0.5})])
    asked = workload.zipf(workload.PROMPTS, workload.ZIPF_REQUESTS)

    most = 1 - len(set(asked)) / len(asked)
    assert table.remarks(cached) == [f"A cache that forgot nothing would answer {most:.1%} of those requests."]


def test_a_section_goes_in_front_of_a_heading_and_is_replaced_there() -> None:
    text = "# Page\n\nAbove.\n\n## Other\n\nBelow.\n"

    once = page.rewritten(text, "## Gateways\n\none\n", "## Other")
    twice = page.rewritten(once, "## Gateways\n\ntwo\n", "## Other")

    assert once == f"# Page\n\nAbove.\n\n{page.BEGIN}\n## Gateways\n\none\n{page.END}\n\n## Other\n\nBelow.\n"
    assert twice == once.replace("one", "two")
    assert page.block(twice) == f"{page.BEGIN}\n## Gateways\n\ntwo\n{page.END}"


def test_a_section_goes_to_the_end_of_a_page_without_the_heading() -> None:
    assert page.rewritten("# Page\n", "new", "## Other") == f"# Page\n\n{page.BEGIN}\nnew\n{page.END}\n"
    assert page.block("# Page\n") == ""


@pytest.mark.parametrize("text", [page.BEGIN, page.END, f"{page.END} {page.BEGIN}"])
def test_a_page_with_one_mark_is_left_alone(text: str) -> None:
    with pytest.raises(ValueError, match="needs both"):
        page.rewritten(text, "new", "## Other")


def test_each_round_begins_with_another_contender() -> None:
    assert [run.rotated(["a", "b", "c"], number) for number in (0, 1, 5)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
    ]


def test_a_body_is_of_one_kilobyte_and_names_its_user() -> None:
    asked = workload.body(user=7)

    assert 950 <= len(asked) <= 1100
    assert json.loads(asked)["user"] == "user-0007"
    assert json.loads(workload.stream_body(3, 2.0))["max_tokens"] == 2 * workload.TOKENS_PER_S


def test_zipf_prefers_the_first_and_is_the_same_each_time() -> None:
    numbers = workload.zipf(1000, 20_000)
    counts = Counter(numbers)

    assert numbers == workload.zipf(1000, 20_000)
    assert set(counts) <= set(range(1000))
    assert [number for number, _ in counts.most_common(3)] == [0, 1, 2]
    assert counts[0] / counts[9] == pytest.approx(10**1.1, rel=0.15)


def test_the_script_of_wrk_has_all_bodies_and_keys() -> None:
    script = workload.wrk_script(["sk-a", "sk-b"], users=2)

    assert script.startswith(f"local bodies, keys = {{[==[{workload.body(user=0).decode()}]==], [==[")
    assert '{"sk-a", "sk-b"}' in script
    assert "]==]" not in workload.body().decode()


def test_the_peers_nginx_keeps_connections_and_spreads() -> None:
    text = plain.configuration(8080, ENGINES, Path("/tmp/nowhere"))

    assert "        server 127.0.0.1:9001;\n        server 127.0.0.1:9002;\n        keepalive 64;" in text
    assert "listen 127.0.0.1:8080;" in text


def test_tokens_are_counted_wherever_a_piece_ends() -> None:
    data = stream_engine.TOKEN * 3 + stream_engine.END
    for cut in range(len(data) + 1):
        stream = Stream()
        gaps = stream.take(data[:cut], 1.0) + stream.take(data[cut:], 1.5)

        assert (stream.tokens, stream.whole, len(gaps)) == (3, True, 2)
        assert sum(gaps) in (0, 0.5)


def test_a_stream_that_breaks_off_is_not_whole() -> None:
    stream = Stream()
    stream.take(stream_engine.TOKEN, 1.0)

    assert (stream.tokens, stream.whole) == (1, False)


def test_the_engine_of_streams_waits_for_a_whole_request() -> None:
    asked = post(80, b'{"stream": true}', "sk-a")
    for cut in range(len(asked)):
        assert stream_engine.request(asked[:cut]) is None

    assert stream_engine.request(asked + b"GET") == ({"stream": True}, b"GET")
    assert stream_engine.request(b"GET /health HTTP/1.1\r\n\r\n") == ({}, b"")
    assert b"\r\nAuthorization: Bearer sk-a\r\n" in asked


def test_an_answer_that_was_seen_before_is_a_repetition() -> None:
    seen = Seen()
    for status, body in [(200, b'{"id": "a"}'), (200, b'{"id": "a"}'), (200, b'{"id":"b"}'), (502, b""), (200, b"{}")]:
        seen.take(status, body, 0.5)

    found = seen.figures(2.0)
    assert (found["requests"], found["errors"], found["p50_ms"]) == (5, 2, 500)
    assert found["repeated"] == pytest.approx(1 / 3)
