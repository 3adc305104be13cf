"""What the configuration says of the gateway: as JSON and back, over another file, and for another machine."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.adapters.nginx.rules import rules_of
from controller.settings import GatewaySettings, PlanSettings, PoolGatewaySettings, PoolSettings, Settings, parse
from controller.settings.front import (
    FrontPool,
    FrontSettings,
    front_from,
    front_of,
    settings_for,
    with_front,
    written,
)
from controller.settings.gateway import CertificateSettings, HotCacheSettings

FILE = """\
pools:
  - name: small
    model: small-1
    checkpoint: small.gguf
    scaling: {target_in_flight: 8}
    gateway: {aliases: [tiny], access: keys, cache_for: 90s, open_paths: [/tokenize]}
  - {name: large, model: large-1, checkpoint: large.gguf}
plans:
  - {name: gold, requests_per_second: 10, burst: 5, priority: high}
gateway:
  host: 10.0.0.1
  read_timeout: 1500ms
  queue_timeout: 0s
  cache_size: 1.5MiB
  trusted_proxies: [10.0.0.0/8]
  tls: {certificate: /c.pem, key: /k.pem}
  hot_cache: {redis_url_file: /redis, max_answer: 3MiB}
"""
SETTINGS = parse(FILE, "stoker.yaml")


def test_as_json_it_is_what_stands_in_the_file() -> None:
    told = json.loads(json.dumps(written(front_of(SETTINGS))))

    assert (told["gateway"]["read_timeout"], told["gateway"]["queue_timeout"]) == ("1500ms", "0s")
    assert told["gateway"]["cache_size"] == "1.50000000000000000000MiB"
    assert told["gateway"]["hot_cache"]["max_answer"] == "3MiB"
    assert [(pool["name"], pool["model"], pool["target"]) for pool in told["pools"]] == [
        ("small", "small-1", 8.0),
        ("large", "large-1", None),
    ]
    assert told["pools"][0]["gateway"]["cache_for"] == "90s"
    assert front_from(told) == front_of(SETTINGS)


DURATIONS = st.integers(1, 10**10).map(lambda micro: timedelta(microseconds=micro))
GATEWAYS = st.builds(
    GatewaySettings,
    connect_timeout=DURATIONS,
    queue_timeout=DURATIONS | st.just(timedelta(0)),
    max_keys=st.integers(1000, 5_000_000),
    cache_size=st.integers(1, 2**44).map(lambda size: f"{size / 2**20:.20f}MiB"),
    tls=st.none() | st.just(CertificateSettings(certificate="/c", key="/k")),
    hot_cache=st.none()
    | st.builds(HotCacheSettings, redis_url_file=st.just("/r"), cluster=st.booleans(), timeout=DURATIONS),
)
PLANS = st.builds(
    PlanSettings, name=st.just("gold"), tokens_per_day=st.none() | st.integers(1, 10**9), priority=st.just("low")
)
POOLS = st.builds(
    FrontPool,
    name=st.just("small"),
    model=st.just("small"),
    target=st.none() | st.floats(0.1, 100),
    gateway=st.builds(PoolGatewaySettings, cache_for=DURATIONS, share_cache=st.booleans()),
)
FRONTS = st.builds(
    FrontSettings,
    gateway=GATEWAYS,
    plans=st.lists(PLANS, max_size=1).map(tuple),
    pools=st.lists(POOLS, max_size=1).map(tuple),
)


@given(FRONTS)
def test_whatever_it_is_it_comes_back_the_same(front: FrontSettings) -> None:
    assert front_from(json.loads(json.dumps(written(front)))) == front


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "valid dictionary"),
        ({"gateway": {"read_timeout": 5}}, "gateway.read_timeout: 5 is no duration"),
        ({"gateway": {"cache_size": 5}}, "gateway.cache_size: 5 is no size"),
        ({"pools": [{"name": "a b", "model": "m"}]}, "'a b' is no name"),
        ({"later": 1}, "later: Extra inputs"),
    ],
)
def test_what_is_something_else_is_refused_in_one_sentence(data: object, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        front_from(data)

    assert "\n" not in str(refused.value)


def test_over_another_file_only_the_gateway_changes() -> None:
    now = parse(
        FILE.replace("host: 10.0.0.1", "host: 10.0.0.2")
        .replace("target_in_flight: 8", "target_in_flight: 4")
        .replace("name: large, model: large-1", "name: other, model: other-1")
        .replace("access: keys", "access: open")
        .replace("max_answer: 3MiB", "max_answer: 4MiB")
        .replace("burst: 5", "burst: 6"),
        "stoker.yaml",
    )
    both = with_front(now, front_of(SETTINGS))

    assert [(pool.name, pool.scaling.target_in_flight, pool.gateway.access) for pool in both.pools] == [
        ("small", 4.0, "keys"),
        ("other", None, None),
    ]
    assert [plan.burst for plan in both.plans] == [5]
    assert (both.gateway.host, both.gateway.read_timeout) == ("10.0.0.2", timedelta(seconds=1.5))
    assert both.gateway.hot_cache == now.gateway.hot_cache


def test_over_a_file_that_it_does_not_go_with_it_is_refused() -> None:
    taken = parse(FILE.replace("name: large, model: large-1", "name: large, model: tiny").replace("[tiny]", "[]"), "f")

    with pytest.raises(ValueError, match="'tiny'"):
        with_front(taken, front_of(SETTINGS))


def test_another_machine_has_its_own_address_and_no_hot_cache() -> None:
    there = settings_for(front_of(SETTINGS), "127.0.0.1")

    assert (there.gateway.host, there.gateway.hot_cache) == ("127.0.0.1", None)
    assert there.gateway.tls == SETTINGS.gateway.tls
    here, rules = rules_of(SETTINGS), rules_of(there)
    assert rules.plans == here.plans
    assert rules.of("small") == here.of("small"), "also the limit that follows from the pool's target"
    assert (here.of("large").open, rules.of("large").open) == (False, True), "who is on loopback is open there"


def test_what_is_impossible_on_another_machine_is_refused() -> None:
    twice = FrontSettings(pools=(FrontPool(name="a", model="m"), FrontPool(name="b", model="m")))

    with pytest.raises(ValueError, match="two pools have the model 'm'"):
        settings_for(twice, "127.0.0.1")
    with pytest.raises(ValueError, match="pools is empty"):
        settings_for(FrontSettings(), "127.0.0.1")


def test_every_setting_of_the_gateway_is_in_it() -> None:
    """A new one in the file is in the history, goes back with a revert, and reaches the other machines."""
    assert set(written(front_of(SETTINGS))["gateway"]) == set(GatewaySettings.model_fields)
    assert set(FrontPool.model_fields["gateway"].annotation.model_fields) == set(PoolGatewaySettings.model_fields)  # type: ignore[union-attr]
    assert PoolSettings.model_fields["gateway"].annotation is PoolGatewaySettings
    assert Settings.model_fields["plans"].annotation == FrontSettings.model_fields["plans"].annotation
