"""Texts of the gateway -> facts."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.edge.collect import EdgeStats
from exporters.edge.lines import Access, Failed, InFlight, Line, MalformedLine, in_flight, parse
from tests.unit.exporters.texts import HEADER, KEY, access, failed, line, page

# As the gateway's log format has them.
CAUSES = ["no_key", "bad_key", "expired_key", "model_unknown", "model_not_allowed", "rate", "concurrency"]
CAUSES += ["tokens", "full", "no_replica", "body", "path", "method"]

STEADY = settings(derandomize=True, deadline=None, max_examples=300)

CASES = [
    pytest.param({}, Line("smollm2", "smollm2-1", "200", 0.512, 0.312, 1), id="one try"),
    pytest.param(
        {"header_times": "-, -, 0.300", "response_times": "0.001, 1.000, 0.500"},
        Line("smollm2", "smollm2-1", "200", 0.512, 1.301, 3),
        id="the user waited for the earlier tries too",
    ),
    pytest.param(
        {"header_times": "-, 0.300", "response_times": "1.000, 0.500", "tried": "127.0.0.1:9001, 127.0.0.1:9002"},
        Line("smollm2", "smollm2-1", "200", 0.512, 1.300, 3),
        id="begun anew, and another replica tried",
    ),
    pytest.param(
        {"header_times": "0.002", "response_times": "0.002", "replica": "", "tried": "", "status": "503"},
        Line("smollm2", "", "503", 0.512, None, 1),
        id="nginx answered itself",
    ),
    pytest.param(
        {"header_times": "-, -", "response_times": "0.001, 0.002", "status": "503"},
        Line("smollm2", "smollm2-1", "503", 0.512, None, 2),
        id="no replica answered",
    ),
    pytest.param(
        {"header_times": "", "response_times": "", "replica": "", "status": "503"},
        Line("smollm2", "", "503", 0.512, None, 1),
        id="no replica was tried",
    ),
    pytest.param(
        {"pool": "", "replica": "", "header_times": "", "response_times": "", "status": "404"},
        Line("", "", "404", 0.512, None, 1),
        id="no pool was chosen",
    ),
    pytest.param(
        {"header_times": "-, 0.010", "response_times": "-, 0.020"},
        Line("smollm2", "smollm2-1", "200", 0.512, 0.010, 2),
        id="a try without a time",
    ),
]


@pytest.mark.parametrize(("changes", "want"), CASES)
def test_parse(changes: dict[str, object], want: Line) -> None:
    assert parse(line(**changes)) == want


ACCESS = [
    pytest.param({}, Access(KEY, "gold"), (12, 34), id="answered"),
    pytest.param({"key": "", "plan": ""}, Access(), (12, 34), id="no key"),
    pytest.param({"plan": ""}, Access(KEY), (12, 34), id="a key without a plan"),
    pytest.param({"plan": "a"}, Access(KEY, "a"), (12, 34), id="the shortest plan"),
    pytest.param({"plan": "x" * 40}, Access(KEY, "x" * 40), (12, 34), id="the longest plan"),
    pytest.param({"refused": "rate"}, Access(KEY, "gold", "rate"), (12, 34), id="refused"),
    pytest.param({"refused": "new cause"}, Access(KEY, "gold", "other"), (12, 34), id="refused for another cause"),
    pytest.param({"refused": 7}, Access(KEY, "gold", "other"), (12, 34), id="refused for a number"),
    pytest.param(
        {"cache": "MISS", "layer": "nginx"}, Access(KEY, "gold", "", "nginx", "miss"), (12, 34), id="not in the cache"
    ),
    pytest.param(
        {"cache": "HIT", "layer": "redis"},
        Access(KEY, "gold", "", "redis", "hit"),
        (0, 0),
        id="in the cache: no tokens",
    ),
    pytest.param({"cache": "SOMETHING", "layer": "nginx"}, Access(KEY, "gold", "", "nginx"), (12, 34), id="new word"),
    pytest.param({"tokens_in": "", "tokens_out": ""}, Access(KEY, "gold"), (0, 0), id="no tokens told"),
    pytest.param({"tokens_in": "0", "tokens_out": "999999999"}, Access(KEY, "gold"), (0, 999_999_999), id="bounds"),
    *(
        pytest.param({"tokens_out": text}, Access(KEY, "gold"), (12, 0), id=f"tokens: {text!r}")
        for text in ("1000000000", "-1", "+1", " 1", "1_0", "1.0", "1e3", "\u0661", "\u00b2", "x", None, 34, ["34"])
    ),
]


@pytest.mark.parametrize(("changes", "want", "tokens"), ACCESS)
def test_parse_who_asked(changes: dict[str, object], want: Access, tokens: tuple[int, int]) -> None:
    found = parse(access(**changes))

    assert isinstance(found, Line)
    assert (found.access, (found.tokens_in, found.tokens_out)) == (want, tokens)
    assert (found.pool, found.code, found.duration_s) == ("smollm2", "200", 0.512), "the request counts in any case"


@pytest.mark.parametrize("cause", CAUSES)
def test_the_causes_of_the_gateway_are_known(cause: str) -> None:
    found = parse(access(refused=cause))

    assert isinstance(found, Line)
    assert found.access.refused == cause


def test_parse_attempts_in_vain() -> None:
    assert parse(failed("smollm2-2,smollm2-3")) == Failed("smollm2", ("smollm2-2", "smollm2-3"))


MALFORMED = [
    pytest.param(b"", id="empty"),
    pytest.param(b"no json at all", id="no json"),
    pytest.param(line()[:-9], id="cut off"),
    pytest.param(b"{" + b'"a":[' * 50_000, id="deep nesting"),
    pytest.param(HEADER + b"{}", id="no fields"),
    pytest.param(HEADER + b'{"pool":\xff}', id="not UTF-8"),
    pytest.param(line(status="000"), id="impossible status"),
    pytest.param(line(status=200), id="status as a number"),
    pytest.param(line(duration="soon"), id="no duration"),
    pytest.param(line(duration=-1), id="negative duration"),
    pytest.param(line(duration=float("nan")), id="NaN"),
    pytest.param(line(pool=["a"]), id="pool is a list"),
    pytest.param(line(header_times="x"), id="impossible time"),
    pytest.param(line(header_times=None), id="no times"),
    pytest.param(line(header_times="1e999"), id="an endless time"),
    pytest.param(HEADER + b'{"pool":"a","replica":"","status":"200","duration":1' + b"0" * 400 + b"}", id="too great"),
    pytest.param(line() + b"{}", id="two objects"),
    pytest.param(access(key="key_0123456789AB"), id="capital digits"),
    pytest.param(access(key="key_0123456789abc"), id="too long a key"),
    pytest.param(access(key="key_0123456789ab\n"), id="a key and a line break"),
    pytest.param(access(key="other"), id="a word for a key"),
    pytest.param(access(key=None), id="null for a key"),
    pytest.param(access(plan="Gold"), id="capital plan"),
    pytest.param(access(plan="gold-"), id="plan ends with a hyphen"),
    pytest.param(access(plan="x" * 41), id="too long a plan"),
    pytest.param(access(plan=["gold"]), id="plan is a list"),
    pytest.param(access(refused=["rate"]), id="cause is a list"),
    pytest.param(failed(""), id="an attempt on nobody"),
    pytest.param(failed("smollm2-1,"), id="an attempt on somebody and nobody"),
    pytest.param(failed(["smollm2-1"]), id="attempts as a list"),
    pytest.param(failed(pool=""), id="an attempt of no pool"),
    pytest.param(failed(pool=7), id="an attempt of a number"),
    pytest.param(HEADER + b'{"failed":"smollm2-1"}', id="an attempt of nobody"),
    pytest.param(HEADER + b'["failed"]', id="no object"),
]


@pytest.mark.parametrize("datagram", MALFORMED)
def test_parse_refuses(datagram: bytes) -> None:
    with pytest.raises(MalformedLine):
        parse(datagram)


def survives(datagram: bytes) -> None:
    """It is a line or a malformed one, and the page can be told in any case."""
    with contextlib.suppress(MalformedLine):
        assert isinstance(parse(datagram), Line | Failed)
    stats = EdgeStats()
    stats.take(datagram, now=1, wall=0)
    assert f"stoker_edge_log_lines_malformed_total {float(stats.malformed)}" in page(stats, now=1)


@STEADY
@given(st.binary(max_size=300))
def test_any_bytes_are_a_line_or_a_malformed_one(data: bytes) -> None:
    survives(data)
    survives(HEADER + b"{" + data)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text()
    | st.sampled_from(["", "a", KEY]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)
good = json.loads(access()[len(HEADER) :])


@STEADY
@given(st.dictionaries(st.sampled_from([*good, "failed"]), anything), st.sets(st.sampled_from(list(good))))
def test_whatever_stands_in_a_field_it_is_a_line_or_a_malformed_one(changes: dict[str, object], lost: set[str]) -> None:
    values = {name: value for name, value in good.items() if name not in lost}
    survives(HEADER + json.dumps({**values, **changes}).encode())


@STEADY
@given(st.integers(0, 300), st.binary(min_size=1, max_size=3))
def test_a_line_with_a_few_bytes_changed_is_a_line_or_a_malformed_one(at: int, data: bytes) -> None:
    whole = access()
    survives(whole[:at] + data + whole[at + len(data) :])


def test_in_flight() -> None:
    assert in_flight(b'{"pools":{"smollm2":3,"no name":1}}') == InFlight({"smollm2": 3}, None)
    told = in_flight(b'{"pools":{},"plans":{"gold":2,"No plan":1},"waiting":{"smollm2":1}}')
    assert told == InFlight({}, {"gold": 2}, {"smollm2": 1})


NO_ANSWERS = [
    b"",
    b"<html>",
    b"[]",
    b"7",
    b"{}",
    b'{"pools":[]}',
    b'{"pools":{"a":"x"}}',
    b'{"pools":{"a":[]}}',
    b'{"pools":{"a":1e999}}',
    b'{"pools":{"a":1},"plans":7}',
    b'{"plans":{"gold":1}}',
    b'{"a":' * 50_000,
]


@pytest.mark.parametrize("answer", NO_ANSWERS, ids=lambda answer: repr(answer[:30]))
def test_in_flight_refuses(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        in_flight(answer)


@STEADY
@given(st.binary(max_size=60))
def test_in_flight_of_any_bytes_is_refused_as_a_value(data: bytes) -> None:
    for answer in (data, b'{"pools":{' + data, b'{"pools":{},"plans":{"a":' + data + b"}}"):
        with contextlib.suppress(ValueError):
            assert isinstance(in_flight(answer), InFlight)
