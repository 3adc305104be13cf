"""Requests and tokens of each key, refusals and times of each plan."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.edge import usage as usage_module
from exporters.edge.collect import EdgeStats
from exporters.edge.lines import MAX_PLANS
from exporters.edge.sums import NEW_S
from exporters.edge.usage import MAX_KEYS, MAX_PAIRS, Usage
from tests.unit.exporters.texts import KEY, access, line, page, samples

REQUESTS, TOKENS = "stoker_edge_key_requests_total", "stoker_edge_tokens_total"
HOUR = 3600.0
STEADY = settings(derandomize=True, deadline=None, max_examples=200)


def key(number: int) -> str:
    return f"key_{number:012x}"


def taken(*datagrams: bytes) -> EdgeStats:
    stats = EdgeStats()
    for datagram in datagrams:
        stats.take(datagram, now=0, wall=0)
    assert stats.malformed == 0
    return stats


def counted(usage: Usage) -> dict[tuple[str, ...], tuple[int, int]]:
    """Pool, plan and key: all requests and all tokens, new ones too."""
    return {
        names: (sum(series.requests.values.values()), sum(series.tokens.values.values()))
        for names, series in usage.series()
    }


def test_the_page_of_a_few_requests() -> None:
    """Golden: names, labels and values of all that is told of keys, plans and caches; buckets are left out."""
    stats = taken(
        access(cache="MISS", layer="nginx"),
        access(cache="HIT", layer="nginx", duration=0.25),
        access(status="429", refused="rate", tokens_in="", tokens_out="", replica="", duration=0.001),
        access(status="503", tokens_in="", tokens_out="", key="", plan=""),
        access(pool="", replica="", key="", plan="", status="401", refused="no_key", tokens_in="", tokens_out=""),
        access(pool="", replica="", key="", plan="", status="418", refused="teapot", tokens_in="", tokens_out=""),
    )
    page(stats, now=1)

    text = page(stats, now=1 + NEW_S)

    told = ("key", "tokens", "refusals", "cache")
    lines = [one for one in text.splitlines() if one.startswith(tuple(f"stoker_edge_{name}" for name in told))]
    assert [one for one in lines if "_bucket" not in one] == GOLDEN.splitlines()
    assert 'stoker_edge_key_duration_seconds_bucket{le="0.3",plan="gold",pool="smollm2"} 1.0' in lines


GOLDEN = """\
stoker_edge_cache_requests_total{layer="nginx",pool="smollm2",result="hit"} 1.0
stoker_edge_cache_requests_total{layer="nginx",pool="smollm2",result="miss"} 1.0
stoker_edge_key_requests_total{code_class="4xx",key="",plan="",pool=""} 2.0
stoker_edge_key_requests_total{code_class="5xx",key="",plan="",pool="smollm2"} 1.0
stoker_edge_key_requests_total{code_class="2xx",key="key_0123456789ab",plan="gold",pool="smollm2"} 2.0
stoker_edge_key_requests_total{code_class="4xx",key="key_0123456789ab",plan="gold",pool="smollm2"} 1.0
stoker_edge_tokens_total{direction="in",key="key_0123456789ab",plan="gold",pool="smollm2"} 12.0
stoker_edge_tokens_total{direction="out",key="key_0123456789ab",plan="gold",pool="smollm2"} 34.0
stoker_edge_refusals_total{cause="no_key",plan="",pool=""} 1.0
stoker_edge_refusals_total{cause="other",plan="",pool=""} 1.0
stoker_edge_refusals_total{cause="rate",plan="gold",pool="smollm2"} 1.0
stoker_edge_key_duration_seconds_count{plan="",pool=""} 0.0
stoker_edge_key_duration_seconds_sum{plan="",pool=""} 0.0
stoker_edge_key_duration_seconds_count{plan="",pool="smollm2"} 1.0
stoker_edge_key_duration_seconds_sum{plan="",pool="smollm2"} 0.512
stoker_edge_key_duration_seconds_count{plan="gold",pool="smollm2"} 2.0
stoker_edge_key_duration_seconds_sum{plan="gold",pool="smollm2"} 0.762
stoker_edge_key_time_to_first_byte_seconds_count{plan="",pool=""} 0.0
stoker_edge_key_time_to_first_byte_seconds_sum{plan="",pool=""} 0.0
stoker_edge_key_time_to_first_byte_seconds_count{plan="",pool="smollm2"} 1.0
stoker_edge_key_time_to_first_byte_seconds_sum{plan="",pool="smollm2"} 0.312
stoker_edge_key_time_to_first_byte_seconds_count{plan="gold",pool="smollm2"} 1.0
stoker_edge_key_time_to_first_byte_seconds_sum{plan="gold",pool="smollm2"} 0.312
"""


def test_new_series_are_told_as_zero_for_a_while() -> None:
    stats = taken(access(refused="rate", cache="MISS"))
    names = (REQUESTS, TOKENS, "stoker_edge_refusals_total", "stoker_edge_cache_requests_total")

    def told(now: float) -> list[float]:
        return [float(one.split()[-1]) for one in samples(stats, now, *names)]

    assert told(5) == told(5 + NEW_S / 2) == [0, 0, 0, 0, 0], "they count from when they were first told"
    assert sorted(told(5 + NEW_S)) == [1, 1, 1, 12, 34]
    stats.take(access(status="500"), now=7, wall=0)
    assert samples(stats, 8, REQUESTS) == [
        f'{REQUESTS}{{code_class="2xx",key="{KEY}",plan="gold",pool="smollm2"}} 1.0',
        f'{REQUESTS}{{code_class="5xx",key="{KEY}",plan="gold",pool="smollm2"}} 0.0',
    ]
    assert sorted(one.split()[-1] for one in samples(stats, 8, TOKENS)) == ["24.0", "68.0"], "they are known"


def test_times_of_a_plan_are_new_too_and_leave_refused_requests_out() -> None:
    stats = taken(access(), access(refused="rate", duration=0.001), access(key=key(7)))
    [((pool, plan), series)] = stats.usage.plans()

    assert [series.tell(now)[1].total for now in (5, 5 + NEW_S / 2)] == [0, 0]
    _, durations, first_bytes = series.tell(5 + NEW_S)
    assert (pool, plan) == ("smollm2", "gold")
    assert (durations.cumulated()[-1], first_bytes.cumulated()[-1]) == (("+Inf", 2), ("+Inf", 2))
    assert (durations.total, first_bytes.total) == (pytest.approx(1.024), pytest.approx(0.624))


def test_a_line_of_an_old_gateway_is_of_no_key_and_no_plan() -> None:
    assert counted(taken(line()).usage) == {("smollm2", "", ""): (1, 0)}


def test_tokens_that_are_no_number_are_dropped_and_the_request_counts() -> None:
    stats = taken(access(tokens_in="many", tokens_out="34"), access(tokens_in="1000000000", tokens_out=""))

    assert counted(stats.usage) == {("smollm2", "gold", KEY): (2, 34)}


def test_a_key_in_two_pools_and_two_plans() -> None:
    stats = taken(access(), access(pool="llama"), access(plan="free"), access(plan="free"))

    assert counted(stats.usage) == {
        ("llama", "gold", KEY): (1, 46),
        ("smollm2", "free", KEY): (2, 92),
        ("smollm2", "gold", KEY): (1, 46),
    }


def test_keys_beyond_the_limit_are_one() -> None:
    stats = taken(*(access(key=key(number)) for number in range(MAX_KEYS)), access(key=""))
    for name in (key(MAX_KEYS), key(MAX_KEYS + 1), key(0), ""):
        stats.take(access(key=name), now=0, wall=0)
    stats.take(access(key=key(0), pool="llama"), now=0, wall=0)

    found = counted(stats.usage)
    assert len({names[2] for names in found} - {"", "other"}) == MAX_KEYS
    assert found["smollm2", "gold", "other"] == (2, 92)
    assert found["smollm2", "gold", key(0)] == found["smollm2", "gold", ""] == (2, 92)
    assert found["llama", "gold", key(0)] == (1, 46), "a known key may ask another pool"


def test_series_beyond_the_limit_are_one_for_each_pool_and_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_module, "MAX_SERIES", 2)
    stats = taken(*(access(pool=pool, key=key(number)) for pool in ("a", "b") for number in range(2)))
    stats.take(access(pool="a", key=key(1)), now=0, wall=0)

    assert counted(stats.usage) == {
        ("a", "gold", key(0)): (1, 46),
        ("a", "gold", key(1)): (2, 92),
        ("b", "gold", "other"): (2, 92),
    }


def test_plans_beyond_the_limit_are_one() -> None:
    stats = taken(
        *(access(plan=f"p{number}") for number in range(MAX_PLANS + 2)),
        access(plan="p0", pool="llama"),
        access(plan="new", pool="llama"),
        access(plan=""),
    )

    found = counted(stats.usage)
    assert len({names[1] for names in found} - {"", "other"}) == MAX_PLANS
    assert found["smollm2", "other", KEY] == (2, 92)
    assert found["llama", "p0", KEY] == found["llama", "other", KEY] == found["smollm2", "", KEY] == (1, 46)


def test_pairs_of_pool_and_plan_beyond_the_limit_are_one() -> None:
    stats = taken(*(access(pool=f"p{number}", replica="") for number in range(MAX_PAIRS + 2)))

    found = counted(stats.usage)
    assert len(found) == MAX_PAIRS + 1
    assert found["other", "other", KEY] == (2, 92)


def test_a_key_is_forgotten_when_pages_told_nothing_new_of_it_for_an_hour() -> None:
    stats = taken(access())

    def kept_after_a_page(now: float) -> bool:
        page(stats, now)
        stats.usage.forget(HOUR)
        return [names for names, _ in stats.usage.plans()] == [("smollm2", "gold")] and KEY in page(stats, now)

    assert kept_after_a_page(5 * HOUR), "it was told as 0, however long ago the request was"
    assert kept_after_a_page(6 * HOUR - 1)
    stats.take(access(), now=0, wall=0)
    assert kept_after_a_page(6 * HOUR), "it came back"
    assert not kept_after_a_page(7 * HOUR)
    assert (counted(stats.usage), list(stats.usage.plans())) == ({}, [])


def test_a_key_is_forgotten_in_all_its_pools_at_once() -> None:
    stats = taken(access(), access(pool="llama"), access(pool="llama", key=key(7)))
    for pool in ("idle", "open"):
        stats.take(access(pool=pool, key=""), now=0, wall=0)
    page(stats, now=0)
    stats.take(access(), now=0, wall=0)
    stats.take(access(pool="open", key=""), now=0, wall=0)
    page(stats, now=HOUR)

    stats.usage.forget(HOUR)

    assert set(counted(stats.usage)) == {("smollm2", "gold", KEY), ("llama", "gold", KEY), ("open", "gold", "")}
    assert [pool for (pool, _), _ in stats.usage.plans()] == ["llama", "open", "smollm2"]


def test_what_was_forgotten_makes_room_and_begins_at_zero_when_it_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_module, "MAX_KEYS", 1)
    monkeypatch.setattr(usage_module, "MAX_PLANS", 1)
    stats = taken(access(key=key(1), plan="one"))

    def forget_all(now: float) -> None:
        page(stats, now)
        page(stats, now + HOUR)
        stats.usage.forget(HOUR)

    forget_all(1 * HOUR)
    stats.take(access(key=key(2), plan="two"), now=0, wall=0)
    assert set(counted(stats.usage)) == {("smollm2", "two", key(2))}
    forget_all(2 * HOUR)
    stats.take(access(key=key(1), plan="one", tokens_out="7"), now=0, wall=0)

    assert counted(stats.usage) == {("smollm2", "one", key(1)): (1, 19)}
    assert [one.split()[-1] for one in samples(stats, 3 * HOUR, TOKENS)] == ["0.0", "0.0"]


def test_in_flight_by_plan() -> None:
    usage = taken(access(), access(plan="free"), access(plan="")).usage

    assert usage.in_flight({}) == {"free": 0, "gold": 0}
    assert usage.in_flight({"gold": 3, "new": 1}) == {"free": 0, "gold": 3, "new": 1}
    many = usage.in_flight({f"p{number:03}": 1 for number in range(100)})
    assert (len(many), many["other"], sum(many.values())) == (MAX_PLANS + 1, 100 - (MAX_PLANS - 2), 100)


names = st.tuples(
    st.sampled_from("ab"), st.sampled_from(["", "x", "y", "z"]), st.sampled_from(["", *map(key, range(5))])
)


@STEADY
@given(st.lists(names, max_size=40))
def test_beyond_the_limits_nothing_is_lost(asked: list[tuple[str, str, str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for limit, value in {"MAX_KEYS": 3, "MAX_PLANS": 2, "MAX_PAIRS": 4, "MAX_SERIES": 6}.items():
            patch.setattr(usage_module, limit, value)
        stats = taken(*(access(pool=pool, plan=plan, key=name) for pool, plan, name in asked))

    found = counted(stats.usage)
    assert sum(requests for requests, _ in found.values()) == len(asked)
    assert sum(tokens for _, tokens in found.values()) == 46 * len(asked)
    assert len({key for _, _, key in found} - {"", "other"}) <= 3
    assert len({plan for _, plan, _ in found} - {"", "other"}) <= 2
    assert len({names[:2] for names in found}) <= 4 + 1
    assert len([names for names in found if names[2] not in ("", "other")]) <= 6


steps = st.tuples(
    st.sampled_from(["a", "b"]), st.integers(0, 2), st.integers(1, 50), st.sampled_from([0.3, 2.0, 4000.0])
)


@STEADY
@given(st.lists(steps, max_size=30))
def test_who_takes_differences_of_a_keys_sum_counts_each_token_once(
    timeline: list[tuple[str, int, int, float]],
) -> None:
    """As the controller does for quotas: a sum that fell began anew, and a key that was not there counts from 0.

    Keys are forgotten between two pages, come back, and are in one pool and then in another one.
    """
    stats, used, counted_so_far, before = EdgeStats(), Counter[str](), Counter[str](), dict[str, int]()
    now = 0.0

    def scrape(at: float) -> None:
        stats.usage.forget(HOUR)
        sums = Counter[str]()
        for (_, _, name), series in stats.usage.series():
            sums[name] += sum(count for _, count in series.tell(at)[1])
        for name, value in sums.items():
            last = before.get(name, 0)
            counted_so_far[name] += value - last if value >= last else value
            before[name] = value

    for pool, number, tokens, wait in timeline:
        stats.take(access(pool=pool, key=key(number), tokens_in=str(tokens), tokens_out=""), now, 0)
        used[key(number)] += tokens
        scrape(now)
        now += wait
    scrape(now)
    scrape(now + NEW_S)

    assert counted_so_far == used
